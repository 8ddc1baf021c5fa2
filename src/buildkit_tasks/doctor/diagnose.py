"""Runs doctor: gathers facts in parallel, evaluates the checks, prints them or applies fixes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from buildkit_tasks import doctor
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run, units
from buildkit_tasks.core.errors import EXIT_CODES, Problem
from buildkit_tasks.dockercli import buildx, docker

from . import Check, Facts
from . import host as doctor_host
from . import project as doctor_project

_SIGNS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL", "unknown": "?   "}

#: The fixes that `--fix` can apply, and the question it asks before each one.
FIXES: dict[str, str] = {
    "engine.install": "install a Docker engine with buildx and compose",
    "engine.start": "start the Docker engine",
    "context": "switch docker to its default context",
    "builder": "switch buildx to the engine's own builder",
    "dotenv": "create or complete .env (existing values are kept)",
    "dotenv-mode": "make .env readable only by you",
    "enable": "add the line that enables BuildKit to your shell's startup file",
    "completion": "update the shell completion",
    "images": "build base images from Debian packages",
}


def gather(session: Session) -> Facts:
    """Gather all facts. The queries run in parallel, so this takes as long as the slowest one (under 3 s)."""
    questions: list[Callable[[Session], dict[str, Any]]] = [
        *doctor_host.QUESTIONS,
        *(doctor_project.QUESTIONS if _inside(session) else ()),
    ]
    found: dict[str, Any] = {"compose_read": False}
    with ThreadPoolExecutor(len(questions)) as pool:
        for answer in [pool.submit(q, session) for q in questions]:
            found.update(answer.result())
    facts = Facts(**found)
    if facts.podman_cli:  # podman would answer these queries; a separate check reports it
        facts = replace(facts, engine=None, silent=None, builder=None, compose_read=False, compose_error=None)
    if facts.engine and facts.engine.root_dir:
        facts = replace(facts, **doctor_host.disk(Path(facts.engine.root_dir)))
    return facts


def _inside(session: Session) -> bool:
    try:
        _ = session.root
    except Problem:
        return False
    return True


def run_doctor(
    session: Session,
    *,
    fix: bool,
    verify: bool,
    more: Callable[[Session], Sequence[Check]] = lambda _: (),
    measure: Callable[[Session], None] = lambda _: None,
) -> int:
    """Run the checks, apply fixes if asked, print the results. Returns the exit code: 0, or that of unhealthy-setup.

    `more`: returns the checks of packages that this package does not import; `measure`: prints build times.
    """
    began = session.world.clock()
    checks = _examined(session, more)
    if fix and apply_fixes(session, checks):
        session = Session(session.world, session.report, session.flags)  # drop all cached facts
        checks = _examined(session, more)
    proof: dict[str, Any] = {}
    if verify:
        from .proof import prove

        if any(c.state == "fail" for c in checks):
            session.report.say("skipped verification: fix the failures first")
        else:
            proof = prove(session, measure)
    if session.report.json_only:
        session.report.envelope(
            {
                "checks": [asdict(c) for c in checks],
                "verified": proof,
                "seconds": round(session.world.clock() - began, 2),
            }
        )
    else:
        print_checks(session, checks, session.world.clock() - began)
    return EXIT_CODES["unhealthy-setup"] if any(c.state == "fail" for c in checks) else 0


def _examined(session: Session, more: Callable[[Session], Sequence[Check]]) -> tuple[Check, ...]:
    with ThreadPoolExecutor(1) as pool:
        others = pool.submit(more, session)
        checks = (*doctor.examine(gather(session), doctor.RULES), *others.result())
    return tuple(replace(c, remedy=typed(session, c.remedy)) for c in checks)


def typed(session: Session, text: str) -> str:
    """Return a fix as the user must type it: in a checkout with its own .venv, `invoke` becomes `./dev invoke`."""
    root = session.root if _inside(session) else None
    if not root or not (root / "dev").is_file() or session.world.env.get("VIRTUAL_ENV") != str(root / ".venv"):
        return text
    dev = "./dev" if session.world.cwd == root else str(root / "dev")
    return re.sub(r"(?<![\w/.-])invoke (?=[a-z])", f"{dev} invoke ", text)


def print_checks(session: Session, checks: Sequence[Check], seconds: float) -> None:
    """Print one line per check; for failures and warnings, also why the check matters and how to fix it."""
    width = max(len(c.name) for c in checks)
    lines = []
    for check in checks:
        lines.append(f"{_SIGNS[check.state]}  {check.name.ljust(width)}  {check.found}")
        if check.fires:
            indent = " " * (width + 8)
            lines += [f"{indent}expected: {check.wanted}", f"{indent}why:      {check.why}"]
            lines.append(f"{indent}fix:      {check.remedy}")
    count = {state: sum(c.state == state for c in checks) for state in _SIGNS}
    lines.append(
        f"{len(checks)} checks in {seconds:.1f} s: {count['ok']} ok, "
        f"{units.counted(count['warn'], 'warning')}, {units.counted(count['fail'], 'failure')}"
        + (f", {count['unknown']} unknown" if count["unknown"] else "")
    )
    if any(c.fix and c.fires for c in checks):
        lines.append(typed(session, "invoke doctor --fix") + " applies the safe fixes, asking before each one")
    session.report.answer("\n".join(lines))


def apply_fixes(session: Session, checks: Sequence[Check]) -> bool:
    """Apply each safe fix once, with consent; return True if any succeeded. A failed fix does not stop the others."""
    done = False
    for fix in dict.fromkeys(c.fix for c in checks if c.fires and c.fix):
        names = ", ".join(c.name for c in checks if c.fix == fix and c.fires)
        if not session.report.consent(f"{names}: {FIXES[fix]}"):
            continue
        try:
            apply(session, fix)
            done = True
        except Problem as problem:
            session.report.problem(problem)
    return done


def apply(session: Session, fix: str) -> None:
    """Apply one fix. If a flow asks for consent again, `--yes` or the user's first answer counts."""
    from buildkit_tasks.engine import ensure as engine_ensure
    from buildkit_tasks.images import bases as base_images
    from buildkit_tasks.project import discover, dotenv
    from buildkit_tasks.shells import completion as completion_flow
    from buildkit_tasks.shells import enable

    home = session.world.home
    if fix == "engine.install":
        engine_ensure.install(session)
    elif fix == "engine.start":
        engine_ensure.start(session)
    elif fix == "context":
        run.check(session.world, docker.context_use(home, "default"))
    elif fix == "builder":
        run.check(session.world, buildx.builder_use(home, "default"))
    elif fix == "dotenv":
        dotenv.ensure(session)
    elif fix == "dotenv-mode":
        session.dotenv_file.chmod(0o600)
    elif fix == "enable":
        enable.enable(session, "", dry_run=False, undo=False)
    elif fix == "completion":
        completion_flow.install(session, "")
    elif fix == "images":
        found = discover.discover(session)
        base_images.ensure(session, found.engine, base_images.references(found.workspace), check=True)
