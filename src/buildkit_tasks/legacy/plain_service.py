"""Builds services from their own Dockerfiles on builders without bake or without BuildKit.

The legacy builder silently ignores some unknown features, which would produce a different image. Unsupported features
are therefore rejected by name or replaced with an equivalent.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Service
from buildkit_tasks.dockerfiles import syntax
from buildkit_tasks.dockerfiles.document import Dockerfile

from . import tiers

#: Flags that need BuildKit, by instruction.
_NEWER = {
    "RUN": {"mount", "network", "security", "device"},
    "COPY": {"link", "chmod", "parents", "exclude"},
    "ADD": {"link", "chmod", "checksum", "keep-git-dir", "exclude", "unpack"},
}


def in_order(services: Sequence[Service], targets: Mapping[str, Any]) -> list[Service]:
    """Return the services in build order, each after the services whose images it uses."""
    done: list[Service] = []

    def place(service: Service) -> None:
        if service not in done:
            below = set(targets[service.key].get("contexts", {}).values())
            for other in services:
                if f"target:{other.key}" in below:
                    place(other)
            done.append(service)

    for service in services:
        place(service)
    return done


def images(target: Mapping[str, Any], targets: Mapping[str, Any]) -> dict[str, str]:
    """Return the images behind the target's named contexts: existing images, and images of services built earlier."""
    found = {}
    for name, value in target.get("contexts", {}).items():
        kind, _, rest = str(value).partition("://" if "://" in str(value) else ":")
        if kind == "docker-image":
            found[name] = rest
        elif kind == "target":
            found[name] = str(targets[rest]["tags"][0])
    return found


def dockerfile(
    service: Service,
    file: Dockerfile,
    target: Mapping[str, Any],
    replaced: Mapping[str, str],
    values: Mapping[str, str],
) -> str | Path:
    """Return the Dockerfile for BuildKit without bake: the file itself, or its text with replaced images."""
    if not replaced and not any("$" in part for mount in file.mounts for part in mount.options.values()):
        return file.text if service.inline else Path(target["dockerfile"])
    return tiers.portable(file.text, {**values, **target.get("args", {})}, replaced)


def without_buildkit(
    service: Service,
    file: Dockerfile,
    target: Mapping[str, Any],
    replaced: Mapping[str, str],
    values: Mapping[str, str],
) -> tuple[str | Path, dict[str, str]]:
    """Return the Dockerfile for the legacy builder (file or text) and its arguments plus BuildKit's predefined ones.

    Raises `Problem` build-failed for unsupported features.
    """
    own = service.dockerfile.with_name(f"{service.dockerfile.name}.dockerignore")
    if not service.inline and own.is_file():
        raise _refused(service, f"only BuildKit reads {own}")
    for item in file.items:
        flags = syntax.flags(item)[0].keys() & _NEWER.get(item.keyword, set())
        what = f"--{min(flags)}" if flags else "a here-document" if item.body else ""
        if what:
            raise _refused(service, f"line {item.line}, {item.keyword}, uses {what}")
    known = {**_platform(values, "TARGET"), **_platform(values, "BUILD")}
    args = {n: v for n, v in known.items() if n in file.arguments} | dict(target.get("args", {}))
    turned = any("platform" in syntax.flags(item)[0] for item in file.items if item.keyword == "FROM")
    if not replaced and not turned:
        # prefer the file: a Dockerfile from stdin has a different name than in the context and its .dockerignore
        inside = os.path.realpath(service.dockerfile).startswith(os.path.realpath(service.context) + os.sep)
        return (file.text if service.inline or not inside else Path(target["dockerfile"])), args
    text = tiers.portable(file.text, {**known, **args}, replaced)
    return re.sub(r"(?m)^(FROM\s+)--platform=\S+\s+", r"\1", text), args


def _platform(values: Mapping[str, str], side: str) -> dict[str, str]:
    system, arch = values["TARGETOS"], values["TARGETARCH"]
    return {f"{side}PLATFORM": f"{system}/{arch}", f"{side}OS": system, f"{side}ARCH": arch}


def _refused(service: Service, what: str) -> Problem:
    return Problem(
        "build-failed",
        f"The Dockerfile of the service {service.name!r} needs BuildKit, but this build runs without it.",
        causes=[what],
        hint=f"{tiers.GET_BUILDKIT}, or use --service to build only services that do not need BuildKit",
    )
