"""A repository that runs the rows of docs/how-to/from-make.md without Rust on PATH, and checks of the results."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect

from buildkit_tasks.registry import archive
from tests.engine import checkout
from tests.support import process, repositories, repositories_served
from tests.support.make_rows import Repository, Step, rows
from tests.support.watching import Watching

#: Programs that belong to Rust, by name.
RUST = re.compile(r"(cargo|rust|clippy|rls\b).*")

GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")

SMOKE = '\n[tool.buildkit-tasks.stack]\nsmoke = ["api / "]\n'


def path_without_rust(scratch: Path) -> str:
    """Return PATH without Rust: directories with Rust programs are replaced with symlinks to the other programs."""
    found = []
    for number, folder in enumerate([str(process.BIN), *os.environ["PATH"].split(":")]):
        programs = sorted(p for p in Path(folder).glob("*")) if folder else []
        if not any(RUST.fullmatch(p.name) for p in programs):
            found.append(folder)
            continue
        links = scratch / str(number)
        links.mkdir(parents=True)
        for program in programs:
            if not RUST.fullmatch(program.name):
                (links / program.name).symlink_to(program)
        found.append(str(links))
    path = ":".join(found)
    assert not any(shutil.which(name, path=path) for name in ("cargo", "rustc", "rustup"))
    return path


class Site:
    """A repository with a separate compose project."""

    def __init__(self, repository: Repository, root: Path, project: str, env: dict[str, str | None]) -> None:
        self.repository: Repository = repository
        self.rows = rows(repository)
        self.root, self.project = root, project
        home = root.parent / "home"
        home.mkdir()
        path = path_without_rust(root.parent / "path")
        self.env = {**env, "PATH": path, "XDG_STATE_HOME": str(root.parent / "state"), "CI": None}
        self.home = home
        self.said: dict[object, str] = {}
        self._put_beside()

    def _put_beside(self) -> None:
        """Write files that some rows need: an overlay, and data to load."""
        label = f'services:\n  {self.repository.service}:\n    labels: {{extra: "yes"}}\n'
        (self.root / "compose.extra.yaml").write_text(label)
        (self.root / "seeds").mkdir(exist_ok=True)
        if self.repository.database != "ledger":
            seed = "CREATE TABLE IF NOT EXISTS seeded (x int);\nINSERT INTO seeded VALUES (1);\n"
            (self.root / "seeds" / "rows.sql").write_text(seed)

    def play(self, step: Step) -> None:
        """Run a command and check its output and its result."""
        key = step if step.after or step.again else (step.line, step.env, step.code)
        if key in self.said:
            assert step.shows in self.said[key], step
            return
        words = [w.replace("{project}", self.project) for w in step.words]
        env: dict[str, str | None] = {**self.env, **dict(step.env)}
        if words[0] == "enable-buildkit":
            env["HOME"] = str(self.home)
        began = time.monotonic()
        code, said = self._run(["invoke", *words], step, env)
        seconds = time.monotonic() - began
        sys.stdout.write(f"\n{self.repository.name}: invoke {step.line}: {code}, {seconds:.1f} s ")
        assert code == step.code, f"{step.line} ended with {code}\n{said[-6000:]}"
        assert step.shows in said, f"{step.line} does not show {step.shows!r}\n{said[-6000:]}"
        assert "Traceback" not in said, said[-6000:]
        if step.after:
            step.after(self)
        self.said[key] = said

    def _run(self, argv: list[str], step: Step, env: dict[str, str | None]) -> tuple[int, str]:
        program = str(process.BIN / argv[0])
        if step.until:
            log = self.root.parent / f"log-{len(self.said)}"
            running = Watching([program, *argv[1:]], self.root, env, log)
            try:
                running.wait_for(step.until, seconds=300)
            finally:
                code = running.end(signal.SIGINT)
            return code, running.said
        if step.keys:
            given = process.environment({**env, "TERM": "xterm"})
            child = pexpect.spawn(program, argv[1:], cwd=self.root, env=given, timeout=60, encoding="utf-8")
            child.expect(r"[#$] ")
            child.sendline(step.keys)
            child.expect(pexpect.EOF)
            child.close()
            return child.exitstatus or 0, str(child.before)
        done = process.run([program, *argv[1:]], self.root, env, stdin=step.stdin or None, timeout=1200)
        return done.code, done.all

    # checks of the result

    def _containers(self, service: str = "") -> list[str]:
        labels = [f"project={self.project}", *([f"service={service}"] if service else [])]
        chosen = [part for label in labels for part in ("--filter", f"label=com.docker.compose.{label}")]
        return process.ok(["docker", "ps", "--quiet", *chosen], self.root).out.split()

    def _volumes(self, label: str) -> list[str]:
        return process.ok(["docker", "volume", "ls", "--quiet", "--filter", f"label={label}"], self.root).out.split()

    def runs(self, service: str) -> None:
        """Check that the service has a running container."""
        assert len(self._containers(service)) == 1

    def is_down(self) -> None:
        """Check that the project has no running container."""
        assert self._containers() == []

    def has_label(self, service: str, name: str) -> None:
        """Check that the service's container has a label."""
        form = ["inspect", "--format", f'{{{{index .Config.Labels "{name}"}}}}', *self._containers(service)]
        assert process.ok(["docker", *form], self.root).out.strip() == "yes"

    def has_image(self, service: str) -> None:
        """Check that the service's image exists."""
        label = f"label=com.docker.compose.project={self.project}"
        listed = process.ok(["docker", "image", "ls", "--filter", label, "--format", "{{.Repository}}"], self.root)
        assert any(re.search(rf"[/-]{service}$", name) for name in listed.out.split()), listed.out

    def file(self, name: str) -> None:
        """Check that the file or directory exists and is not empty."""
        path = self.root / name
        assert path.is_dir() or path.stat().st_size > 0

    def is_static(self, name: str) -> None:
        """Check that the program does not need a loader."""
        assert archive.starts_by((self.root / name).read_bytes()[:4096])[1] == ""

    def restore(self, name: str) -> None:
        """Restore the committed file."""
        process.ok([*GIT, "checkout", "--", name], self.root)

    def undo_changes(self) -> None:
        """Remove the hook: it would check every commit."""
        (self.root / ".git/hooks/pre-commit").unlink()

    def no_copies(self) -> None:
        """Check that integration tests left no copies of services."""
        named = ["docker", "ps", "--all", "--filter", f"name={self.project[:40]}-cargo-test", "--format", "{{.Names}}"]
        assert process.ok(named, self.root).out == ""

    def asked(self, query: str, answer: str, database: str = "") -> None:
        """Check the database's answer to a query."""
        name = self.repository.database
        service = "postgres" if self.repository.large else "db"
        (container,) = self._containers(service)
        words = ["psql", "-XAt", "-U", name, "-d", database or name, "-c", query]
        assert process.ok(["docker", "exec", container, *words], self.root).out.strip() == answer

    def is_not_robbed(self) -> None:
        """Check that the project's containers still exist."""
        self.runs(self.repository.service)

    def shell_is(self, *, enabled: bool) -> None:
        """Check whether new shells have BuildKit's variables."""
        rc = self.home / ".bashrc"
        assert ("buildkit" in (rc.read_text().lower() if rc.exists() else "")) == enabled

    def has_no_volumes(self) -> None:
        """Check that the compose project has no volume."""
        assert self._volumes(f"com.docker.compose.project={self.project}") == []

    def has_no_objects(self) -> None:
        """Check that the compiled objects of cargo tasks are gone."""
        assert not [v for v in self._volumes(f"buildkit-tasks.cargo={self.project}") if v.endswith("-target")]

    def has_no_caches(self) -> None:
        """Check that there are neither cache mounts nor volumes of cargo tasks."""
        assert self._volumes(f"buildkit-tasks.cargo={self.project}") == []
        assert f'with id "{self.project}-' not in process.ok(["docker", "buildx", "du", "--verbose"], self.root).out

    def clean_up(self) -> None:
        """Remove everything that is left."""
        down = ["down", "--volumes", "--remove-orphans", "--rmi", "local", "--timeout", "1"]
        process.run(["docker", "compose", "-p", self.project, *down], self.root)
        if not self.repository.large:
            argv = ["clean", "--caches", "--volumes", "--confirm", self.project]
            process.run([process.BIN / "invoke", *argv], self.root, self.env)


@contextmanager
def opened(repository: Repository, place: Path) -> Iterator[Site]:
    """Open a repository: the sample is a checkout, the others are generated and adopted with `init`."""
    if repository.large:
        with checkout.copied(place) as made:
            process.ok(["git", "init", "-q"], made.root)
            commit(made.root)
            site = Site(repository, made.root, made.project, made.env)
            process.ok([process.BIN / "invoke", "dotenv"], site.root, site.env)
            yield site
            site.clean_up()
        return
    project = f"bt-{repository.name}-{secrets.token_hex(3)}"
    files = repositories_served.ledger() if repository.database else repositories_served.profiles()
    files["compose.yaml"] = f"name: {project}\n{files['compose.yaml']}"
    root = repositories.write(place / project, files)
    process.ok(["git", "init", "-q"], root)
    if repository.database:
        (root / ".env").write_text(f"API_PORT={checkout.free_port()}\n")
        (root / "pyproject.toml").write_text(SMOKE.lstrip())
    site = Site(repository, root, project, {})
    process.ok([process.BIN / "buildkit-tasks", "init", "--yes"], root, site.env)
    commit(root)
    process.ok([process.BIN / "invoke", "dotenv"], root, site.env)
    yield site
    site.clean_up()


def commit(root: Path) -> None:
    """Commit everything."""
    process.ok([*GIT, "add", "-A"], root)
    process.ok([*GIT, "commit", "-qm", "one"], root)
