"""Services whose Dockerfiles start from (or copy from) the image of another service that is built now. Pure.

One solve builds all targets at once, so the image of before would be taken, or none be found: the other target is
named as a context instead, and BuildKit builds it first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from buildkit_tasks.core.model import Service
from buildkit_tasks.dockerfiles.document import Needs, lookup_name
from buildkit_tasks.project import sources


def find(services: Sequence[Service], needs: Mapping[str, Needs]) -> dict[str, dict[str, Service]]:
    """By service the references that are images of others among `services`, with whose they are."""
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
    """Whether a service's image is, over others, made of itself: then the engine's images of before are taken."""
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
    """A sentence per image name that several services build differently: the last one to finish has it, as ever."""
    makers: dict[str, list[Service]] = {}
    for service in services:
        makers.setdefault(lookup_name(service.image), []).append(service)
    said = []
    for several in makers.values():
        first, *others = several
        if any(other.build != first.build for other in others):
            names = ", ".join(service.name for service in several)
            said.append(f"{names} build the same image {first.image}: the one that ends last has the name")
    return tuple(said)
