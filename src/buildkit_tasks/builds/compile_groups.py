"""Groups services whose programs are compiled by a single cargo run, and adds the build arguments for that run. Pure.

The services of a compile group share the context, the Dockerfile and every argument that the compile step reads, except
the argument that selects the service's program. All other services are built with only their compose arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from buildkit_tasks.config.groups_build import Build
from buildkit_tasks.config.settings import Settings
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildRequest, Service
from buildkit_tasks.dockerfiles.document import BINARIES, PROGRAMS, Dockerfile, Needs, lookup_name


@dataclass(frozen=True)
class Group:
    """Services that share a compile step. `others`: the programs of the Dockerfile's other groups."""

    services: tuple[Service, ...]
    others: frozenset[str] = frozenset()

    @property
    def binaries(self) -> tuple[str, ...]:
        """The programs that these services ship."""
        return tuple(dict.fromkeys(service.binary for service in self.services))

    def only(self, services: Sequence[Service]) -> Group:
        """Return the group with only the given services."""
        return replace(self, services=tuple(service for service in self.services if service in services))

    def shipped(self, file: Dockerfile) -> tuple[str, ...]:
        """The programs that select cargo's packages: these, and those that only the Dockerfile's `ARG PROGRAMS` lists.

        The Dockerfile also lists the programs of services in inactive profiles. Without them, `docker compose build`
        and `invoke build --profile` would enable other features of the same crates and compile them again. If the
        compose file sets SOURCE, the list may be that of another workspace, and does not apply.
        """
        elsewhere = any(service.args.get("SOURCE") for service in self.services)
        listed = set() if elsewhere else {*file.default(PROGRAMS).split()} - self.others
        return tuple(sorted({*self.binaries, *listed}))


def find(
    services: Sequence[Service], files: Mapping[str, Dockerfile], needs: Mapping[str, Needs], binary_arg: str
) -> dict[str, Group]:
    """Map each service to its compile group. Services without a compile step like ours are omitted."""
    members: dict[object, list[Service]] = {}
    keys: dict[str, object] = {}
    for service in services:
        file = files.get(service.name)
        names = file.compile_arguments(needs[service.name]) if file else None
        if names is None:
            continue
        shared = names - {binary_arg, BINARIES, PROGRAMS}
        read = tuple(sorted((name, value) for name, value in service.args.items() if name in shared))
        used = needs[service.name].contexts  # a context that the Dockerfile does not use changes nothing
        contexts = sorted(i for i in service.contexts.items() if lookup_name(i[0].partition("::")[0]) in used)
        keys[service.name] = key = (_place(service), tuple(contexts), read)
        members.setdefault(key, []).append(service)
    programs: dict[object, set[str]] = {}
    for service in (service for services in members.values() for service in services):
        programs.setdefault(_place(service), set()).add(service.binary)
    groups = {
        key: Group(tuple(services), frozenset(programs[_place(services[0])] - {s.binary for s in services}))
        for key, services in members.items()
    }
    return {name: groups[key] for name, key in keys.items()}


def _place(service: Service) -> tuple[object, ...]:
    return service.context, service.dockerfile, service.inline


def profile(settings: Settings, request: BuildRequest, service: Service) -> str:
    """Return the cargo profile from the request, the setting, the compose file or the default, in that order."""
    set_ = settings.build.profile if settings.build.profile != Build().profile else ""
    asked = request.profile or set_
    return asked or service.args.get("PROFILE") or settings.build.profile


def arguments(
    service: Service,
    file: Dockerfile,
    group: Group,
    chosen: Group,
    scope: str,
    settings: Settings,
    request: BuildRequest,
    *,
    incremental: bool,
    nonce: str,
) -> dict[str, str]:
    """Return the service's arguments, plus ours if the Dockerfile declares them. Omit empty arguments.

    `group`: all services of the group in the compose file. `chosen`: the services to build now. The features of
    dependencies depend on which packages are selected, so all shipped programs are always passed. Raises `Problem`
    bad-argument if --no-cache would not be safe.
    """
    if request.no_cache and "REBUILD" not in file.arguments:
        raise Problem(
            "bad-argument",
            f"{service.dockerfile} has no `ARG REBUILD`, so --no-cache cannot safely rerun its steps.",
            causes=["docker's own --no-cache would also delete the cache mounts (moby/buildkit#4250)"],
            hint="add `ARG REBUILD` before the compile step",
        )
    shipped = group.shipped(file)
    complete = chosen == group if service.args.get(PROGRAMS) else {*shipped} == {*chosen.binaries}
    complete = complete and PROGRAMS in file.arguments
    ours = {
        "PROFILE": profile(settings, request, service),
        "CARGO_INCREMENTAL": "1" if incremental else "0",
        "REBUILD": nonce,
        "STATIC": settings.build.static,
        "STRICT_TOOLCHAIN": "1" if settings.build.toolchain == "error" else "",
        PROGRAMS: " ".join(shipped),
        BINARIES: "" if complete else " ".join(chosen.binaries),
        "CACHE_SCOPE": scope,
    }
    # the compose file takes precedence, so plain `docker compose build` does the same
    given = {BINARIES, PROGRAMS} | (set() if settings.caches.scope else {"CACHE_SCOPE"})
    if request.incremental is None and settings.build.incremental == "auto":
        given.add("CARGO_INCREMENTAL")
    args = dict(service.args)
    for name, value in ours.items():
        if name in file.arguments and value and not (name in given and args.get(name)):
            args[name] = value
    return args
