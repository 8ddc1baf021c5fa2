"""A foreign repository that a test adopts: its files, our command, and what it leaves behind."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import process, repositories, repositories_real, repositories_served

#: For each shape whose services keep running: the arguments of `init`, a service, its output, and an edit.
SERVED = {**repositories_served.CASES, **repositories_real.CASES}

SHAPES = {**repositories.SHAPES, **repositories_served.SHAPES, **repositories_real.SHAPES}


class Repository:
    """A repository of one of the shapes under a separate name, committed to git."""

    def __init__(self, place: Path, shape: str) -> None:
        self.shape = shape
        self.project = f"bt-{shape}-{secrets.token_hex(3)}"
        files = SHAPES[shape]()
        self.compose = next((n for n in files if re.fullmatch(r"(?:docker-)?compose\.ya?ml", n)), "compose.yaml")
        if self.compose in files:
            body = "\n".join(line for line in files[self.compose].split("\n") if not line.startswith("name:"))
            mark = "---\n" if body.startswith("---\n") else ""
            files[self.compose] = f"{mark}name: {self.project}\n{body.removeprefix(mark)}"
        self.root = repositories.write(place / self.project, files)
        self.env: dict[str, str | None] = {"CI": None, "XDG_STATE_HOME": str(place / "state")}
        for words in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "one")):
            process.ok(["git", "-c", "user.email=a@example.org", "-c", "user.name=a", *words], self.root)

    def type(self, *args: str) -> process.Done:
        return process.run([process.BIN / "buildkit-tasks", *args], self.root, self.env, timeout=3000)

    def printed(self, service: str) -> str:
        argv = ["docker", "run", "--rm", "--network", "none", f"{self.project}-{service}"]
        return process.ok(argv, self.root).out.strip()

    def plain_build(self, service: str) -> str:
        """Run `docker compose build` with only our files, without the tasks; return its output."""
        plan = json.loads(self.type("build", "--service", service, "--plan", "--json").out)["plan"]
        files = [part for f in plan["compose_files"] for part in ("-f", f)]
        argv = ["docker", "compose", *files, "--progress", "plain", "build", service]
        return process.ok(argv, self.root).all

    def status(self) -> list[str]:
        lines = process.ok(["git", "status", "--porcelain"], self.root).out.splitlines()
        return [line for line in lines if "__pycache__" not in line]


@contextmanager
def adopting(place: Path, shape: str) -> Iterator[Repository]:
    """Create a repository of a shape; remove its containers and images afterwards."""
    made = Repository(place, shape)
    try:
        yield made
    finally:
        if shape in SERVED:
            process.run(["docker", "compose", "-p", made.project, "down", "--volumes", "--timeout", "1"], place)
        listed = process.run(["docker", "image", "ls", "-q", "--filter", f"reference={made.project}*"], place)
        if listed.out.split():
            process.run(["docker", "image", "rm", "-f", *listed.out.split()], place)


def start_edit_and_leave(repository: Repository) -> None:
    """Adopt a repository, build and start it, edit it, and undo the adoption, without any manual step."""
    options, service, prints, (path, old, new) = SERVED[repository.shape]
    plan = repository.type("init", "--dry-run", *options)
    assert plan.code == 0, plan.all
    assert repository.status() == []
    assert (done := repository.type("init", "--yes", *options)).code == 0, done.all
    assert (done := repository.type("build")).code == 0, done.all
    assert (done := repository.type("up", "--yes")).code == 0, done.all
    assert prints in repository.type("logs", service).out
    place = repository.root / path
    before = place.read_text()
    place.write_text(before.replace(old, new))
    assert (done := repository.type("verify")).code != 0, done.all
    assert (done := repository.type("up")).code == 0, done.all
    assert prints.replace(old.strip('"'), new.strip('"')) in repository.type("logs", service).out
    assert (done := repository.type("verify")).code == 0, done.all
    assert repository.type("init", "--check").code == 0
    assert "adopted" in repository.type("doctor").out
    assert repository.type("down", "--yes").code == 0
    # without the tasks
    log = repository.plain_build(service)
    if repository.shape not in repositories_real.SHAPES:
        assert "Downloaded" not in log, log
    elif kept := repositories_real.KEPT.get(repository.shape):
        assert f"Compiling {kept} " not in log, log
    place.write_text(before)
    assert (done := repository.type("init", "--undo", "--yes")).code == 0, done.all
    assert repository.status() == []
