"""Build a discovered project: plan, run one bake solve, report."""

from __future__ import annotations

from buildkit_tasks.builders import choice as builder_choice
from buildkit_tasks.buildlog import view as build_view
from buildkit_tasks.builds import plan_words
from buildkit_tasks.builds.building import execute
from buildkit_tasks.builds.prepare import plan_build
from buildkit_tasks.config.session import Session
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildOutcome, BuildPlan, BuildRequest
from buildkit_tasks.history.recorder import Recorder
from buildkit_tasks.images import bases as base_images
from buildkit_tasks.legacy import fallback
from buildkit_tasks.project.discover import Project, discover, files_found
from buildkit_tasks.unchanged.inputs import Attempt
from buildkit_tasks.unchanged.keep import Watch

from . import spread


def build_project(
    session: Session, project: Project, request: BuildRequest, attempt: Attempt | None = None
) -> BuildOutcome:
    """Build on the builder or builders for the requested platforms.

    With an `attempt`, the next build can prove that nothing changed since this one. Problems: any from planning;
    compile-failed, build-failed, disk-full.
    """
    groups = builder_choice.for_platforms(session, request.platforms)
    if len(groups) > 1:
        return spread.build(session, project, request, groups, build_here)
    for name in filter(None, groups):
        session.use_builder(name)
    return build_here(session, project, request, attempt)


def build_here(
    session: Session, project: Project, request: BuildRequest, attempt: Attempt | None = None
) -> BuildOutcome:
    """Build on the session's builder: pull and push packs before and after, then apply the cache budget.

    If a node goes down, retry once without it.
    """
    plan = plan_build(session, project, request)
    try:
        return _build(session, project, request, plan, attempt)
    except Problem as problem:
        again = plan.builder and builder_choice.after_failure(session, project.engine, plan.builder, request, problem)
        if not again:
            raise
    return _build(session, project, request, plan_build(session, project, request))


def _build(
    session: Session, project: Project, request: BuildRequest, plan: BuildPlan, attempt: Attempt | None = None
) -> BuildOutcome:
    shared = session.settings.packs.repository and plan.groups
    pulled = False
    if shared:
        from buildkit_tasks.packs import auto as pack_auto  # late: TLS alone takes 50 ms to import

        pulled = pack_auto.before(session, project, request, plan)
    watch = Watch(session, project, plan, attempt) if attempt else None
    recorder = Recorder(session, project, plan, request, pulled=pulled)

    def started() -> None:  # bake takes a third of a second to start, long enough to read the context
        recorder.start()
        if watch:
            watch.start()

    try:
        outcome = execute(session, project, plan, request.progress, recorder.progress, started)
    except Problem as problem:
        recorder.failed(problem.code)
        raise
    outcome = recorder.built(outcome)
    if watch:
        watch.keep(outcome)
        if watch.unknown and request.progress == "verbose":
            session.report.say(f"the next build cannot skip BuildKit: {watch.unknown}")
    if shared:
        pack_auto.after(session, project, request, plan)
    if session.settings.caches.budget:
        from buildkit_tasks.caches import trim as cache_trim

        cache_trim.after_build(session, project)
    return outcome


def show_summary(session: Session, outcome: BuildOutcome) -> None:
    """Print the summary of a build that is one step of a larger flow."""
    build_view.summary(session.report, outcome)


def show_plan(session: Session, request: BuildRequest) -> None:
    """Print the plan. This only runs queries; nothing is created or changed.

    If a build would fail with image-unavailable, raise that `Problem` after printing the plan.
    """
    project = discover(session, lesser=True, named=request.services)
    missing: list[Problem] = []
    plan = plan_build(session, project, request, look_only=True, missing=missing)
    override = base_images.override(session, project.engine, project.workspace)
    files = [*files_found(session), *([override] if override else [])]
    chosen = fallback.tier(session, project.engine)
    content = {
        **plan_words.describe(plan, session.masked),
        "compose_files": [str(f) for f in files],
        "tier": chosen.name,
    }
    if session.report.json_only:
        session.report.envelope({"plan": content})
    else:
        reasons = {**plan.reasons, "tier": chosen.reason}
        session.report.table(("what", "value"), plan_words.rows(content, reasons))
    if missing:
        raise missing[0]
