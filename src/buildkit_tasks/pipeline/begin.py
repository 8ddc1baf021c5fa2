"""Start a build: query docker and compose while Python imports the rest of the pipeline (about 80 ms)."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from buildkit_tasks.config.session import Session
from buildkit_tasks.core.model import BuildOutcome, BuildRequest
from buildkit_tasks.project.discover import discover
from buildkit_tasks.unchanged.inputs import Attempt, ask_ahead


def build(session: Session, request: BuildRequest, attempt: Attempt | None = None) -> BuildOutcome:
    """Build what was requested. Problems: any from discovery and planning; compile-failed, build-failed, disk-full.

    With an `attempt`, the next build can prove that nothing changed since this one.
    """
    _ = session.compose_files  # loads the settings, which takes three times as long beside the imports
    with ThreadPoolExecutor(2) as pool:
        usual = sys.getswitchinterval()
        sys.setswitchinterval(0.0005)  # the imports must not delay the thread that starts compose
        project = pool.submit(discover, session, lesser=True, named=request.services)
        from . import build as pipeline  # meanwhile

        sys.setswitchinterval(usual)
        if attempt:
            attempt = replace(attempt, ahead=pool.submit(ask_ahead, session, attempt))
        return pipeline.build_project(session, project.result(), request, attempt)
