"""Shows how the builder's garbage collection affects the caches, and proposes a policy that keeps the mounts."""

from __future__ import annotations

import re
from pathlib import Path

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import files, readfile, run, shapes
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Engine
from buildkit_tasks.dockercli import buildx
from buildkit_tasks.project.discover import discover

from . import collector
from .collector import Collector
from .look import records, size

#: dockerd's default configuration file.
DAEMON = Path("/etc/docker/daemon.json")


def show(session: Session, *, builder: str = "") -> None:
    """Print how garbage collection affects a builder's cache mounts."""
    found = inspect(session, builder)
    verdict = collector.verdict(found)
    if session.report.json_only:
        rules = [{**r.__dict__, "takes_mounts": r.takes_mounts, "impossible": r.impossible} for r in found.rules]
        content = {"builder": found.name, "driver": found.driver, "rules": rules, "verdict": verdict[0]}
        session.report.envelope({"gc": content})
        return
    session.report.answer(f"garbage collection on {found.name} ({found.driver} driver): {verdict[0]}")
    for line in verdict[1:]:
        session.report.answer(f"  {line}")


def propose(session: Session, *, keep: str = "", builder: str = "", write: bool = False) -> None:
    """Print a policy that keeps the mounts, as a diff. With `write`, ask, then install it.

    `keep`: the limit for the whole build cache; if empty, twice its current size, at least 20 GB. Problems:
    bad-argument, consent-missing, settings-invalid, command-failed (the file cannot be written).
    """
    project = discover(session, looking=True)
    found = inspect(session, builder)
    present = sum(r.size for r in records(session, project.engine, builder))
    limit = size(keep, "keep") if keep else max(20 * 10**9, 2 * present)
    path, text, then = _proposal(session, found, project.engine, limit)
    before = readfile.text(path) if path.is_absolute() and path.is_file() else ""
    changes = collector.diff(before, text, str(path))
    if not changes:
        session.report.say(f"{path} already has this policy")
        return
    session.report.answer(changes)
    if not write:
        session.report.say("nothing was written; pass --write to apply this policy")
        return
    if found.driver == "remote":
        session.report.say(f"add these lines to buildkitd.toml on the builder's machine; {then}")
        return
    if not session.report.consent(f"write {path}"):
        session.report.say("nothing was changed")
        return
    _replace(path, text)
    session.report.say(f"wrote {path}; {then}")


def inspect(session: Session, builder: str = "") -> Collector:
    """Return the builder's own rules. Raises `Problem` bad-argument if the builder does not exist."""
    result = run.capture(session.world, buildx.builder_details(session.root, builder))
    if result.code != 0:
        raise Problem(
            "bad-argument",
            f"Cannot inspect {f'the builder {builder}' if builder else 'the current builder'}.",
            details=result.stderr.strip(),
            hint="run `docker buildx ls` to list the builders",
        )
    return collector.parse(result.stdout)


def _proposal(session: Session, found: Collector, engine: Engine, limit: int) -> tuple[Path, str, str]:
    """Return the file, its new text, and a note on when it takes effect."""
    if found.driver == "docker":
        before = readfile.text(DAEMON) if DAEMON.is_file() else ""
        return (
            DAEMON,
            collector.daemon_text(before, limit, engine.version),
            "the policy takes effect when dockerd restarts",
        )
    numbers = re.findall(r"\d+", found.buildkit)
    text = collector.buildkitd_text(limit, tuple(int(n) for n in numbers[:3]))
    if found.driver == "remote":
        return Path("buildkitd.toml"), text, "the policy takes effect when buildkitd restarts"
    path = session.world.buildx_config / "buildkitd.default.toml"
    then = f"new builders will use the policy; {found.name} keeps its rules and caches until you recreate it"
    return path, text, then


def _replace(path: Path, text: str) -> None:
    """Replace a file atomically. Keeps its mode, and saves the old file as *.before."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".json":
            shapes.loads(text, dict)
        if path.exists():
            path.with_name(f"{path.name}.before").write_bytes(path.read_bytes())
        files.replace(path, text, mode=None if path.exists() else 0o644)
    except OSError as error:
        raise Problem(
            "command-failed",
            f"Cannot write {path}: {error.strerror}.",
            hint="use sudo, or edit the file yourself as shown above",
        ) from error
