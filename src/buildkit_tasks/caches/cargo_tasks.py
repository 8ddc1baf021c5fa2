"""The volumes (objects and downloads) and toolchain images that cargo tasks keep in the engine."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run, shapes, units
from buildkit_tasks.dockercli import docker, docker_run

#: The label of every container and volume of these tasks; its value is the project's scope.
LABEL = "buildkit-tasks.cargo"

#: The word that selects all volumes in `cache.clear`. Two of their names could be confused with mounts.
VOLUMES = "volumes"

#: Seconds to wait for sizes in a view: the engine measures the volumes of all projects.
SIZES_TIMEOUT = 1.0


@dataclass(frozen=True)
class Volume:
    """A volume of a project. `size` in bytes and `used` (by a container): None if the engine did not answer in time."""

    name: str
    size: int | None = None
    used: bool | None = None


def volume(scope: str, kind: str) -> str:
    """Return the name of a project's volume of one kind: `target`, `registry`, `git` or `tools`."""
    plain = re.sub(r"[^A-Za-z0-9_.-]", "-", scope)
    if plain != scope or not re.match(r"[A-Za-z0-9]", plain):
        plain = f"p{plain}-{hashlib.sha256(scope.encode()).hexdigest()[:8]}"
    return f"{plain}-cargo-{kind}"


def repository(scope: str) -> str:
    """Return the name of a project's toolchain image, without tag."""
    plain = re.sub(r"[^a-z0-9]+", "-", scope.lower()).strip("-")
    name = plain if plain == scope else f"{plain or 'p'}-{hashlib.sha256(scope.encode()).hexdigest()[:8]}"
    return f"localhost/buildkit-tasks-cargo/{name}"


def names(session: Session, scope: str) -> list[str]:
    """Return the names of a project's volumes. Problems: command-failed."""
    return run.check(session.world, docker_run.volumes(session.root, f"{LABEL}={scope}")).stdout.split()


def measured(session: Session, found: Sequence[str], *, timeout: float | None = None) -> tuple[Volume, ...]:
    """Return the volumes, with the sizes that the engine reports in time."""
    if not found:
        return ()
    answer = run.capture(session.world, docker_run.volume_sizes(session.root), timeout=timeout)
    rows: dict[str, dict[str, object]] = {}
    with contextlib.suppress(ValueError):
        rows = {str(row.get("Name")): row for row in shapes.loads(answer.stdout, list) if isinstance(row, dict)}
    return tuple(_volume(name, rows.get(name, {})) for name in found)


def _volume(name: str, row: dict[str, object]) -> Volume:
    size, links = str(row.get("Size", "")), str(row.get("Links", ""))
    return Volume(name, units.size(size) if size[:1].isdigit() else None, links != "0" if links.isdecimal() else None)


def images(session: Session, scope: str) -> list[str]:
    """Return the project's toolchain images."""
    return run.check(session.world, docker_run.image_tags(session.root, repository(scope))).stdout.split()


def remove(session: Session, going: Iterable[str]) -> list[str]:
    """Remove volumes. Returns the names of volumes in use by a cargo task."""
    kept = []
    for name in going:
        removed = run.capture(session.world, docker.remove_volumes(session.root, [name]))
        if removed.code != 0 and "no such volume" not in removed.stderr.lower():
            kept.append(name)
    return kept


def total(found: Iterable[Volume]) -> str:
    """Return the total size, formatted for users; empty if it is unknown or if there are no volumes."""
    sizes = [one.size for one in found]
    return units.human(sum(size or 0 for size in sizes)) if sizes and None not in sizes else ""
