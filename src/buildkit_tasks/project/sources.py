"""Reads the Dockerfiles of services from the locations in the compose file."""

from __future__ import annotations

import posixpath

from buildkit_tasks.core import readfile
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Service
from buildkit_tasks.dockerfiles import mounts, syntax
from buildkit_tasks.dockerfiles.document import Dockerfile, lookup_name

#: The path where our compile step finds the sources.
CONTEXT = "/context"

#: BuildKit does not read larger ones: https://github.com/moby/buildkit/blob/master/frontend/dockerui/config.go
LARGEST = 8 * 1024 * 1024


def read(service: Service) -> Dockerfile | None:
    """A service's Dockerfile; None if it is behind a URL, which only BuildKit reads.

    Problems: dockerfile-unreadable, context-unreadable.
    """
    if service.inline:
        return Dockerfile.read(service.inline)
    if service.remote:
        return None
    path = service.dockerfile
    if not service.context.is_dir():
        why = "it is not a directory" if service.context.exists() else "No such file or directory"
        raise Problem(
            "context-unreadable",
            f"The build context of the service {service.name!r} cannot be read: {service.context}.",
            causes=[why],
            hint="fix `build.context` in the compose file",
        )
    try:
        if path.is_file() and path.stat().st_size > LARGEST:
            raise OSError(0, "it is larger than 8 MB")
        if path.exists() and not path.is_file():
            raise OSError(0, "it is not a file")
        return Dockerfile.read(readfile.content(path))
    except OSError as error:
        raise Problem(
            "dockerfile-unreadable",
            f"The Dockerfile of the service {service.name!r} cannot be read: {path}.",
            causes=[str(error.strerror)],
            hint="fix `build.dockerfile` in the compose file",
        ) from error


def known(service: Service) -> Dockerfile:
    """Like `read`, for callers that only inspect: an empty Dockerfile if there is none to read."""
    try:
        return read(service) or Dockerfile.read("")
    except Problem:
        return Dockerfile.read("")


def image_names(service: Service) -> tuple[str, ...]:
    """The names of a service's image, as BuildKit looks them up."""
    return tuple(map(lookup_name, (service.image, *map(str, service.build.get("tags") or ()))))


def needed_images(service: Service) -> tuple[str, ...]:
    """References of the images that a build of the service uses, on any platform."""
    return known(service).needs(service.args, service.target, tuple(service.contexts)).images


def compiles(service: Service) -> bool:
    """Whether a service's program is built by our compile step."""
    file = known(service)
    return file.compile_arguments(file.needs(service.args, service.target, tuple(service.contexts))) is not None


def generated(service: Service) -> tuple[str, ...]:
    """Paths of the compile step's sources that other stages generate; they are not in the tree on disk."""
    stage, made, mounted = "", dict[str, list[str]](), set[str]()
    for item in known(service).items:
        options, rest = syntax.flags(item)
        if item.keyword == "FROM":
            words = rest.split()
            stage = words[2].lower() if len(words) > 2 else ""
        elif item.keyword == "COPY" and options.get("from"):
            made.setdefault(stage, []).append(posixpath.normpath(syntax.words(rest)[-1].lstrip("/") or "."))
        elif item.keyword == "RUN":
            found = mounts.run_mounts(item)
            mounted |= {m.options.get("from", "").lower() for m in found if m.options.get("target") == CONTEXT}
    return tuple(path for name in mounted for path in made.get(name, ()))


def same_build(one: Service, other: Service) -> bool:
    """Whether two services are built from the same context and Dockerfile."""
    return (one.context, one.dockerfile, one.inline) == (other.context, other.dockerfile, other.inline)
