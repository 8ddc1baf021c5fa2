"""Checks built images: whether they match their platform, and whether the program starts."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Service
from buildkit_tasks.dockercli import docker, docker_run
from buildkit_tasks.dockerfiles import platforms
from buildkit_tasks.project import compose
from buildkit_tasks.project.discover import Project, discover
from buildkit_tasks.registry import archive as image_archive
from buildkit_tasks.registry.archive import Image

from . import emulator

#: Timeout in seconds for `--version`; a program that ignores the flag and keeps running has started.
START_TIMEOUT = 20

#: Exit codes that are not the program's own: it could not be executed, or was killed by a signal immediately.
NOT_STARTED = range(126, 256)

#: The exit code if docker itself failed, before any program ran.
CONTAINER_FAILED = 125


def check(session: Session, services: Sequence[str], wanted: Sequence[str] = (), *, start: bool = True) -> None:
    """Check every image of the services, for these platforms (default: those in the engine).

    Problems: platform-wrong, command-missing (no emulator for another platform's programs), unknown-service.
    """
    project = discover(session, looking=True)
    rows = [
        row
        for service in compose.select(project.workspace, services)
        for row in _service(session, project, service, wanted, start)
    ]
    if session.report.json_only:
        session.report.envelope({"images": rows})
    for row in rows:
        how = f"starts ({row['started']})" if row["started"] else "not started"
        session.report.say(f"  {row['image']}  {row['platform']}: matching programs: {row['programs']}; {how}")


def _service(
    session: Session, project: Project, service: Service, wanted: Sequence[str], start: bool
) -> list[dict[str, object]]:
    found = _read(session, service)
    absent = [p for p in wanted if p not in {image.platform for image in found}]
    if absent:
        raise Problem(
            "platform-wrong",
            f"The image {service.image} is not available for {absent[0]}.",
            causes=[f"available: {', '.join(i.platform for i in found) or 'none'}"],
            hint=f"invoke build --service {service.name} --platform {','.join(wanted)}",
        )
    rows: list[dict[str, object]] = []
    for image in found:
        if wanted and image.platform not in wanted:
            continue
        if image.wrong:
            raise Problem(
                "platform-wrong",
                f"{service.image} for {image.platform} contains programs for another architecture.",
                causes=list(image.wrong[:5]),
                hint=f"invoke build --service {service.name} --platform {image.platform} --no-cache",
            )
        started = _start(session, project, service, image) if start else ""
        rows.append(
            {
                "service": service.name,
                "image": service.image,
                "platform": image.platform,
                "programs": len(image.programs),
                "started": started or None,
            }
        )
    return rows


def _read(session: Session, service: Service) -> tuple[Image, ...]:
    with tempfile.TemporaryDirectory(prefix="buildkit-tasks-") as folder:
        archive = Path(folder) / "image.tar"
        run.check(session.world, docker.save_image(session.root, service.image, archive))
        try:
            return image_archive.read(archive)
        except ValueError as error:
            raise Problem(
                "platform-wrong",
                f"{service.image} cannot be inspected: {error}.",
                causes=[
                    "only Docker 25 and newer save images as OCI archives",
                    "Python can read gzip layers, but not zstd layers",
                ],
                hint="use a newer engine (invoke engine.install), or a base image with gzip layers",
            ) from error


def _start(session: Session, project: Project, service: Service, image: Image) -> str:
    """Return how the program started, in words; empty if there is none, for example because the image runs a script.

    Runs it natively if the engine can, else under QEMU, which is mounted only for this.
    """
    if image.start not in image.programs:
        return ""
    native = image.platform == platforms.own(project.engine)
    qemu = None if native else emulator.program(session, image.platform)
    name = f"buildkit-tasks-check-{secrets.token_hex(4)}"
    argv = docker_run.start_check(session.root, name, service.image, image.platform, image.start, qemu)
    try:
        result = run.capture(session.world, argv, timeout=START_TIMEOUT)
    finally:
        run.capture(session.world, docker.remove_container(session.root, name))
    if result.code == CONTAINER_FAILED:
        raise Problem(
            "command-failed",
            f"Docker could not create a container from {service.image}.",
            details=result.stderr.strip(),
            hint="use --no-start if the engine is on another machine, where the emulator cannot be mounted",
        )
    if result.code in NOT_STARTED:
        lines = (result.stderr or result.stdout).strip().splitlines()
        raise Problem(
            "platform-wrong",
            f"The program in {service.image} does not start on {image.platform}.",
            causes=lines[-3:],
            hint="run `invoke build --no-cache`, then check the program's shared libraries",
        )
    said = " ".join(result.stdout.split())[:60]
    return f"{said or 'runs'}{'' if native else ', under QEMU'}"
