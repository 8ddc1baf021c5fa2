"""Shares base images through the team's repository: machines with the same toolchain image can share caches.

Only images built from packages are shared. The others come from the same registry on every machine.
"""

from __future__ import annotations

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import units
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.project.discover import Project, discover
from buildkit_tasks.registry.remote import client

from . import fetch as image_fetch
from .bases import references
from .choice import decide, local
from .names import Decision


def push(session: Session, *, ref: str = "") -> None:
    """Push locally built base images. Problems: bad-argument, image-unavailable, command-failed."""
    project = discover(session, looking=True)
    place = client(session, ref).ref.name
    there = local(session, project.engine, [d.use for d in _offline(session, project)])
    going = [d for d in _offline(session, project) if d.use in there]
    if not going:
        raise Problem(
            "image-unavailable",
            "Nothing to push: no base image was built from packages on this machine.",
            hint="invoke images    (shows where each base image comes from)",
        )
    for image in going:
        remote = f"{place}:{image_fetch.tag(project.engine, image.use)}"
        session.report.say(f"pushing {image.use} as {remote}")
        image_fetch.push(session, image.use, remote)
    _answer(session, "pushed", [d.use for d in going])


def pull(session: Session, *, ref: str = "") -> None:
    """Pull the team's base images, to use instead of local ones. Problems: bad-argument, image-unavailable, …"""
    project = discover(session, looking=True)
    place = client(session, ref).ref.name
    wanted = _offline(session, project)
    taken = image_fetch.fetch(session, project.engine, wanted, place)
    if not taken:
        raise Problem(
            "image-unavailable",
            f"{place} has none of the base images that this machine would build from packages.",
            causes=[
                f"needed: {', '.join(d.use for d in wanted) or 'none, because all base images come from a registry'}"
            ],
            hint="invoke images.push    (on a machine that built base images)",
        )
    _answer(session, "pulled", taken)


def _offline(session: Session, project: Project) -> list[Decision]:
    """Return the project's base images that replace images no registry provides here, without duplicates."""
    decisions = decide(session, project.engine, references(project.workspace))
    return list({d.use: d for d in decisions.values() if d.source == "offline"}.values())


def _answer(session: Session, what: str, names: list[str]) -> None:
    if session.report.json_only:
        session.report.envelope({what: names})
    session.report.say(f"{what} {units.counted(len(names), 'base image')}")
