"""Finds services whose Dockerfiles use the image of another service in the same build. Pure.

A solve builds all targets in parallel, so it would use the previous image or not find one. Instead, the other target
is passed as a named context, and BuildKit builds it first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from buildkit_tasks.core.model import Service
from buildkit_tasks.dockerfiles.document import Needs, lookup_name
from buildkit_tasks.project import sources


def find(services: Sequence[Service], needs: Mapping[str, Needs]) -> dict[str, dict[str, Service]]:
    """Map each service to the images it uses from the other given services: image reference to service."""
    makers: dict[str, Service] = {}
    for service in services:
        for name in sources.image_names(service):
            makers.setdefault(name, service)
    found = {
        service.name: {
            reference: makers[lookup_name(reference)]
            for reference in needs[service.name].images
            if makers.get(lookup_name(reference), service).name != service.name
        }
        for service in services
    }
    return {name: {} if _circular(name, found) else own for name, own in found.items()}


def _circular(name: str, found: Mapping[str, Mapping[str, Service]]) -> bool:
    """Return whether a service's image depends on itself. If so, the engine's existing images are used."""
    seen: set[str] = set()
    pending = [service.name for service in found[name].values()]
    while pending:
        other = pending.pop()
        if other == name:
            return True
        if other not in seen:
            seen.add(other)
            pending += [service.name for service in found[other].values()]
    return False


def shared_names(services: Sequence[Service]) -> tuple[str, ...]:
    """Return a warning for each image name that services build differently. As in compose, the last build wins."""
    makers: dict[str, list[Service]] = {}
    for service in services:
        makers.setdefault(lookup_name(service.image), []).append(service)
    said = []
    for several in makers.values():
        first, *others = several
        if any(other.build != first.build for other in others):
            names = ", ".join(service.name for service in several)
            said.append(f"{names} build the same image {first.image}: the last build to finish gets the tag")
    return tuple(said)
