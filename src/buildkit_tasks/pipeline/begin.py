"""Start a build: query docker and compose while Python imports the rest of the pipeline (about 80 ms)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from buildkit_tasks.config.session import Session
from buildkit_tasks.core.model import BuildOutcome, BuildRequest
from buildkit_tasks.project.discover import discover
from buildkit_tasks.unchanged.inputs import Attempt


def build(session: Session, request: BuildRequest, attempt: Attempt | None = None) -> BuildOutcome:
    """Build what was requested. Problems: any from discovery and planning; compile-failed, build-failed, disk-full.

    With an `attempt`, the next build can prove that nothing changed since this one.
    """
    with ThreadPoolExecutor(1) as pool:
        project = pool.submit(discover, session, lesser=True, named=request.services)
        from . import build as pipeline  # meanwhile

        return pipeline.build_project(session, project.result(), request, attempt)
