"""`up to date` on a real engine: whenever it is printed, BuildKit would have found every step in its cache.

Takes random steps on real files, images and variables. Each run prints its seed; `BT_UNCHANGED_SEED=N` repeats it.
`BT_UNCHANGED_STEPS=N` sets the number of steps.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import process

pytestmark = pytest.mark.engine

STEPS = int(os.environ.get("BT_UNCHANGED_STEPS", "12"))
SEED = int(os.environ.get("BT_UNCHANGED_SEED", str(random.SystemRandom().randrange(2**32))))

COMPOSE = """\
name: bt-unchanged
services:
  one: {build: {context: app, args: {WORD: "${WORD:-a}"}}, image: bt-unchanged/one, env_file: values.env}
  two: {build: {context: app, target: small}, image: bt-unchanged/two}
"""
DOCKERFILE = "FROM debian:bookworm-slim AS small\nCOPY . /app\nFROM small\nARG WORD\nRUN echo $WORD > /word\n"


class Project:
    """A small project, and `invoke build` in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.env: dict[str, str | None] = {"WORD": None, "XDG_STATE_HOME": str(root.parent / "state"), "CI": None}
        for name, text in {
            "compose.yaml": COMPOSE,
            "tasks.py": "from buildkit_tasks import namespace\n",
            "values.env": "WORD=b\n",
            "app/Dockerfile": DOCKERFILE,
            "app/.dockerignore": "Dockerfile\nlog\n",
            "app/a": "aaaa\n",
            "app/b": "bbbb\n",
            "app/log": "",
            "app/sub/c": "cccc\n",
        }.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        (root / "app/link").symlink_to("a")

    def build(self) -> dict[str, Any]:
        """Return the JSON output of a build."""
        done = process.run([process.BIN / "invoke", "build", "--json"], self.root, self.env)
        assert done.code == 0, done.all
        return dict(json.loads(done.out))

    def forget(self) -> None:
        """Delete the records, so that the next build asks BuildKit."""
        for folder in (self.root.parent / "state").glob("buildkit-tasks/*/unchanged"):
            shutil.rmtree(folder)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    yield Project(tmp_path / "shop")
    names = ("bt-unchanged/one", "bt-unchanged/two", "bt-unchanged/other")
    process.run(["docker", "image", "rm", "--force", *names], tmp_path)


def change(project: Project, chance: random.Random) -> str:
    """Make a random change between two builds, and return its description."""
    root = project.root
    a, b, link = root / "app/a", root / "app/b", root / "app/link"
    match chance.randrange(14):
        case 0:
            before = a.stat()
            a.write_text(chance.choice("abc") * 4 + "\n")
            os.utime(a, ns=(before.st_atime_ns, before.st_mtime_ns))
            return "edit, old time"
        case 1:
            between = root / "between"
            a.rename(between), b.rename(a), between.rename(b)
            return "exchange"
        case 2:
            link.unlink()
            link.symlink_to(chance.choice(("a", "b")))
            return "link"
        case 3:
            a.chmod(chance.choice((0o644, 0o755)))
            return "mode"
        case 4:
            new = root / "app/new"
            new.unlink() if new.exists() else new.write_text("new\n")
            return "new or gone"
        case 5:
            (root / "app/.dockerignore").write_text(chance.choice(("Dockerfile\nlog\n", "Dockerfile\n", "log\n")))
            return "ignore file"
        case 6:
            (root / ".env").write_text(f"WORD={chance.choice('ab')}\n")
            return ".env"
        case 7:
            project.env["WORD"] = chance.choice(("a", "b", None))
            return "environment"
        case 8:
            override = root / "compose.override.yaml"
            text = "services: {two: {build: {labels: {x: y}}}}\n"
            override.unlink() if override.exists() else override.write_text(text)
            return "override"
        case 9:
            docker("tag", "bt-unchanged/two", "bt-unchanged/one")
            return "retag"
        case 10:
            docker("image", "rm", "bt-unchanged/one")
            return "image gone"
        case 11:
            with (root / "app/Dockerfile").open("a") as file:
                file.write("# more\n")
            return "Dockerfile"
        case 12:
            (root / "values.env").write_text(f"WORD={chance.choice('ab')}\n")
            return "env file of a service"
        case _:
            with (root / "app/log").open("a") as file:
                file.write("line\n")
            return "ignored file"


def docker(*words: str) -> str:
    done = process.run(["docker", *words], Path("/"))
    assert done.code == 0, done.all
    return done.out


def ids() -> str:
    return docker("image", "inspect", "--format", "{{.Id}}", "bt-unchanged/one", "bt-unchanged/two")


def test_up_to_date_is_said_only_where_buildkit_would_do_nothing(project: Project) -> None:
    print(f"BT_UNCHANGED_SEED={SEED}")  # noqa: T201 - for who plays a failure again
    chance = random.Random(SEED)
    project.build()
    said = 0
    for _ in range(STEPS):
        time.sleep(0.1)
        project.build()
        happened = [change(project, chance) for _ in range(chance.choice((0, 1, 1, 2)))]
        if not project.build()["up_to_date"]:
            assert happened, "nothing happened, and it was not proven"
            continue
        said += 1
        before = ids()
        project.forget()
        real = project.build()
        assert not real["up_to_date"]
        assert ids() == before, happened
        # a step that both images share is reported once as cached and once as never started
        ran = [s for s in real["steps"] if not s["cached"] and s["seconds"] is not None and "] FROM " not in s["name"]]
        assert not ran, happened
        assert not any(target["changed"] for target in real["targets"]), happened
    assert said or STEPS < 10


def test_clearing_a_cache_makes_the_next_build_ask(project: Project) -> None:
    for _ in range(2):
        project.build()
        time.sleep(0.1)
    assert project.build()["up_to_date"]
    assert process.run([process.BIN / "invoke", "build", "--plan"], project.root, project.env).code == 0
    assert project.build()["up_to_date"]
