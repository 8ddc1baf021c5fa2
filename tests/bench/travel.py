"""Time until a machine that has never built gets its first image, with and without a shared cache. Prints a table.

There are two engines: this machine's, which built the sample, and an empty one in a container. All figures come from
one run: push from here; pull and build there, with separate mounts; transfer the same bytes with the method of
buildkit-cache-dance's README (out: a build that copies the mounts into a layer, `docker cp`, tar; in: a build that
copies a directory into the mounts), within this engine; finally, a cold build there.
https://github.com/reproducible-containers/buildkit-cache-dance

Neither method deletes anything before a timed step: after a deletion, ext4 checks each recently freed inode
(`recently_deleted`), and creates files at half the speed for a while. New machines have not deleted anything.

`nox -s bench_travel`, about ten minutes. No timing is asserted.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.leftovers import clear
from tests.bench.sample import copied, invoke, machine, timed
from tests.support import oci_registry, process, second_engine

BASE = "localhost/buildkit-tasks/debian:bookworm-slim"
NAMESPACE = "bench-travel-"
MOUNTS = ("cargo-registry", "cargo-git", "target-amd64")


def main() -> None:
    """Run the benchmark."""
    with tempfile.TemporaryDirectory(prefix="buildkit-tasks-bench-") as folder:
        place = Path(folder)
        tree = copied(place / "tree")
        binary = oci_registry.program()
        with second_engine.running(BASE, place / "second", binary) as second:
            try:
                rows = measure(tree, place, second)
            finally:
                clear(NAMESPACE)
        for name, value in rows:
            print(f"| {name} | {value} |")


def measure(tree: Path, place: Path, second: second_engine.SecondEngine) -> list[tuple[str, str]]:
    """Return all figures, in the order of the measurements."""
    here = _machine(place / "here", second.registry, None)
    there = _machine(place / "there", second.registry, second.socket)
    # --no-cache: a build must not get layers of an earlier build, and the mounts must only contain this tree's output
    build = ("build", "--service", "api", "--no-cache")
    invoke(tree, here, *build)
    invoke(tree, here, "images.push")
    invoke(tree, there, "images.pull")
    # base images are unpacked and the toolchain is known before pull and cold build, so neither includes this
    nothing = ("cache.pull", "--ref", f"{second.registry}/team/nothing", "--json")
    asked = process.run([process.BIN / "invoke", *nothing], tree, _spaced(there))
    if "pack-missing" not in asked.all:
        raise SystemExit(asked.all)
    push, first = timed(lambda: invoke(tree, here, "cache.push", "--force"))
    again, second_push = timed(lambda: invoke(tree, here, "cache.push", "--force"))
    invoke(tree, here, "cache.push", "--force", "--scope", "deps")
    starts = []
    for scope in ("all", "deps"):  # the first pull fetches every layer, the second finds most of them
        fresh = _spaced(there)
        pulled, _ = timed(partial(invoke, tree, fresh, "cache.pull", "--scope", scope))
        warm, built = timed(partial(invoke, tree, fresh, *build))
        starts.append((scope, pulled, warm, len(built["cargo"]["compiled"])))
    pull = starts[0][1]
    workspace = _spaced(here)
    invoke(tree, workspace, "cache.pull")
    out, save, load, into, size = _dance(place, workspace["BUILDKIT_TASKS_CACHES_NAMESPACE"] or "")
    cold, _ = timed(lambda: invoke(tree, _spaced(there), *build))
    pack, repeated = first["pack"], second_push["pack"]
    return [
        ("cold first build of api", f"{cold:.1f} s"),
        *(
            (
                f"pull (scope {scope}) + first build of api",
                f"{pulled:.1f} s + {built:.1f} s ({crates} crates): **{(pulled + built) / cold:.3f}** of cold",
            )
            for scope, pulled, built, crates in starts
        ),
        ("push", f"{push:.1f} s, {pack['bytes'] / 1e6:.0f} MB as {pack['bytes_stored'] / 1e6:.0f} MB"),
        ("push again", f"{again:.1f} s, {100 * repeated['bytes_sent'] / repeated['bytes_stored']:.2f} % sent"),
        ("copy out with docker cp", f"{out:.1f} s, {size / 1e6:.0f} MB"),
        ("archive and unpack it, as CI cache steps do", f"{save:.1f} s + {load:.1f} s"),
        ("copy in", f"{into:.1f} s"),
        ("copying / (push + pull)", f"{(out + into) / (push + pull):.2f}"),
        ("copying with its archive / (push + pull)", f"{(out + save + load + into) / (push + pull):.2f}"),
    ]


def _machine(home: Path, registry: str, socket: str | None) -> dict[str, str | None]:
    return machine(
        home,
        BUILDKIT_TASKS_PACKS_REPOSITORY=f"{registry}/team/cache",
        BUILDKIT_TASKS_PACKS_PULL="never",
        DOCKER_HOST=socket,
    )


def _spaced(env: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return the machine's environment with empty mounts."""
    return {**env, "BUILDKIT_TASKS_CACHES_NAMESPACE": f"{NAMESPACE}{secrets.token_hex(3)}"}


def _dance(place: Path, namespace: str) -> tuple[float, float, float, float, int]:
    """Copy the mounts of a namespace out, archive and unpack them as a CI's cache step does, and copy them in.

    Return the seconds of each of the four steps, and the bytes.
    """
    folder, name = place / "dance", f"buildkit-tasks-bench-{secrets.token_hex(4)}"
    folder.mkdir()
    mounts = " ".join(f"--mount=type=cache,id=buildkit-sample-{m},target=/mounts/{m}" for m in MOUNTS)
    os.sync()
    began = time.monotonic()
    text = f"FROM {BASE}\nARG STEP\nRUN {mounts} mkdir -p /dance && cp -p -R /mounts/. /dance/\n"
    _build(folder, text, namespace, "--load", "--tag", name)
    try:
        process.ok(["docker", "create", "--name", name, name, "true"], place)
        with subprocess.Popen(["docker", "cp", "-L", f"{name}:/dance", "-"], stdout=subprocess.PIPE) as given:
            subprocess.run(["tar", "-H", "posix", "-x", "-C", str(folder)], stdin=given.stdout, check=True)
        out = time.monotonic() - began
        size = sum(p.lstat().st_size for p in folder.rglob("*"))
        save, _ = timed(lambda: _tar(place, "--zstd", "-cf", "dance.tar.zst", "dance"))
        folder.rename(place / "before")
        load, _ = timed(lambda: _tar(place, "--zstd", "-xf", "dance.tar.zst"))
        into = _copy_in(folder, mounts, f"{namespace}in")
    finally:
        process.run(["docker", "rm", "-f", name], place)
        process.run(["docker", "image", "rm", name], place)
    return out, save, load, into, size


def _copy_in(folder: Path, mounts: str, namespace: str) -> float:
    os.sync()
    began = time.monotonic()
    text = f"FROM {BASE}\nCOPY dance /dance\nARG STEP\nRUN {mounts} cp -p -R /dance/. /mounts/\n"
    _build(folder, text, namespace, "--output", "type=cacheonly")
    return time.monotonic() - began


def _tar(place: Path, *words: str) -> dict[str, Any]:
    process.ok(["tar", "--posix", *words], place)
    return {}


def _build(folder: Path, text: str, namespace: str, *how: str) -> None:
    args = ("--build-arg", f"BUILDKIT_CACHE_MOUNT_NS={namespace}", "--build-arg", f"STEP={secrets.token_hex(4)}")
    argv = ["docker", "buildx", "build", "-q", "--provenance=false", *how, *args, "-f", "-", str(folder)]
    subprocess.run(argv, input=text.encode(), check=True, env={**os.environ}, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
