"""Marker files, one per builder, profile and set of mounts. Once a build has used the mounts, no pack is pulled."""

from __future__ import annotations

import hashlib
from pathlib import Path

from buildkit_tasks.builders import choice as builder_choice
from buildkit_tasks.config.session import Session
from buildkit_tasks.core.model import BuildRequest
from buildkit_tasks.project.discover import Project


def path(session: Session, project: Project, request: BuildRequest) -> Path:
    """Return the marker file for the mounts that a request would fill."""
    settings = session.settings
    profile = request.profile or settings.build.profile
    where = (project.engine.id, builder_choice.named(session))
    parts = (*where, settings.caches.namespace, profile, settings.packs.repository, *request.platforms)
    return _folder(session) / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def forget(session: Session) -> None:
    """Remove the markers after clearing mounts, so the next build checks the mounts again."""
    for mark in _folder(session).glob("*"):
        mark.unlink(missing_ok=True)


def _folder(session: Session) -> Path:
    return session.state / "warm"
