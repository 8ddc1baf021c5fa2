"""Tasks for development: the stack in the foreground, and rebuilding on save."""

from __future__ import annotations

from collections.abc import Sequence

from buildkit_tasks.config.session import Session

from .edge import reported, task

SERVICE = "service to watch, for example api,worker or 'worker-*'; repeatable (default: all)"
OVERLAY = "additional compose file, merged over the others, for example compose.dev.yaml; repeatable"
PROGRESS = "auto, plain, verbose or quiet"


@task(iterable=["service", "overlay"], help={"service": SERVICE, "overlay": OVERLAY, "progress": PROGRESS})
@reported
def watch(
    session: Session,
    service: Sequence[str] | None = None,
    overlay: Sequence[str] | None = None,
    progress: str = "auto",
) -> None:
    """Start the stack, then rebuild and replace what changed on every save, until Ctrl-C."""
    from buildkit_tasks.stack import stack
    from buildkit_tasks.watch import loop

    stack.with_overlay(session, overlay or ())
    loop.watch(session, service or (), progress=progress)


@task(
    iterable=["service", "overlay"],
    help={
        "service": "service to start, for example api,worker or 'worker-*'; repeatable (default: all)",
        "watch": "on every save, also rebuild and replace what changed",
        "no_build": "start existing images without building",
        "overlay": OVERLAY,
        "progress": PROGRESS,
    },
)
@reported
def dev(
    session: Session,
    service: Sequence[str] | None = None,
    watch: bool = False,
    no_build: bool = False,
    overlay: Sequence[str] | None = None,
    progress: str = "auto",
) -> None:
    """Build and start the stack, and follow its logs; Ctrl-C stops what was started and keeps the volumes."""
    from buildkit_tasks.stack import stack
    from buildkit_tasks.watch import dev as flow

    stack.with_overlay(session, overlay or ())
    flow.dev(session, service or (), with_build=not no_build, watching=watch, progress=progress)
