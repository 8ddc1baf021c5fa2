"""Proves that BuildKit works and cache mounts persist, and measures build times, for `doctor --verify`."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command
from buildkit_tasks.dockercli import buildx
from buildkit_tasks.engine import cache_records
from buildkit_tasks.images import bases as base_images
from buildkit_tasks.project.discover import discover
from buildkit_tasks.shells import new_shell


def prove(session: Session, measure: Callable[[Session], None]) -> dict[str, Any]:
    """Run and report the proofs, then let `measure` print build times.

    Problems: verify-failed; any from discovery and base images.
    """
    say = session.report.say
    seconds = new_shell.probe(session)
    say(f"verified: BuildKit works ({seconds:.1f} s)")
    mounts = persist(session)
    say(f"verified: a cache mount keeps its content for the next build ({mounts:.1f} s)")
    proof: dict[str, Any] = {"buildkit_seconds": round(seconds, 2), "mounts_seconds": round(mounts, 2)}
    if session.report.json_only:
        return proof  # the benchmark prints its own document: invoke bench --quick --json
    say("measuring build times (takes a few minutes; temporary images and caches are deleted afterwards)")
    measure(session)
    return proof


def persist(session: Session) -> float:
    """Time two builds; the second reads what the first wrote to a cache mount. Raises verify-failed."""
    project = discover(session)
    refs = base_images.references(project.workspace)[:1]
    if not refs:
        raise Problem(
            "verify-failed", "The project builds no services, so there is no base image to test a cache mount with."
        )
    use = base_images.replacements(session, project.engine, refs).get(refs[0], refs[0])
    mount, word = f"{project.workspace.scope}-doctor-{secrets.token_hex(4)}", secrets.token_hex(8)
    began = session.world.clock()
    try:
        _step(session, (refs[0], use), mount, f"echo {word} > /m/word")
        _step(session, (refs[0], use), mount, f"grep -qx {word} /m/word")
    finally:
        _remove(session, mount)
    return session.world.clock() - began


def _step(session: Session, base: tuple[str, str], mount: str, what: str) -> None:
    text = f"FROM {base[0]}\nRUN --mount=type=cache,id={mount},target=/m {what}\n"
    with tempfile.TemporaryDirectory(prefix="buildkit-tasks-") as folder:
        result = run.capture(
            session.world, buildx.mount_build(session.root, text, Path(folder), base=base), timeout=120
        )
    if result.code != 0:
        raise Problem(
            "verify-failed",
            "A cache mount did not persist." if "grep" in what else "A build with a cache mount failed.",
            causes=["another builder may have run the second build, or garbage collection may have deleted the cache"],
            details=result.stderr.strip(),
            hint="invoke doctor    (see the builder and gc checks)",
        )


def _remove(session: Session, mount: str) -> None:
    """Delete the cache mount that the proof created."""
    listed = run.capture(session.world, buildx.cache_records(session.root))
    for record in cache_records.read(listed):
        if record.mount_id == mount:
            gone: Command = buildx.remove_cache_record(session.root, record.id)
            run.capture(session.world, gone)
