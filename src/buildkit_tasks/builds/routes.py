"""Decides how each requested platform is built."""

from __future__ import annotations

from dataclasses import replace

from buildkit_tasks.builders.facts import at
from buildkit_tasks.core.model import Engine
from buildkit_tasks.dockerfiles import platforms
from buildkit_tasks.platforms.check import check, check_nodes

from .targets import Targets


def find(targets: Targets, engine: Engine) -> list[platforms.Route]:
    """Return each platform's route, the worst of all services. Refuse builds that should not be attempted."""
    request, services, builder, places = targets.request, targets.services, targets.builder, targets.platforms
    found = []
    for platform in dict.fromkeys(p for s in services for p in places[s.name]):
        there = at(engine, builder, platform)
        routes = [
            platforms.route(
                *(targets.dockerfiles[s.name], s.args, s.target, platform, there),
                (*s.contexts, *targets.linked[s.name]),
            )
            for s in services
            if platform in places[s.name] and s.name in targets.dockerfiles
        ]
        found += [platforms.worst(routes)] if routes else []
    several = max((places[s.name] for s in services), key=len)
    asked = replace(request, platforms=several if request.platforms or len(several) > 1 else request.platforms)
    # a platform in the compose file is an explicit request, emulated or not
    checked = found if request.platforms else []
    special = bool(request.platforms or request.push or request.oci)
    check(engine, targets.tier if special else "full", builder.driver, asked, checked)
    check_nodes(builder, request)
    own = () if request.platforms or not builder.own else (platforms.own(engine),)
    return [route for route in found if route.platform not in own]
