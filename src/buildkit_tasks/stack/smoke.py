"""Smoke test of a running stack: wait until it is healthy, call URLs, then run the project's own program."""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import Sequence

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run, units
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command, Port, Result
from buildkit_tasks.project.discover import Project, discover

from . import checks, stack, wait
from .checks import Check

#: Seconds to wait for a service without a health check to accept connections, and seconds between attempts.
PATIENCE, TRY_EVERY = 20.0, 0.25


def configured(session: Session) -> bool:
    """Return whether the project configures a smoke test."""
    return bool(session.settings.stack.smoke or session.settings.stack.smoke_command)


def smoke(session: Session) -> None:
    """Run the smoke test. Problems: smoke-failed, not-running, unhealthy; bad-argument if there is no smoke test."""
    if not configured(session):
        raise Problem(
            "bad-argument",
            "This project has no smoke test.",
            hint='set smoke = ["api /health status=ok"] or smoke_command under [tool.buildkit-tasks.stack]',
        )
    listed = [checks.parse(text) for text in session.settings.stack.smoke]
    project = discover(session, lesser=True)
    published = (*project.workspace.ports, *_healthy(session, project))
    began = session.world.clock()
    for check in listed:
        _ask(session, published, check)
    if session.settings.stack.smoke_command:
        _command(session, published)
    seconds = round(session.world.clock() - began, 3)
    if session.report.json_only:
        session.report.envelope({"checks": len(listed), "seconds": seconds})
    elif listed:
        session.report.say(f"  {units.counted(len(listed), 'check')} passed in {seconds * 1000:.0f} ms")


def _healthy(session: Session, project: Project) -> list[Port]:
    """Wait for services that are still starting; return the ports of the running containers.

    They include the ports that the compose file leaves to the engine: ranges and random ports.
    Problems: not-running, unhealthy.
    """
    files = stack.files_in_force(session, project)
    found = stack.containers(session, files)
    running = {c["Service"] for c in found if c.get("State") == "running"}
    if not running:
        raise Problem("not-running", "The stack is not running.", hint="invoke up")
    if not all(c.get("Health") in ("", None, "healthy") for c in found if c["Service"] in running):
        nothing = Command(("true",), session.root)
        limit = session.settings.stack.health_timeout
        wanted = wait.Wanted(project.workspace.project, running, limit)
        wait.until_ready(session, wanted, files, lambda: Result(nothing, 0, "", "", 0.0))
    return [
        Port(c["Service"], p.get("URL") or "0.0.0.0", p["PublishedPort"], p["TargetPort"], p.get("Protocol") or "tcp")  # noqa: S104
        for c in found
        for p in c.get("Publishers") or ()
        if p.get("PublishedPort") and p.get("TargetPort")
    ]


def _ask(session: Session, published: Sequence[Port], check: Check) -> None:
    where = checks.address(check, published)
    began = session.world.clock()
    while True:
        try:
            why = checks.wrong(check, *checks.ask(where, check))
            break
        except ConnectionError as error:
            why = f"does not respond: {error}"
            if session.world.clock() - began > PATIENCE:
                break
            time.sleep(TRY_EVERY)
        except (OSError, http.client.HTTPException) as error:
            why = f"does not respond: {type(error).__name__}: {error}"
            break
    if why:
        raise Problem(
            "smoke-failed",
            f"{check.method} {check.path} on {check.service}: {why}.",
            hint=f"invoke logs --service {check.service} --since 5m",
        )
    session.report.say(f"  {check.service} {check.method} {check.path} ok")


def _command(session: Session, published: Sequence[Port]) -> None:
    """Run the project's own test program, with a variable NAME_URL for each service that publishes a port."""
    urls: dict[str, str] = {}
    for port in published:
        if port.protocol == "tcp":
            name = re.sub(r"[^A-Z0-9]", "_", port.service.upper())
            host, number = checks.here(port)
            urls.setdefault(f"{name}_URL", f"http://{host}:{number}")
    words = session.settings.stack.smoke_command
    result = run.capture(session.world, Command(tuple(words), session.root, tuple(urls.items())))
    for line in session.masked(result.stderr).splitlines() if result.code == 0 else ():
        session.report.say(line)
    if result.code != 0:
        raise Problem(
            "smoke-failed",
            f"{' '.join(words)} exited with code {result.code}.",
            causes=[session.masked((result.stderr.strip() or result.stdout.strip())[-1000:])],
            hint="invoke ps; invoke logs --since 5m",
        )
