"""How long a machine that never built waits for its first image, with a shared cache and without. Prints a table.

Two engines: this machine's, where the sample was built, and one in a container that has nothing. All figures of one
run: cold build there; push from here; pull and build there, in mounts of its own; then the same bytes by the method of
buildkit-cache-dance's README (out: a build that copies the mounts into a layer, `docker cp`, tar; in: a build that
copies a directory into the mounts), within this engine: https://github.com/reproducible-containers/buildkit-cache-dance

`nox -s bench_travel`, about ten minutes. Nothing is asserted: seconds are no test.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.support import oci_registry, process, second_engine

REPOSITORY = Path(__file__).parents[2]
BASE = "localhost/buildkit-tasks/debian:bookworm-slim"
MOUNTS = ("cargo-registry", "cargo-git", "target-amd64")


def main() -> None:
    """Run it."""
    with tempfile.TemporaryDirectory(prefix="buildkit-tasks-bench-") as folder:
        place = Path(folder)
        tree = place / "tree"
        done = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True, text=True)
        for name in filter(None, done.stdout.split("\0")):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, tree / name)
        binary = oci_registry.program(Path.home() / ".cache/buildkit-tasks-tests/docker-registry")
        with second_engine.running(BASE, place / "second", binary) as second:
            rows = measure(tree, place, second)
        for name, value in rows:
            print(f"| {name} | {value} |")


def measure(tree: Path, place: Path, second: second_engine.SecondEngine) -> list[tuple[str, str]]:
    """All figures, in the order in which they are taken."""
    here = _machine(place / "here", second.registry, None)
    there = _machine(place / "there", second.registry, second.socket)
    _invoke(tree, here, "build", "--service", "api")  # warm already, or becomes so
    _invoke(tree, here, "images.push")
    _invoke(tree, there, "images.pull")
    push, first = _timed(lambda: _invoke(tree, here, "cache.push"))
    again, second_push = _timed(lambda: _invoke(tree, here, "cache.push", "--force"))
    spaced = {**there, "BUILDKIT_TASKS_CACHE_NAMESPACE": "pulled"}
    pull, _ = _timed(lambda: _invoke(tree, spaced, "cache.pull"))
    warm, built = _timed(lambda: _invoke(tree, spaced, "build", "--service", "api"))
    cold, _ = _timed(
        lambda: _invoke(tree, {**there, "BUILDKIT_TASKS_REMOTE_CACHE_PULL": "never"}, "build", "--service", "api")
    )
    copied = {**here, "BUILDKIT_TASKS_CACHE_NAMESPACE": f"bench{secrets.token_hex(3)}"}
    _invoke(tree, copied, "cache.pull")
    out, into, size = _dance(place, copied["BUILDKIT_TASKS_CACHE_NAMESPACE"] or "")
    pack, repeated = first["pack"], second_push["pack"]
    return [
        ("cold first build of api", f"{cold:.1f} s"),
        ("pull", f"{pull:.1f} s"),
        ("first build of api after it", f"{warm:.1f} s, {len(built['cargo']['compiled'])} crates"),
        ("(pull + build) / cold", f"{(pull + warm) / cold:.3f}"),
        ("push", f"{push:.1f} s, {pack['bytes'] / 1e6:.0f} MB as {pack['bytes_stored'] / 1e6:.0f} MB"),
        ("push again", f"{again:.1f} s, {100 * repeated['bytes_sent'] / repeated['bytes_stored']:.2f} % sent"),
        ("copy out by docker cp", f"{out:.1f} s, {size / 1e6:.0f} MB"),
        ("copy in", f"{into:.1f} s"),
        ("(copy out + in) / (push + pull)", f"{(out + into) / (push + pull):.2f}"),
    ]


def _machine(home: Path, registry: str, socket: str | None) -> dict[str, str | None]:
    home.mkdir()
    return {
        "CI": None,
        "XDG_STATE_HOME": str(home / "state"),
        "DOCKER_CONFIG": str(home / "docker"),
        "BUILDKIT_TASKS_REMOTE_CACHE": f"{registry}/team/cache",
        "BUILDKIT_TASKS_REMOTE_CACHE_PULL": "never",
        "DOCKER_HOST": socket,
        "POSTGRES_PASSWORD": "unused",
        "RABBITMQ_PASSWORD": "unused",
    }


def _invoke(tree: Path, env: Mapping[str, str | None], *args: str) -> dict[str, Any]:
    print(f"  {' '.join(args)} ...", flush=True)
    done = process.run([process.BIN / "invoke", *args, "--json"], tree, env)
    if done.code != 0:
        raise SystemExit(done.all)
    return dict(json.loads(done.out))


def _timed(work: Callable[[], dict[str, Any]]) -> tuple[float, dict[str, Any]]:
    began = time.monotonic()
    answer = work()
    return time.monotonic() - began, answer


def _dance(place: Path, namespace: str) -> tuple[float, float, int]:
    """Seconds out, seconds in, bytes: the mounts of one namespace copied to a directory, and from it to another."""
    folder, name = place / "dance", f"buildkit-tasks-bench-{secrets.token_hex(4)}"
    folder.mkdir()
    mounts = " ".join(f"--mount=type=cache,id=buildkit-sample-{m},target=/mounts/{m}" for m in MOUNTS)
    began = time.monotonic()
    text = f"FROM {BASE}\nARG STEP\nRUN {mounts} mkdir -p /dance && cp -p -R /mounts/. /dance/\n"
    _build(folder, text, namespace, "--load", "--tag", name)
    try:
        process.ok(["docker", "create", "--name", name, name, "true"], place)
        with subprocess.Popen(["docker", "cp", "-L", f"{name}:/dance", "-"], stdout=subprocess.PIPE) as given:
            subprocess.run(["tar", "-H", "posix", "-x", "-C", str(folder)], stdin=given.stdout, check=True)
        out = time.monotonic() - began
    finally:
        process.run(["docker", "rm", "-f", name], place)
        process.run(["docker", "image", "rm", name], place)
    size = sum(p.lstat().st_size for p in folder.rglob("*"))
    began = time.monotonic()
    text = f"FROM {BASE}\nCOPY dance /dance\nARG STEP\nRUN {mounts} cp -p -R /dance/. /mounts/\n"
    _build(folder, text, f"{namespace}in", "--output", "type=cacheonly")
    return out, time.monotonic() - began, size


def _build(folder: Path, text: str, namespace: str, *how: str) -> None:
    args = ("--build-arg", f"BUILDKIT_CACHE_MOUNT_NS={namespace}", "--build-arg", f"STEP={secrets.token_hex(4)}")
    argv = ["docker", "buildx", "build", "-q", "--provenance=false", *how, *args, "-f", "-", str(folder)]
    subprocess.run(argv, input=text.encode(), check=True, env={**os.environ}, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
