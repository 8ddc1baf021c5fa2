"""Reads the Dockerfiles of services from the locations in the compose file."""

from __future__ import annotations

import codecs
import posixpath
import shlex
import stat
from collections.abc import Sequence
from pathlib import Path

from buildkit_tasks.core import readfile
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Service
from buildkit_tasks.dockerfiles import mounts, syntax
from buildkit_tasks.dockerfiles.document import Dockerfile, lookup_name

#: The path where our compile step finds the sources.
CONTEXT = "/context"

#: Size limit of BuildKit: https://github.com/moby/buildkit/blob/master/frontend/dockerui/config.go
LARGEST = 8 * 1024 * 1024


def read(service: Service) -> Dockerfile | None:
    """Return a service's Dockerfile; None if it is at a URL, which only BuildKit can read.

    Problems: dockerfile-unreadable, context-unreadable.
    """
    if not service.remote and service.context == Path():
        raise Problem(
            "context-unreadable",
            f"The service {service.name!r} has no build context.",
            causes=["`build.context` is empty, perhaps because a variable in it has no value"],
            hint="set `build.context` in the compose file, or remove the key to use the project's directory",
        )
    if service.inline:
        return Dockerfile.read(service.inline)
    if service.remote:
        return None
    path = service.dockerfile
    if why := _no_directory(service.context):
        raise Problem(
            "context-unreadable",
            f"The build context of the service {service.name!r} cannot be read: {service.context}.",
            causes=[why],
            hint="fix `build.context` in the compose file",
        )
    try:
        if path.is_file() and path.stat().st_size > LARGEST:
            raise OSError(0, "the file is larger than 8 MB")
        if path.exists() and not path.is_file():
            raise OSError(0, "the path is not a file")
        data = readfile.content(path)
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise Problem(
                "dockerfile-unreadable",
                f"The Dockerfile of the service {service.name!r} is in UTF-16: {path}.",
                causes=["BuildKit only reads UTF-8; Windows PowerShell writes UTF-16 with `>`"],
                hint=f"iconv -f UTF-16 -t UTF-8 -o {shlex.quote(f'{path}.utf8')} {shlex.quote(str(path))}"
                f" && mv {shlex.quote(f'{path}.utf8')} {shlex.quote(str(path))}",
            )
        return Dockerfile.read(data)
    except OSError as error:
        raise Problem(
            "dockerfile-unreadable",
            f"The Dockerfile of the service {service.name!r} cannot be read: {path}.",
            causes=[str(error.strerror)],
            hint="fix `build.dockerfile` in the compose file",
        ) from error


def _no_directory(path: Path) -> str:
    """Return why a path is not a directory; empty if it is."""
    try:
        kind = path.stat().st_mode
    except OSError as error:
        return str(error.strerror)
    except ValueError:
        return "a path cannot contain a NUL"
    return "" if stat.S_ISDIR(kind) else "the path is not a directory"


def known(service: Service) -> Dockerfile:
    """Like `read`, but returns an empty Dockerfile if there is none to read. For callers that only inspect it."""
    try:
        return read(service) or Dockerfile.read("")
    except Problem:
        return Dockerfile.read("")


def image_names(service: Service) -> tuple[str, ...]:
    """Return the names of a service's image, as BuildKit looks them up."""
    return tuple(map(lookup_name, (service.image, *map(str, service.build.get("tags") or ()))))


def needed_images(service: Service) -> tuple[str, ...]:
    """Return the references of the images that a build of the service uses, on any platform."""
    return known(service).needs(service.args, service.target, tuple(service.contexts)).images


def compiles(service: Service) -> bool:
    """Return whether a service's program is built by our compile step."""
    file = known(service)
    return file.compile_arguments(file.needs(service.args, service.target, tuple(service.contexts))) is not None


def generated(service: Service) -> tuple[str, ...]:
    """Return paths of the compile step's sources that other stages generate, so they are not in the tree on disk."""
    stage, workdir, made, mounted = "", "/", dict[str, list[str]](), dict[str, str]()
    for item in known(service).items:
        options, rest = syntax.flags(item)
        if item.keyword == "FROM":
            words = rest.split()
            stage, workdir = words[2].lower() if len(words) > 2 else "", "/"
        elif item.keyword == "WORKDIR":
            workdir = posixpath.join(workdir, rest)
        elif item.keyword == "COPY" and options.get("from"):
            made.setdefault(stage, []).append(posixpath.normpath(posixpath.join(workdir, syntax.words(rest)[-1])))
        elif item.keyword == "RUN":
            mounted |= _mounted(item)
    return tuple(posixpath.relpath(path, root) for name, root in mounted.items() for path in made.get(name, ()))


def moved(service: Service) -> dict[str, str]:
    """Map files of the compile step's sources that another stage copies to another path to their paths on disk."""
    stage, workdir, copies, mounted = "", "/", list[tuple[str, str, str]](), dict[str, str]()
    for item in known(service).items:
        options, rest = syntax.flags(item)
        words = syntax.json_words(rest) or syntax.words(rest)
        if item.keyword == "FROM":
            stage, workdir = words[2].lower() if len(words) > 2 else "", "/"
        elif item.keyword == "WORKDIR":
            workdir = posixpath.join(workdir, rest)
        elif item.keyword == "COPY" and not options.get("from") and len(words) > 1:
            copies += [(stage, source.strip("/"), _place(words, workdir, source)) for source in words[:-1]]
        elif item.keyword == "RUN":
            mounted |= _mounted(item)
    found = {}
    for name, source, place in copies:
        path = posixpath.relpath(place, mounted[name]) if name in mounted else ".."
        if path != source and not path.startswith("..") and (service.context / source).is_file():
            found[path] = source
    return found


def _place(words: Sequence[str], workdir: str, source: str) -> str:
    """Return where a COPY of files puts one of them."""
    place = posixpath.normpath(posixpath.join(workdir, words[-1]))
    inside = len(words) > 2 or words[-1].endswith(("/", "."))
    return posixpath.join(place, posixpath.basename(source)) if inside else place


def _mounted(item: syntax.Instruction) -> dict[str, str]:
    """Map the stages that a command mounts as its sources to the directories that it mounts."""
    found = [m.options for m in mounts.run_mounts(item) if m.options.get("target") == CONTEXT]
    return {
        options["from"].lower(): f"/{options.get('source', '').strip('/')}" for options in found if "from" in options
    }


def prepared(service: Service) -> bool:
    """Return whether commands of another stage prepare the compile step's sources and may generate any file."""
    stage, runs, mounted = "", set[str](), set[str]()
    for item in known(service).items:
        if item.keyword == "FROM":
            words = syntax.flags(item)[1].split()
            stage = words[2].lower() if len(words) > 2 else ""
        elif item.keyword == "RUN":
            runs.add(stage)
            mounted |= _mounted(item).keys()
    return bool(mounted & runs - {""})


def same_build(one: Service, other: Service) -> bool:
    """Return whether two services are built from the same context and Dockerfile."""
    return (one.context, one.dockerfile, one.inline) == (other.context, other.dockerfile, other.inline)
