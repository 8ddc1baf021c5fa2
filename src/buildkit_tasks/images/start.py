"""Quickly checks an image built for another platform: does its program start, and its shell, if any?

`images.check` reads all files of an image. This check takes half a second: like the kernel, it follows a program to its
loader or interpreter, so it detects both a wrong program and a base image for the wrong architecture.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildPlan, Service
from buildkit_tasks.dockercli import docker
from buildkit_tasks.registry import archive as image_archive

from . import container as image_container

#: Bytes to read from a file: enough for the headers and the loader's name after them.
HEAD = 65536

#: Maximum depth to follow from a program to its interpreter or loader.
DEPTH = 5

#: Where to look up a program without a path.
PLACES = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def look(session: Session, plan: BuildPlan, platforms: Sequence[str]) -> None:
    """Check the images built for these platforms, in the engine or in archives; pushed images are skipped.

    Raises `Problem` platform-wrong.
    """
    for service in plan.services:
        target = plan.definition["target"][service.key]
        output = target["output"][0]
        made = [platform for platform in platforms if platform in target.get("platforms", ())]
        if output.startswith("type=oci,dest="):
            _archive(service, Path(output.removeprefix("type=oci,dest=")), made)
        elif "push=true" not in output:
            for platform in made:
                _in_the_engine(session, service, platform)


def _archive(service: Service, path: Path, platforms: Sequence[str]) -> None:
    try:
        found = image_archive.read(path)
    except ValueError:
        return  # layers compressed with zstd, which Python cannot read
    for image in found:
        if image.platform in platforms and image.foreign:
            raise _wrong(service, image.platform, image.wrong[:3])


def _in_the_engine(session: Session, service: Service, platform: str) -> None:
    with image_container.created(session, "buildkit-tasks-look", service.image, platform) as (container, made):
        if made.code != 0 and "no command specified" in made.stderr.lower():
            return
        if made.code != 0:
            said = made.stderr.strip().splitlines()[-1:]
            if "platform" in made.stderr:
                raise _wrong(service, platform, said)
            raise Problem(
                "command-failed",
                f"The engine cannot create a container from {service.image} for {platform}.",
                causes=said,
                hint=f"invoke build --service {service.name} --platform {platform}",
            )
        program = run.check(session.world, docker.container_program(session.root, container)).stdout.strip()
        paths = [program] if program.startswith("/") else [f"{place}/{program}" for place in PLACES]
        with tempfile.TemporaryDirectory(prefix="buildkit-tasks-") as folder:
            for start in (*paths, "/bin/sh"):
                if reason := _follow(session, container, start, platform, Path(folder)):
                    raise _wrong(service, platform, [reason])


def _follow(session: Session, container: str, start: str, platform: str, folder: Path) -> str:
    """Return why a program cannot start on the platform; empty if it can, or if it does not exist."""
    path = start
    for depth in range(DEPTH):
        copy = folder / secrets.token_hex(4)
        copied = run.capture(session.world, docker.copy_out(session.root, container, path, copy))
        if copied.code != 0 or not copy.is_file():
            return f"{start} needs {path}, which is missing" if depth else ""
        with copy.open("rb") as file:
            machine, starter = image_archive.starts_by(file.read(HEAD))
        copy.unlink()
        if machine and machine != platform.split("/")[1]:
            return f"{path} is for {machine}"
        if not starter.startswith("/") or starter == path:
            return ""
        path = starter
    return ""


def _wrong(service: Service, platform: str, causes: Sequence[str]) -> Problem:
    return Problem(
        "platform-wrong",
        f"{service.image} was built for {platform} but does not start on that platform.",
        causes=list(causes),
        hint=f"invoke images.check --service {service.name} --platform {platform}    (lists every program; the"
        " wrong one is part of a base image or was copied into the image)",
    )
