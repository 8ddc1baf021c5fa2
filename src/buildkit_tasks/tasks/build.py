"""Tasks that build."""

from __future__ import annotations

from collections.abc import Sequence

from invoke.tasks import task

from buildkit_tasks.core.session import Session

from .edge import told

SERVICE = "service to build, repeatable or a comma list; none = all"


@task(
    iterable=["service", "platform"],
    help={
        "service": SERVICE,
        "platform": "platform, as linux/arm64, repeatable or a comma list; cross-compiled (default: the engine's own)",
        "push": "send the images to this registry and path, as HOST/PATH",
        "oci": "write OCI archives, SERVICE.tar, into this directory",
        "builder": "buildx builder to build on (default: the setting builders.name, else the one that docker uses)",
        "allow_emulation": "run cargo under QEMU where the Dockerfile cannot cross-compile",
        "profile": "cargo profile (default: the setting `profile`)",
        "no_incremental": "compile without incremental objects, as for an image that ships",
        "no_cache": "run every step again; the cache mounts are spared",
        "plan": "print what would be done and stop",
        "yes": "answer every question with yes (installing what makes base images, where no registry has them)",
        "json": "print one JSON document on stdout and nothing else",
        "progress": "auto, plain, verbose (every line of every step) or quiet",
    },
)
@told
def build(
    session: Session,
    service: Sequence[str] | None = None,
    platform: Sequence[str] | None = None,
    profile: str = "",
    push: str = "",
    oci: str = "",
    builder: str = "",
    allow_emulation: bool = False,
    no_incremental: bool = False,
    no_cache: bool = False,
    plan: bool = False,
    yes: bool = False,
    json: bool = False,
    progress: str = "auto",
) -> None:
    """Build the images of the services: one cargo run for all of them."""
    from buildkit_tasks.core.model import BuildRequest
    from buildkit_tasks.dockerfiles.platforms import named
    from buildkit_tasks.pipeline import build as flow

    request = BuildRequest(
        services=tuple(service or ()),
        profile=profile,
        incremental=False if no_incremental else None,
        no_cache=no_cache,
        progress=progress,
        platforms=named(platform or ()),
        allow_emulation=allow_emulation,
        push=push,
        oci=oci,
    )
    if builder:
        session.flags["builders.name"] = builder
    if plan:
        flow.show_plan(session, request)
    else:
        flow.tell(session, flow.build(session, request))


@task(
    help={
        "quick": "the four classic cases (the only benchmark there is yet)",
        "rounds": "how often each edit is timed",
        "markdown": "print a table for a README",
        "json": "print one JSON document with every sample",
    }
)
@told
def bench(session: Session, quick: bool = False, rounds: int = 3, markdown: bool = False, json: bool = False) -> None:
    """Measure ours against the classic Dockerfile, side by side on a scratch copy; about 25 minutes for the sample."""
    from buildkit_tasks.bench import run as flow

    flow.quick(session, rounds=rounds, markdown=markdown)


@task(iterable=["service"], help={"service": "service to look at, repeatable or a comma list", "json": "one document"})
@told
def verify(session: Session, service: Sequence[str] | None = None, json: bool = False) -> None:
    """Say whether images and running containers correspond to the tree on the disk, and what differs."""
    from buildkit_tasks.stack import verify as flow

    flow.verify(session, service or ())
