"""The repository that a team shares: which one, and how to talk to it."""

from __future__ import annotations

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.session import Session

from . import client as registry_client
from .client import Client


def client(session: Session, ref: str = "") -> Client:
    """For the repository named on the command line, else the setting's. Raises `Problem` bad-argument without one."""
    place = ref or session.settings.packs.repository
    if not place:
        raise Problem(
            "bad-argument",
            "No repository was named.",
            hint='--ref HOST/PATH, or repository = "HOST/PATH" under [tool.buildkit-tasks.packs]',
        )
    return Client(session.world, registry_client.reference(place), session.settings.build.ca_bundle)
