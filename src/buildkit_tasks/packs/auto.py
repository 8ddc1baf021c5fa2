"""Pulls a pack before a build with empty mounts, and pushes one after a CI build of the main branch.

This never fails a build: any error, including a bug in buildkit-tasks, is reported in one line, and the build
continues without a pack.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from buildkit_tasks.caches import mark as cache_mark
from buildkit_tasks.ci import context as ci_context
from buildkit_tasks.config.session import Session
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildPlan, BuildRequest
from buildkit_tasks.project.discover import Project
from buildkit_tasks.registry.names import printable

from . import carry
from . import pull as pack_pull
from . import push as pack_push
from .carry import Named
from .job import Trip, prepare
from .pack import Wanted

#: Maximum length of the line that describes an error.
_LINE = 400


def before(session: Session, project: Project, request: BuildRequest, plan: BuildPlan) -> bool:
    """Pull if nothing has been built here yet. A marker file avoids the registry query on a warm machine.

    Returns whether a pack was unpacked.
    """
    if session.settings.packs.pull == "never" or cache_mark.path(session, project, request).exists():
        return False
    pulled = False
    for place in request.platforms or ("",):
        pulled = _pull(session, project, request, plan, place) or pulled
        _carry(session, project, request, plan, place, carry.fetch_each, session.settings.packs.wait)
    return pulled


def _carry(
    session: Session,
    project: Project,
    request: BuildRequest,
    plan: BuildPlan,
    place: str,
    each: Callable[[Trip, Named], list[dict[str, Any]]],
    wait: float,
) -> None:
    """Pull or push the mounts of the packs.mounts setting."""
    if session.settings.packs.mounts:
        try:
            each(_trip(session, project, request, plan, place, wait), Named(session.settings.packs.mounts))
        except Exception as error:
            session.report.warn(f"cannot share the mounts {' '.join(session.settings.packs.mounts)}: {_reason(error)}")


def _pull(session: Session, project: Project, request: BuildRequest, plan: BuildPlan, place: str) -> bool:
    wait = session.settings.packs.wait
    return attempt(session, lambda: pack_pull.fetch(_trip(session, project, request, plan, place, wait)))


def attempt(session: Session, fetch: Callable[[], pack_pull.Pulled]) -> bool:
    """Pull without ever failing, and print the result in one line. Returns whether a pack was unpacked."""
    try:
        done = fetch()
    except Exception as error:
        why = _reason(error)
        session.report.warn(f"continuing without the shared cache: {why}")
        done = pack_pull.Pulled(None, False, 0, 0.0, (why,))
        if not session.report.json_only:
            return False
    if session.report.json_only:
        session.report.envelope({"pull": pack_pull.document(done)})
    elif done.unpacked and done.found:
        saved = done.found.said.get("compile_seconds")
        session.report.say(f"pulled the shared cache in {done.seconds:.1f} s (compiling it took {saved} s)")
    elif done.why_not:
        session.report.say(f"nothing pulled: {done.why_not[0]}")
    return done.unpacked


def after(session: Session, project: Project, request: BuildRequest, plan: BuildPlan) -> None:
    """Record that the mounts are filled. Push if the policy allows this machine to push automatically."""
    mark = cache_mark.path(session, project, request)
    mark.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    mark.touch()
    settings = session.settings
    if (
        not session.world.ci
        or not ci_context.allowed(session.world, settings.packs.push, settings.ci.default_branch)[0]
    ):
        return
    try:
        wait = session.settings.packs.timeout
        for place in request.platforms or ("",):
            pack_push.send(_trip(session, project, request, plan, place, wait))
    except Exception as error:
        session.report.warn(f"could not push to the shared cache: {_reason(error)}")
    for place in request.platforms or ("",):
        _carry(session, project, request, plan, place, carry.send_each, settings.packs.timeout)


def _reason(error: Exception) -> str:
    """Describe a shared cache error in one line. Re-raises errors that the user must handle."""
    if not isinstance(error, Problem):
        return printable(f"{type(error).__name__}: {error}", _LINE)
    if error.code in ("interrupted", "bad-argument", "settings-invalid"):
        raise error
    return printable("; ".join((error.message.rstrip("."), *error.causes[:1])), _LINE)


def _trip(session: Session, project: Project, request: BuildRequest, plan: BuildPlan, place: str, wait: float) -> Trip:
    wanted = Wanted(platform=place, profile=request.profile, progress=request.progress)
    return prepare(session, project, wanted, plan=plan, timeout=session.settings.packs.timeout, wait=wait)
