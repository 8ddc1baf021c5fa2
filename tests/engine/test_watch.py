"""watch and dev with a real engine: after any series of saves, the running containers match the tree."""

from __future__ import annotations

import hashlib
import json
import random
import secrets
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support import process
from tests.support.watching import Watching

pytestmark = pytest.mark.engine

#: Fails the build while the marker exists.
DOCKERFILE = "FROM {base}\nCOPY . /data\nRUN ! grep -rqs '^BROKEN$' /data/sources\n"

GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")


class Site:
    """A project with three services in separate directories; the third one gets its files without a build."""

    def __init__(self, root: Path, base: str) -> None:
        self.root, self.base, self.project = root / "site", base, f"watch-{secrets.token_hex(3)}"
        self.env: dict[str, str | None] = {"CI": None, "XDG_STATE_HOME": str(root / "state")}
        self.started: list[Watching] = []
        (self.root).mkdir()
        self.write("tasks.py", "from buildkit_tasks import namespace\n__all__ = ['namespace']\n")
        for name in ("one", "two", "three"):
            self.write(f"{name}/Dockerfile", DOCKERFILE.format(base=base))
            self.write(f"{name}/.dockerignore", "**/*.log\ntarget\n")
            self.write(f"{name}/sources/first", "1\n")
        self.compose()
        process.ok(["git", "init", "-q", "-b", "main"], self.root)
        self.commit()

    def compose(self, **more: Any) -> None:
        """Write the compose file; `more` is added to every service."""
        runs = {"command": ["sleep", "600"], "init": True, "stop_grace_period": "1s", **more}
        copied = [{"path": "./three", "action": "sync", "target": "/data", "ignore": ["**/*.log", "target"]}]
        services = {
            "one": {"build": "./one", **runs},
            "two": {"build": "./two", **runs},
            "three": {"build": "./three", "develop": {"watch": copied}, **runs},
        }
        self.write("compose.yaml", json.dumps({"name": self.project, "services": services}))

    def write(self, name: str, text: str) -> None:
        place = self.root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def commit(self) -> None:
        process.ok(["git", "add", "-A"], self.root)
        process.ok([*GIT, "commit", "-q", "--allow-empty", "-m", "x"], self.root)

    def start(self, *words: str, ready: str = "watching one, three, two") -> Watching:
        log = self.root.parent / f"watch-{len(self.started)}.log"
        started = Watching([process.BIN / "invoke", *words], self.root, self.env, log)
        self.started.append(started)
        started.wait_for(ready)
        return started

    def tree(self, service: str) -> dict[str, str]:
        """Return the files that the container should have: digests by path."""
        root = self.root / service
        files = (p for p in root.rglob("*") if p.is_file() and p.suffix != ".log" and "target" not in p.parts)
        kept = (p for p in files if p.name not in ("Dockerfile", ".dockerignore"))
        return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in kept}

    def containers(self, service: str, *more: str) -> list[str]:
        """Return the running containers of a service; with `--all`, also the others."""
        labels = (f"project={self.project}", f"service={service}")
        chosen = [part for label in labels for part in ("--filter", f"label=com.docker.compose.{label}")]
        return process.ok(["docker", "ps", "--quiet", *more, *chosen], self.root).out.split()

    def inside(self, service: str) -> dict[str, str]:
        """Return the files in the service's container; return nothing unless there is exactly one container."""
        name = ",".join(self.containers(service))
        script = "cd /data && find . -type f ! -name Dockerfile ! -name .dockerignore -exec sha256sum {} +"
        said = process.run(["docker", "exec", name, "sh", "-c", script], self.root)
        lines = (line.split("  ./", 1) for line in said.out.splitlines() if "  ./" in line)
        return {path: digest for digest, path in lines}

    def settle(self, watching: Watching, seconds: float = 60) -> None:
        """Wait until every container has the files of its tree."""
        until = time.monotonic() + seconds
        different: list[str] = ["?"]
        while different:
            assert watching.process.poll() is None, watching.said
            if time.monotonic() > until:
                shown = {s: (self.containers(s), self.inside(s), self.tree(s)) for s in different}
                raise AssertionError(f"{json.dumps(shown, indent=1)}\n{watching.said[-6000:]}")
            time.sleep(0.3)
            different = [s for s in ("one", "two", "three") if not self.same(s)]

    def same(self, service: str) -> bool:
        return self.inside(service) == self.tree(service)


@pytest.fixture
def site(tmp_path: Path, base_images: Mapping[str, str]) -> Iterator[Site]:
    """Create a site; remove its containers and images when the test is done."""
    reference = "debian:bookworm-slim"
    made = Site(tmp_path, base_images.get(reference, reference))
    yield made
    for watching in made.started:
        if watching.process.poll() is None:
            watching.end()
    down = ["down", "--volumes", "--remove-orphans", "--rmi", "local", "--timeout", "1"]
    process.run(["docker", "compose", "-p", made.project, *down], tmp_path)


def save(site: Site, chance: random.Random) -> None:
    """Make a random change in a tree, as editors, git and people do."""
    root = site.root / chance.choice(("one", "two", "three"))
    folders = [p for p in root.rglob("*") if p.is_dir() and "target" not in p.parts]
    files = [p for p in root.rglob("*") if p.is_file() and p.name not in ("Dockerfile", ".dockerignore")]
    place = chance.choice(folders or [root / "sources"])
    text = f"{chance.random()}\n" * chance.randint(1, 50)
    kind = chance.randint(0, 8)
    place.mkdir(parents=True, exist_ok=True)
    if kind == 0:  # a new directory with a file in it
        (place / f"d{chance.randint(0, 4)}").mkdir(exist_ok=True)
        (place / f"d{chance.randint(0, 4)}").mkdir(exist_ok=True)
        (place / f"f{chance.randint(0, 4)}").write_text(text)
    elif kind == 1 and place != root / "sources":
        shutil.rmtree(place)
    elif kind == 2 and files:
        chance.choice(files).unlink()
    elif kind == 3 and files:  # the way editors save
        target = chance.choice(files)
        target.with_name(f"{target.name}~").write_text(text)
        target.with_name(f"{target.name}~").replace(target)
    elif kind == 4 and files:  # one half now, the rest a moment later
        with chance.choice(files).open("w") as half:
            half.write(text)
            half.flush()
            time.sleep(chance.random() * 0.3)
            half.write(text)
    elif kind == 5:  # none of these files are sent
        (place / "noise.log").write_text(text)
        (root / "target").mkdir(exist_ok=True)
        (root / "target" / "object").write_text(text)
    elif kind == 6 and place != root / "sources":  # removed and immediately recreated
        shutil.rmtree(place)
        place.mkdir()
        (place / "again").write_text(text)
    else:
        (place / f"f{chance.randint(0, 9)}").write_text(text)


def killed(site: Site, watching: Watching, chance: random.Random) -> Watching:
    """Kill `watch` in the middle of whatever it does, check that its children end too, and start it again."""
    time.sleep(chance.random())
    assert watching.end(signal.SIGKILL) == -signal.SIGKILL
    until = time.monotonic() + 20
    while left := watching.left():
        assert time.monotonic() < until, f"{left}\n{watching.said[-4000:]}"
        time.sleep(0.1)
    save(site, chance)  # nobody sees this one
    return site.start("watch")


def storm(site: Site, saves: int) -> None:
    """Save at random, with a broken build, a branch switch, a changed compose file and kills in between; then stop."""
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    watching = site.start("watch")
    site.settle(watching)
    for number in range(saves):
        save(site, chance)
        if number == saves // 4:
            site.write("one/sources/broken", "BROKEN\n")
            watching.wait_for("the old containers keep running")
            assert len(site.containers("one")) == 1
            (site.root / "one" / "sources" / "broken").unlink()
        if number == saves // 3:
            site.commit()
            process.ok(["git", "checkout", "-q", "-b", "other"], site.root)
            shutil.rmtree(site.root / "two" / "sources")
            site.write("two/sources/deep/er/file", "other\n")
            site.write("one/Dockerfile", DOCKERFILE.format(base=site.base) + "ENV OTHER=1\n")
            site.commit()
            process.ok(["git", "checkout", "-q", "main"], site.root)
            process.ok(["git", "checkout", "-q", "other"], site.root)
        if number == saves // 2:
            site.compose(environment={"CHANGED": "yes"})
        if number % 29 == 12:
            watching = killed(site, watching, chance)
        time.sleep(chance.choice((0, 0, 0.05, 0.3, 1.0)))
    try:
        site.settle(watching)
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from error
    shown = process.ok(["docker", "exec", site.containers("one")[0], "env"], site.root).out
    assert "CHANGED=yes" in shown
    assert "OTHER=1" in shown
    site.write("two/sources/last", "while it is ended\n")
    watching.wait_for("two/sources/last changed")
    assert watching.end(signal.SIGTERM) == 143, watching.said
    assert watching.left() == []
    assert all(len(site.containers(service)) == 1 for service in ("one", "two", "three"))
    again = site.start("watch")
    site.settle(again)
    before = site.tree("two")
    replacing(site, again, chance)
    assert again.end(signal.SIGINT) == 130
    assert again.left() == []
    assert site.inside("two") in (before, site.tree("two"))  # the old or the new files, and nothing in between
    assert all(len(site.containers(service, "--all")) == 1 for service in ("one", "two", "three"))
    for _ in range(3):
        again = site.start("watch")
        replacing(site, again, chance)
        again = killed(site, again, chance)
        site.settle(again)
        assert all(len(site.containers(service, "--all")) == 1 for service in ("one", "two", "three"))
        assert again.end(signal.SIGTERM) == 143, again.said
        assert again.left() == []


def replacing(site: Site, watching: Watching, chance: random.Random) -> None:
    """Save a file and return at a random moment of the second in which its container is replaced."""
    built = watching.said.count("built ")
    site.write("two/sources/last", f"{chance.random()}\n")
    watching.wait_for("built ", times=built + 1)
    time.sleep(chance.random())


def test_after_any_series_of_saves_what_runs_is_what_the_tree_contains(site: Site) -> None:
    storm(site, 30)


@pytest.mark.slow
def test_two_hundred_saves(site: Site) -> None:
    storm(site, 200)


def test_only_what_changed_is_replaced_and_idling_costs_nothing(site: Site) -> None:
    watching = site.start("watch")
    before = {name: site.containers(name) for name in ("one", "two", "three")}
    site.write("one/sources/first", "2\n")
    watching.wait_for("one replaced")
    site.write("one/sources/ignored.log", "2\n")
    site.write(".git/noise", "2\n")
    began, used = time.monotonic(), watching.processor_seconds()
    time.sleep(5)
    share = (watching.processor_seconds() - used) / (time.monotonic() - began)
    assert share < 0.01, f"{share:.2%} of a core"
    assert watching.said.count(" changed\n") == 1, watching.said
    after = {name: site.containers(name) for name in ("one", "two", "three")}
    assert (before["two"], before["three"]) == (after["two"], after["three"])
    assert before["one"] != after["one"]
    assert watching.end(signal.SIGINT) == 130


def test_dev_stops_what_it_started_and_nothing_else(site: Site) -> None:
    process.ok([process.BIN / "invoke", "up", "two"], site.root, site.env)
    kept = site.containers("two")
    watching = site.start("dev", "--watch")
    site.write("one/sources/first", "3\n")
    watching.wait_for("one replaced")
    assert watching.end(signal.SIGINT) == 130, watching.said
    assert "stopping one, three" in watching.said
    assert watching.left() == []
    assert {name: site.containers(name) for name in ("one", "two", "three")} == {"one": [], "two": kept, "three": []}
    logged = site.start("dev", "one", ready="following the logs")
    assert logged.end(signal.SIGTERM) == 143, logged.said
    assert logged.left() == []
    assert [site.containers("one"), site.containers("two")] == [[], kept]


EDITS = """
mkdir -p three/sources/new/deep; echo 1 > three/sources/new/deep/f; echo 1 > three/sources/gone; echo 1 > three/top
echo 2 > three/sources/first; chmod 755 three/sources/first; echo 1 > three/sources/ignored.log; echo 1 > three/x~
mkdir -p three/target; echo 1 > three/target/o; ln -s first three/sources/link
---
rm three/sources/gone; mv three/top three/renamed; echo 3 > "three/sources/two words"
---
rm -r three/sources/new; echo 4 > three/sources/first
"""


def test_files_are_copied_as_compose_copies_them(site: Site, tmp_path: Path, base_images: Mapping[str, str]) -> None:
    (tmp_path / "theirs").mkdir()
    theirs = Site(tmp_path / "theirs", site.base)
    ours = site.start("watch", "three", ready="watching three")
    try:
        process.ok(["docker", "compose", "up", "--detach", "--build", "three"], theirs.root)
        argv = ["docker", "compose", "watch", "--no-up", "three"]
        oracle = Watching(argv, theirs.root, {}, tmp_path / "theirs.log")
        theirs.started.append(oracle)
        oracle.wait_for("atch enabled")
        for number, edits in enumerate(EDITS.split("---"), 1):
            for one in (site, theirs):
                process.ok(["sh", "-c", edits], one.root)
            ours.wait_for("three synced", times=number)
            mine, other = settled(site, theirs)
            assert mine == other, oracle.said
        assert any(line.startswith("./sources/link l") for line in mine)
    finally:
        for watching in theirs.started:
            watching.end(signal.SIGINT)
        down = ["down", "--rmi", "local", "--timeout", "1"]
        process.run(["docker", "compose", "-p", theirs.project, *down], theirs.root)
    assert ours.end(signal.SIGINT) == 130


def settled(mine: Site, other: Site, seconds: float = 20) -> tuple[list[str], list[str]]:
    """Return the files of both third services' containers, once they match or the time is up."""
    until = time.monotonic() + seconds
    while True:
        a, b = listing(mine), listing(other)
        if a is not None and a == b:
            return a, b
        if time.monotonic() > until:
            return a or ["changed while it was read"], b or ["still changing"]
        time.sleep(0.3)


def listing(site: Site) -> list[str] | None:
    """Return names, kinds, modes, owners and contents of the third service's files, or None if they are changing.

    A file may disappear between `find` and `cat` while a copy is running: try again.
    """
    (name,) = site.containers("three")
    script = (
        "cd /data; find . -printf '%p %y %m %U %l\\n' | sort;"
        " find . -type f ! -name .dockerignore | sort | tr '\\n' '\\0' | xargs -0 cat"
    )
    done = process.run(["docker", "exec", name, "sh", "-c", script], site.root)
    return done.out.splitlines() if done.code == 0 else None
