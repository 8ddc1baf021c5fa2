"""Checks whether an image and its running container match the sources on disk, and lists the differences."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from buildkit_tasks.builds import compile_groups, manifest
from buildkit_tasks.builds.manifest import Difference
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildRequest, Service
from buildkit_tasks.dockercli import docker, docker_run
from buildkit_tasks.images import choice as image_choice
from buildkit_tasks.images import container as image_container
from buildkit_tasks.project import compose, sources
from buildkit_tasks.project.discover import discover

from . import running as running_now

#: What is wrong with an image, by its state.
_WRONG = {
    "Built from different sources": ("differs",),
    "Not built yet": ("no-image",),
    "Not built by this Dockerfile": ("no-manifest",),
}

#: Maximum number of differences listed per service; the rest are only counted.
NAMED = 8


@dataclass(frozen=True)
class Verdict:
    """The result for one service.

    `state`: same, differs, no-image, no-manifest or other; `running`: same, old or not.
    """

    service: str
    state: str
    running: str
    differences: tuple[Difference, ...] = field(default_factory=tuple)
    words: str = ""


def verify(session: Session, services: Sequence[str]) -> None:
    """Compare and report. Raises `Problem` verify-failed if an image or container does not match the sources."""
    project = discover(session, named=services)
    chosen = compose.select(project.workspace, services)
    containers = running_now.listed(session, project.workspace.project)
    running = {c.service: c.id for c in containers if c.state == "running"}
    platform = f"{project.engine.os}/{project.engine.arch}"
    with ThreadPoolExecutor() as pool:
        verdicts = list(pool.map(lambda s: _of(session, s, running.get(s.name, ""), platform), chosen))
    if session.report.json_only:
        session.report.envelope({"services": [_json(v) for v in verdicts]})
    else:
        session.report.table(
            ("service", "image", "running", "what differs"),
            [(v.service, v.state, v.running, _details(v)) for v in verdicts],
        )
    wrong = [
        f"{words}: {', '.join(names)}"
        for words, states in _WRONG.items()
        if (names := [v.service for v in verdicts if v.state in states])
    ]
    old = [v.service for v in verdicts if v.running == "old" and v.state in ("same", "other")]
    wrong += [f"Running an older image: {', '.join(old)}"] if old else []
    if wrong:
        raise Problem("verify-failed", ". ".join(wrong) + ".", hint="invoke up    (builds what changed and starts it)")


def _copied(session: Session, image: str, platform: str) -> str:
    """Return the manifest of an image without `cat`, or whose containers do not start; empty if it has none."""
    with image_container.created(session, "buildkit-tasks-verify", image, platform, "/verify") as (container, made):
        return image_container.text(session, container, manifest.PATH) if made.code == 0 else ""


def _of(session: Session, service: Service, container: str, platform: str) -> Verdict:
    if not sources.compiles(service):
        return Verdict(
            service.name, "other", "-", (), "not checked, because the Dockerfile does not compile in a cache mount"
        )
    read = run.capture(session.world, docker_run.read_manifest(session.root, service.image))
    image = next(iter(image_choice.ids(session, [service.image]).values()), "")
    current = (
        run.capture(session.world, docker.container_image(session.root, container)).stdout.strip() if container else ""
    )
    running = "not" if not container else "same" if current == image else "old"
    text = read.stdout if read.code == 0 else _copied(session, service.image, platform) if image else ""
    if not text:
        state = "no-manifest" if image else "no-image"
        words = "not built by this Dockerfile" if image else f"invoke build --service {service.name}"
        return Verdict(service.name, state, running, (), words)
    try:
        made = manifest.parse(text)
    except ValueError as error:
        return Verdict(service.name, "no-manifest", running, (), str(error))
    profile = compile_groups.profile(session.settings, BuildRequest(), service)
    prepared = sources.prepared(service)
    found = manifest.compare(
        made,
        service.context,
        service.dockerfile,
        profile=profile,
        generated=sources.generated(service),
        prepared=prepared,
        moved=sources.moved(service),
    )
    words = (
        f"{made.binary} from {made.crate}, {made.profile}, {'incremental' if made.incremental else 'not incremental'}"
    )
    if prepared:
        words += "; files that are missing from the repository are ignored, because commands may generate them"
    return Verdict(service.name, "differs" if found else "same", running, found, words)


def _details(verdict: Verdict) -> str:
    if not verdict.differences:
        return verdict.words
    named = "; ".join(str(d) for d in verdict.differences[:NAMED])
    more = len(verdict.differences) - NAMED
    return named + (f"; and {more} more" if more > 0 else "")


def _json(verdict: Verdict) -> dict[str, object]:
    found = [{"kind": d.kind, "name": d.name, "image": d.image, "tree": d.tree} for d in verdict.differences]
    return {
        "service": verdict.service,
        "image": verdict.state,
        "running": verdict.running,
        "differences": found,
        "note": verdict.words,
    }
