"""Copies programs or files out of images, without starting anything."""

from __future__ import annotations

import posixpath
import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path

from buildkit_tasks.builds import manifest
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Service
from buildkit_tasks.dockercli import docker
from buildkit_tasks.dockerfiles import program
from buildkit_tasks.images import container as image_container
from buildkit_tasks.project import compose, sources
from buildkit_tasks.project.discover import discover


def extract(session: Session, services: Sequence[str], to: str, paths: Sequence[str]) -> None:
    """Copy `paths` from each service's image into a directory (default: the image's program).

    With several services, each gets its own directory. Problems: image-unavailable, bad-argument.
    """
    if not to:
        raise Problem("bad-argument", "`extract` requires a directory to copy the files into.", hint="--to DIRECTORY")
    project = discover(session, lesser=True, named=services)
    chosen = compose.select(project.workspace, services)
    for path in paths:
        if not path.startswith("/") or ".." in path.split("/"):
            raise Problem("bad-argument", f"--path {path} is not an absolute path.", hint="--path /usr/local/bin/tool")
        if posixpath.basename(path.rstrip("/")) in ("", "."):
            raise Problem("bad-argument", f"--path {path} does not end with a file name.", hint="--path /usr/local/bin")
    target = session.world.cwd / to
    target.mkdir(parents=True, exist_ok=True)
    platform = f"{project.engine.os}/{project.engine.arch}"
    rows = []
    for service in chosen:
        place = target / service.name if len(chosen) > 1 else target
        place.mkdir(exist_ok=True)
        rows += [(service.name, inside, str(file)) for inside, file in _from(session, service, platform, place, paths)]
    if session.report.json_only:
        keys = ("service", "path", "file")
        session.report.envelope({"files": [dict(zip(keys, row, strict=True)) for row in rows]})
    else:
        session.report.table(("service", "path in the image", "file"), rows)


def _from(
    session: Session, service: Service, platform: str, place: Path, paths: Sequence[str]
) -> list[tuple[str, Path]]:
    # docker requires a command if the image has none; the container is never started
    with image_container.created(session, "buildkit-tasks-extract", service.image, platform, "/extract") as created:
        container, made = created
        if made.code != 0:
            raise Problem(
                "image-unavailable",
                f"The engine has no image {service.image} for {platform}.",
                causes=made.stderr.strip().splitlines()[-1:],
                hint=f"invoke build --service {service.name}",
            )
        with tempfile.TemporaryDirectory(prefix=".buildkit-tasks-", dir=place) as folder:
            wanted = [(path, posixpath.basename(path.rstrip("/"))) for path in paths]
            wanted = wanted or [_program(session, service, container)]
            return [
                (path, _copy(session, service, container, path, place / name, Path(folder))) for path, name in wanted
            ]


def _program(session: Session, service: Service, container: str) -> tuple[str, str]:
    """Return the program's path in the image and its name, as recorded in the manifest next to it."""
    try:
        name = manifest.parse(image_container.text(session, container, manifest.PATH)).binary
    except ValueError:
        name = ""
    if not name or "/" in name or name in (".", ".."):
        raise Problem(
            "bad-argument",
            f"The image of {service.name} has no manifest that identifies its program.",
            causes=["the image was not built with the Dockerfile from `init`"],
            hint=f"invoke extract --service {service.name} --to DIR --path /path/in/the/image",
        )
    return program.place(sources.known(service), service.args, service.target, name), name


def _copy(session: Session, service: Service, container: str, path: str, target: Path, folder: Path) -> Path:
    """Copy next to the target, then move the copy into place. Never replaces an existing directory."""
    if target.is_dir():
        raise Problem(
            "bad-argument",
            f"{target} already exists and is a directory.",
            hint="pass a different directory to --to, or remove the existing one",
        )
    copy = folder / secrets.token_hex(4)
    copied = run.capture(session.world, docker.copy_out(session.root, container, path, copy))
    if copied.code != 0:
        raise Problem(
            "bad-argument",
            f"The image of {service.name} does not contain {path}.",
            causes=copied.stderr.strip().splitlines()[-1:],
        )
    copy.replace(target)
    return target
