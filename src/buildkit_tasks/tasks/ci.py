"""CI tasks; the same commands reproduce the jobs locally."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from buildkit_tasks.config.session import Session

from .edge import reported, task

JSON = "print a single JSON document"
REPORT = "write summary.md, job.json and codequality.json to this directory"
FORCE = "push even if this run is not allowed to, using your own login"


def _known() -> Collection[str]:
    """Return the names of all tasks, to detect CI steps that call tasks missing from this version."""
    from . import namespace

    return namespace.task_names


@task(help={"json": JSON})
@reported
def context(session: Session, json: bool = False) -> None:
    """Show the CI system, the event, and whether and why this run is allowed to push."""
    from buildkit_tasks.ci import show

    show.context(session)


@task(
    help={
        "base": "compare with this branch, tag or commit (default: the base of the CI run, else the default branch)",
        "json": JSON,
    }
)
@reported
def changed(session: Session, base: str = "", json: bool = False) -> None:
    """List the services affected by a change, based on crates, lock files, Dockerfiles and build contexts."""
    from buildkit_tasks.ci import changed as flow

    flow.show(session, base)


@task(
    help={
        "changed": "build only the services that the change affects (default: all)",
        "report": REPORT,
        "json": JSON,
    }
)
@reported
def build(session: Session, changed: bool = False, report: str = "", json: bool = False) -> None:
    """CI job: build the images exactly as they ship; never pushes."""
    from buildkit_tasks.ci import jobs

    jobs.build(session, _known(), only_changed=changed, report=report)


@task(name="test", help={"report": REPORT, "json": JSON})
@reported
def run_tests(session: Session, report: str = "", json: bool = False) -> None:
    """CI job: run the workspace's tests."""
    from buildkit_tasks.ci import jobs

    jobs.run_tests(session, _known(), report=report)


@task(help={"report": REPORT, "json": JSON})
@reported
def lint(session: Session, report: str = "", json: bool = False) -> None:
    """CI job: check Dockerfiles, formatting and code; runs all checks before failing."""
    from buildkit_tasks.ci import jobs

    jobs.lint(session, _known(), report=report)


@task(
    iterable=["platform"],
    help={
        "platform": "platform, for example arm64; repeatable (default: the ci.platforms setting)",
        "report": REPORT,
        "json": JSON,
    },
)
@reported
def multiarch(session: Session, platform: Sequence[str] | None = None, report: str = "", json: bool = False) -> None:
    """CI job: build, inspect and start the images for every platform."""
    from buildkit_tasks.ci import jobs

    jobs.multiarch(session, _known(), platform or (), report=report)


@task(help={"force": FORCE, "report": REPORT, "json": JSON})
@reported
def push(session: Session, force: bool = False, report: str = "", json: bool = False) -> None:
    """CI job: push images (ci.images) and packs (packs.repository); only on the default branch."""
    from buildkit_tasks.ci import jobs

    jobs.push(session, _known(), force=force, report=report)


@task(help={"force": FORCE, "report": REPORT, "json": JSON})
@reported
def nightly(session: Session, force: bool = False, report: str = "", json: bool = False) -> None:
    """CI job: compile the dependencies from scratch, push the pack, delete old packs; only on the default branch."""
    from buildkit_tasks.ci import jobs

    jobs.nightly(session, _known(), force=force, report=report)


@task(
    help={
        "provider": "github, gitlab or jenkins",
        "file": "write to this file (default: .github/workflows/buildkit-tasks.yml, .gitlab-ci.yml or Jenkinsfile)",
        "dry_run": "print the diff without writing anything",
        "yes": "write without asking",
        "json": JSON,
    }
)
@reported
def init(
    session: Session, provider: str = "", file: str = "", dry_run: bool = False, yes: bool = False, json: bool = False
) -> None:
    """Write a CI workflow with jobs that call these tasks. Shows a diff first; never overwrites edited files."""
    from buildkit_tasks.ci import init as flow

    flow.init(session, provider, file=file, dry_run=dry_run)
