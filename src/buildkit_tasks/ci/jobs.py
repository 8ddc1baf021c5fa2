"""The CI jobs: their steps, services and platforms, and which runs may push."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from buildkit_tasks.buildlog.remarks import Remark, clean
from buildkit_tasks.config.session import Session
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.lint import project as lint_project
from buildkit_tasks.platforms.names import named

from . import changed, steps
from .job import Job
from .steps import Step


def build(session: Session, known: Collection[str], *, only_changed: bool = False, report: str = "") -> None:
    """Build all images, or only those affected by the change. Problems: ci-failed."""
    job = Job(session, "ci.build", known, report)
    services = _services(session) if only_changed else None
    if services == ():
        session.report.say("ci.build: the change does not affect any service")
        return
    job.run([*_ready(session), *steps.build(services or ())])
    job.finish()


def run_tests(session: Session, known: Collection[str], *, report: str = "") -> None:
    """Run the tests. Problems: ci-failed, ci-nothing-ran."""
    job = Job(session, "ci.test", known, report)
    job.run([*_ready(session), *steps.test()])
    job.finish()


def lint(session: Session, known: Collection[str], *, report: str = "") -> None:
    """Check formatting, code and Dockerfiles, without stopping at the first failure. Problems: ci-failed."""
    job = Job(session, "ci.lint", known, report)
    job.here(Step("Dockerfiles", ("lint",)), lambda: _dockerfiles(job))
    job.run(steps.lint(), keep_going=True)
    job.finish()


def multiarch(session: Session, known: Collection[str], platforms: Sequence[str] = (), *, report: str = "") -> None:
    """Build, inspect and start the images of each platform. Problems: ci-failed."""
    job = Job(session, "ci.multiarch", known, report)
    job.run([*_ready(session), *steps.multiarch(_platforms(session, platforms))])
    job.finish()


def push(session: Session, known: Collection[str], *, force: bool = False, report: str = "") -> None:
    """Push images and packs. Problems: push-refused, settings-invalid, ci-failed."""
    job = _writer(session, "ci.push", known, force=force, report=report)
    if not session.settings.ci.images and not session.settings.packs.repository:
        raise Problem(
            "settings-invalid",
            "No push destination is configured.",
            hint="set ci.images (for images) or packs.repository (for compiled dependencies)",
        )
    job.run([*_ready(session), *steps.push(session.settings, _platforms(session))])
    job.finish()


def nightly(session: Session, known: Collection[str], *, force: bool = False, report: str = "") -> None:
    """Rebuild the shared cache from scratch and delete old packs.

    Problems: push-refused, settings-invalid, ci-failed.
    """
    job = _writer(session, "ci.nightly", known, force=force, report=report)
    if not session.settings.packs.repository:
        raise Problem(
            "settings-invalid",
            "No shared cache is configured.",
            hint='set repository = "HOST/PATH" under [tool.buildkit-tasks.packs]',
        )
    job.run([*_ready(session), *steps.nightly(session.settings, _platforms(session))])
    job.finish()


def _writer(session: Session, name: str, known: Collection[str], *, force: bool, report: str) -> Job:
    job = Job(session, name, known, report)
    if not job.context.may_push and not force:
        raise Problem(
            "push-refused",
            f"This run may not push: {job.context.why_not}.",
            causes=[f"provider {job.context.provider}, event {job.context.raw_event or job.context.event}"],
            hint="run `invoke ci.context` to see why, or pass --force to push anyway, with your own credentials",
        )
    return job


def _ready(session: Session) -> list[Step]:
    """Return the steps that a fresh checkout needs first."""
    path = session.dotenv_file
    missing = path.with_name(".env.example").is_file() and not path.exists()
    return [steps.DOTENV] if missing else []


def _services(session: Session) -> tuple[str, ...] | None:
    """Return the services that the change affects; None for all, also if there is no base to compare with."""
    try:
        found = changed.find(session)
    except Problem as problem:
        if problem.code != "base-missing":
            raise
        session.report.warn(f"building all services: {problem.message}")
        return None
    return None if set(found.services) == set(found.every) else tuple(found.services)


def _platforms(session: Session, given: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the platforms without `linux/`. Raises `Problem` bad-argument for an invalid platform."""
    return tuple(p.removeprefix("linux/") for p in named(tuple(given or session.settings.ci.platforms)))


def _dockerfiles(job: Job) -> bool:
    linted = lint_project.lint(job.session)
    if not job.session.report.json_only:
        lint_project.print_result(job.session, linted)
    for finding in linted.failing:
        severity = "error" if finding.severity == "error" else "warning"
        job.outcome.noted.append(Remark(severity, clean(finding.message), finding.file, finding.line, 0, finding.code))
    return not linted.failing
