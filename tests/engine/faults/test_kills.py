"""Commands that are killed at random moments: the next run is correct, nothing is lost, no process keeps running."""

from __future__ import annotations

import json
import secrets
import shutil
import time
from pathlib import Path

import pytest

from tests.engine.faults.conftest import SECRETS, SLICE, Findings, Range
from tests.engine.faults.trees import adoptable, changes, tree
from tests.support import process, strikes

pytestmark = [pytest.mark.engine, pytest.mark.slow]


def test_build(place: Range) -> None:
    place.edit()
    seconds = place.seconds("build")

    def after() -> Findings:
        if place.chance.random() < 0.3:
            place.edit()
        return place.built()

    for _ in range(8 if SLICE else 32):
        place.edit()
        place.strike("`build` is killed", ["build"], seconds, after)
    place.agreed("`build` is killed")


def test_push(place: Range) -> None:
    place.filled()
    base = f"{place.registry.host}/faults/{secrets.token_hex(4)}"
    seconds = place.seconds("cache.push", "--force", "--ref", f"{base}-first")
    for number in range(4 if SLICE else 12):  # a new repository each time, so there is something to send
        words = ["cache.push", "--force", "--ref", f"{base}-{number}"]  # even if it is not worth it

        def after(words: list[str] = words) -> Findings:
            done = place.invoke(*words)
            return [] if done.code == 0 else [("lost", f"the next push ends with {done.code}: {done.err[-800:]}")]

        place.strike("`cache.push` is killed", words, seconds, after)
    place.agreed("`cache.push` is killed")


def test_pull(place: Range) -> None:
    place.filled()
    words = ["cache.pull", "--ref", f"{place.registry.host}/faults/{secrets.token_hex(4)}"]
    assert place.invoke("cache.push", "--force", *words[1:]).code == 0
    seconds = place.seconds(*words, BUILDKIT_TASKS_CACHES_NAMESPACE="f0" + secrets.token_hex(4))
    for _ in range(4 if SLICE else 12):
        env = {"BUILDKIT_TASKS_CACHES_NAMESPACE": f"f{secrets.token_hex(4)}", **place.online}

        def after(env: dict[str, str | None] = env) -> Findings:
            done = place.invoke(*words, **env)
            if done.code != 0:
                return [("lost", f"the next pull ends with {done.code}: {done.err[-800:]}")]
            return place.built(**env)

        place.edit()
        place.strike("`cache.pull` is killed", words, seconds, after, more=env)
    place.agreed("`cache.pull` is killed")


def test_clear(place: Range) -> None:
    """Another project's mounts and a volume are kept."""
    volume = f"bt-faults-{secrets.token_hex(4)}"
    process.ok(["docker", "volume", "create", volume], place.site.root)
    try:
        mounts = _mounts(place)
        seconds = place.seconds("cache.clear", "--yes")
        for _ in range(2 if SLICE else 4):
            place.invoke("build")

            def after() -> Findings:
                found = place.built()
                if process.run(["docker", "volume", "inspect", volume], place.site.root).code != 0:
                    found.append(("lost", "a volume"))
                missing = mounts - _mounts(place)
                return found + [("lost", f"the mount {name} of another project") for name in missing]

            place.strike("`cache.clear` is killed", ["cache.clear", "--yes"], seconds, after)
    finally:
        process.run(["docker", "volume", "rm", volume], place.site.root)
    place.agreed("`cache.clear` is killed")


def _mounts(place: Range) -> set[str]:
    listed = json.loads(place.invoke("cache", "--json").out)["mounts"]
    return {str(mount["id"]) for mount in listed if mount["project"] != place.site.scope}


def test_init(place: Range, tmp_path: Path) -> None:
    root = adoptable(tmp_path)
    program = process.BIN / "buildkit-tasks"
    before = tree(root)
    began = time.monotonic()
    process.ok([program, "init", "--yes"], root, place.env)
    seconds = time.monotonic() - began
    adopted = tree(root)
    process.ok([program, "init", "--undo", "--yes"], root, place.env)
    assert tree(root) == before

    def undone() -> Findings:
        done = process.run([program, "init", "--undo", "--yes"], root, place.env)
        left = changes(root, before)
        return [("lost", f"--undo ends with {done.code} and leaves {left}: {done.err[-600:]}")] if left else []

    def after() -> Findings:
        if place.chance.random() < 0.5:
            return undone()
        done = process.run([program, "init", "--yes"], root, place.env)
        wrong = changes(root, adopted)
        words = f"the next init ends with {done.code}, and differs in {wrong}: {done.err[-600:]}"
        return [*([("lost", words)] if wrong else []), *undone()]

    for _ in range(8 if SLICE else 40):
        place.strike("`init` is killed", ["init", "--yes"], seconds, after, root)
        adoptable(tmp_path)
    place.agreed("`init` is killed")


def test_dotenv(place: Range, tmp_path: Path) -> None:
    root = adoptable(tmp_path)
    (root / "tasks.py").write_text("from buildkit_tasks import namespace\n")
    own = "# mine\nexport KEPT='a\nb'\nDB_PASSWORD=\n"
    names = "".join(f"NEW_{number}_PASSWORD=\n" for number in range(20))
    (root / ".env.example").write_text(f"DB_PASSWORD=\n{names}")

    def after() -> Findings:
        struck = (root / ".env").read_bytes()
        done = process.run([process.BIN / "invoke", "dotenv"], root, place.env)
        text = (root / ".env").read_text()
        found: Findings = []
        if struck != own.encode() and struck != text.encode():
            found.append(("lost", "half of .env, or other passwords than at first"))
        if done.code != 0 or not text.startswith("# mine\nexport KEPT='a\nb'\nDB_PASSWORD="):
            found.append(("lost", f"code {done.code}, .env is {text!r}"))
        litter = [path.name for path in root.iterdir() if ".buildkit-tasks-" in path.name]
        return found + [("lost", f"it leaves {name}") for name in litter]

    for _ in range(8 if SLICE else 40):
        (root / ".env").write_text(own)
        place.strike("`dotenv` is killed", ["dotenv"], 0.6, after, root)
    place.agreed("`dotenv` is killed")


def test_enable_buildkit(place: Range) -> None:
    startup = place.home / ".bashrc"
    own = b"# mine\nalias ll='ls -l'\n[ -f x ] && . x"

    def after() -> Findings:
        text = startup.read_bytes()
        found: Findings = [] if text.startswith(own.rstrip()) else [("lost", f".bashrc is {text!r}")]
        for words in (["--yes"], ["--undo", "--yes"]):
            done = place.invoke("enable-buildkit", "--shell", "bash", *words)
            if done.code != 0:
                found.append(("lost", f"{words} ends with {done.code}: {done.err[-800:]}"))
        if startup.read_bytes() != own:
            found.append(("lost", f"after --undo, .bashrc is {startup.read_bytes()!r}"))
        return found

    startup.write_bytes(own)
    seconds = place.seconds("enable-buildkit", "--shell", "bash", "--yes")
    assert place.invoke("enable-buildkit", "--shell", "bash", "--undo", "--yes").code == 0
    for _ in range(8 if SLICE else 40):
        startup.write_bytes(own)
        place.strike("`enable-buildkit` is killed", ["enable-buildkit", "--shell", "bash", "--yes"], seconds, after)
    place.agreed("`enable-buildkit` is killed")


def test_no_secret_is_left_behind(place: Range) -> None:
    """After all tests above: no secrets in the output, in state and history, in buildx's files, or in images."""
    found = strikes.places(SECRETS, "\n".join(place.said), "what was printed")
    found += strikes.places_in_files(SECRETS, place.home, [place.home / ".docker/config.json"])
    archive = place.home / "images.tar"
    images = [f"{place.site.scope}/{name}:dev" for name in ("api", "worker")]
    process.ok(["docker", "save", "-o", str(archive), *images], place.site.root)
    unpacked = place.home / "images"
    unpacked.mkdir()
    process.ok(["tar", "-xf", str(archive), "-C", str(unpacked)], place.site.root)
    archive.unlink()
    for layer in [path for path in unpacked.rglob("*") if path.is_file() and path.stat().st_size > 1_000_000]:
        process.run(["sh", "-c", f"gzip -dc < '{layer}' > '{layer}.plain' || rm '{layer}.plain'"], place.home)
    found += strikes.places_in_files(SECRETS, unpacked)
    shutil.rmtree(unpacked)
    place.tally.count("secrets after all of these", hit=False, findings=[("leaked", words) for words in found])
    place.agreed("secrets after all of these")
