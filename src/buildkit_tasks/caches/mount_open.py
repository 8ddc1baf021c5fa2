"""Opens cache mounts with a short build that lists their contents, or removes paths while holding the mounts' locks."""

from __future__ import annotations

import re
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from buildkit_tasks.caches import mount_listing
from buildkit_tasks.caches.mount_listing import Content
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command
from buildkit_tasks.dockercli import buildx
from buildkit_tasks.dockerfiles import syntax
from buildkit_tasks.engine.cache_records import Mount
from buildkit_tasks.images import bases as base_images
from buildkit_tasks.project import sources
from buildkit_tasks.project.discover import Project

from . import mount_script
from . import view as cache_view
from .mount_script import CHANGED, EMPTIED, Opened


def listing(session: Session, project: Project, found: Sequence[Mount], builder: str = "") -> dict[str, Content]:
    """List the contents of these mounts of the project, by mount name. Waits for builds that are using them."""
    if not found:
        return {}
    text = mount_script.listing(base(project), _opened(project, found), secrets.token_hex(8))
    with tempfile.TemporaryDirectory(prefix="buildkit-tasks-") as scratch:
        out, empty = Path(scratch) / "out", Path(scratch) / "context"
        out.mkdir()
        empty.mkdir()
        result = run.capture(session.world, _build(session, project, text, empty, builder, out))
        if result.code != 0:
            raise _failed(project, result.stderr)
        return {
            mount.name: mount_listing.read(*(_text(out / str(n) / part) for part in ("list", "texts", "generation")))
            for n, mount in enumerate(found)
        }


def remove(
    session: Session,
    project: Project,
    going: Mapping[str, Sequence[str]],
    found: Sequence[Mount],
    contents: Mapping[str, Content],
    builder: str = "",
) -> bool:
    """Remove paths from the mounts while holding all of them. Returns False if a build has changed one of them.

    `found`: all mounts to hold. If they include every target mount of the project, no compilation can be running.
    """
    generations = [contents[m.name].generation for m in found]
    text = mount_script.removal(base(project), _opened(project, found), generations, secrets.token_hex(8))
    with tempfile.TemporaryDirectory(prefix="buildkit-tasks-") as scratch:
        for n, mount in enumerate(found):
            paths = sorted(going.get(mount.name, ()), key=lambda p: ("/.fingerprint/" not in p, p))
            Path(scratch, str(n)).write_text("".join(f"{p}\n" for p in paths), "utf-8")
        build = _build(session, project, text, Path(scratch), builder)
        result = run.capture(session.world, build)
    if result.code != 0 and f"exit code: {CHANGED}" in result.stderr:
        return False
    if result.code != 0:
        raise _failed(project, result.stderr)
    return True


def _failed(project: Project, said: str) -> Problem:
    if "failed to resolve source metadata" in said or "failed to do request" in said:
        return Problem(
            "image-unavailable",
            f"The builder cannot pull {base(project)}, which is needed to open the mounts.",
            causes=[said.strip().splitlines()[-1]],
            hint="set images.registry to a registry that the builder can reach, or clear whole mounts, which does not "
            "require an image",
        )
    return Problem("build-failed", "Cannot open the cache mounts.", details=said.strip())


def base(project: Project) -> str:
    """Return an image with a shell that the builder already has: the base image of the project's own compile stage."""
    for service in project.workspace.services:
        if sources.compiles(service) and (found := sources.needed_images(service)):
            return found[0]
    raise Problem(
        "no-built-service",
        "No service has a Dockerfile with a base image.",
        hint='see "Look inside" in docs/how-to/cache.md',
    )


def _build(
    session: Session, project: Project, text: str, folder: Path, builder: str, output: Path | None = None
) -> Command:
    reference = base(project)
    workspace = session.settings.caches.namespace
    use = base_images.ensure(session, project.engine, (reference,)).get(reference, reference)
    return buildx.mount_build(
        session.root, text, folder, builder=builder, output=output, base=(reference, use), namespace=workspace
    )


def empty_long(session: Session, project: Project, found: Sequence[Opened], builder: str = "") -> list[str]:
    """Empty the mounts that contain paths too long for the engine. Returns their ids."""
    text = mount_script.emptying(base(project), found, secrets.token_hex(8))
    with tempfile.TemporaryDirectory(prefix="buildkit-tasks-") as scratch:
        result = run.capture(session.world, _build(session, project, text, Path(scratch), builder))
    if result.code != 0:
        raise _failed(project, result.stderr)
    numbers = re.findall(rf"^#\d+ [\d.]+ {EMPTIED}(\d+)$", result.stderr, re.MULTILINE)
    return [found[int(n)].id for n in numbers]


def sharing(project: Project) -> dict[str, str]:
    """Map the ids of mounts in the project's Dockerfiles (`*`: known only in a build) to their sharing mode."""
    declared: dict[str, str] = {}
    for service in project.workspace.services:
        for mount in sources.known(service).mounts:
            if mount.type == "cache":
                pattern = syntax.expand(mount.identity, {**cache_view.unknown_arguments(), **service.args})
                declared[pattern] = mount.options.get("sharing", "shared")
    return declared


def _opened(project: Project, found: Sequence[Mount]) -> list[Opened]:
    """Return the mounts with the sharing mode declared by the project's Dockerfiles."""
    declared = sharing(project)
    return [
        Opened(m.id, next((s for pattern, s in declared.items() if fnmatchcase(m.id, pattern)), "shared"))
        for m in found
    ]


def _text(path: Path) -> str:
    return path.read_text("utf-8", errors="replace") if path.exists() else ""
