"""The container that cargo runs in: mounts, variables, terminal. Pure, but for the directories it is handed."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from buildkit_tasks.caches.cargo_tasks import LABEL, volume
from buildkit_tasks.core.docker_run import Container, Mount
from buildkit_tasks.core.world import World

from .commands import Work

#: Handed on from the user's environment. None changes what is compiled, so the sync does not see them.
FORWARDED = ("RUST_BACKTRACE", "RUST_LOG", "NO_COLOR", "CARGO_TERM_COLOR", "CARGO_TERM_VERBOSE", "CARGO_TERM_QUIET")

#: A variable's name, as far as a shell can export it; entry.sh evaluates names.
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

#: Variables of the user travel under other names: docker reads its own environment for a few.
PREFIX = "BT_V_"

#: As in build steps: proxies change nothing of the result either.
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")

_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


@dataclass(frozen=True)
class Site:
    """Where cargo works, the same for every task of a project.

    `scope` begins the volumes' names. `context` is the build context, `source` the workspace below it. `image` with
    its `cargo_home`. `user`: `UID:GID`, empty if root in a container is the user outside. `secrets`: path in the
    container to a file of this machine. `incremental`: cargo's own default, but off where the project says so.
    """

    scope: str
    context: Path
    source: str
    image: str
    cargo_home: str
    user: str = ""
    secrets: Mapping[str, str] = field(default_factory=dict)
    incremental: bool = True
    strict_toolchain: bool = False


@dataclass(frozen=True)
class Around:
    """What one call adds.

    `name`: the container's. `task`: a directory shared with it. `sources`: the mounts at /context. `out`: where a
    result is copied to. `given`: variables by `--env`, which may change what is compiled; `quiet` those that tests
    and programs see and the sync does not. `network`: empty for docker's own. `tty` and `stdin` as for a container.
    """

    name: str
    task: Path
    sources: tuple[Mount, ...] = ()
    out: Path | None = None
    given: Mapping[str, str] = field(default_factory=dict, repr=False)
    quiet: Mapping[str, str] = field(default_factory=dict, repr=False)
    network: str = ""
    tty: bool = False
    stdin: bool = False


def volumes(site: Site) -> tuple[Mount, ...]:
    """The volumes: target with the synced copy, cargo's registry and git, and tools."""
    places = {
        "target": "/build",
        "registry": f"{site.cargo_home}/registry",
        "git": f"{site.cargo_home}/git",
        "tools": "/tools",
    }
    labels = (f"{LABEL}={site.scope}",)
    return tuple(Mount(volume(site.scope, kind), place, labels=labels) for kind, place in places.items())


def make(site: Site, around: Around, work: Work, script: str) -> Container:
    """The container for one run of cargo; `script` is entry.sh. Variables with names that no shell has are left out."""
    given, quiet = ({n: v for n, v in known.items() if NAME.fullmatch(n)} for known in (around.given, around.quiet))
    place = str(site.context / site.source) if work.in_place else ""
    mounts = [Mount(str(around.task), "/task"), *volumes(site)]
    mounts += [Mount(str(site.context), str(site.context))] if work.in_place else around.sources
    mounts += [Mount(file, target, readonly=True) for target, file in site.secrets.items()]
    mounts += [Mount(str(around.out), "/out")] if around.out else []
    asked = {
        "BT_GIVEN": " ".join(given),
        "BT_QUIET": " ".join(quiet),
        "BT_TOOL": work.tool.program if work.tool else "",
        "BT_COPY": work.copy,
        "BT_PLACE": place,
        "BT_FREE": "1" if work.runs_on else "",
    }
    step = {
        "SOURCE": site.source or ".",
        "CACHE_SCOPE": site.scope,
        "CARGO_INCREMENTAL": "1" if site.incremental else "0",
        "STRICT_TOOLCHAIN": "1" if site.strict_toolchain else "0",
        **({"HOME": "/tmp"} if site.user else {}),  # noqa: S108 - of the container
    }
    return Container(
        name=around.name,
        image=site.image,
        argv=("sh", "-c", script, "cargo", *work.argv),
        mounts=tuple(mounts),
        env={**step, **asked},
        private={f"{PREFIX}{name}": value for name, value in {**given, **quiet}.items()},
        user=site.user,
        network=around.network,
        tty=around.tty,
        stdin=around.stdin,
        labels=(f"{LABEL}={site.scope}",),
    )


#: Gives the volumes to a user, and leaves word of it.
_OWN = 'chown -R "$0" "$@" && printf %s "${0%:*}" > /build/.owner'


def prepare(site: Site, name: str) -> Container:
    """A container that gives the volumes to the user; docker makes them root's."""
    mounts = volumes(site)
    argv = ("sh", "-c", _OWN, site.user or "0:0", *(mount.target for mount in mounts))
    return Container(name, site.image, argv, mounts, user="0:0")


def quiet_variables(world: World, *, tty: bool) -> dict[str, str]:
    """What is handed on of the user's environment. cargo's colors where a terminal shows only its messages."""
    found = {name: world.env[name] for name in FORWARDED if name in world.env}
    found |= {n: v for n, v in world.env.items() if n.upper() in PROXIES}
    plain = "NO_COLOR" in world.env or world.env.get("TERM") == "dumb" or world.ci
    if world.tty and not tty and not plain:
        found.setdefault("CARGO_TERM_COLOR", "always")
    if tty and "TERM" in world.env:
        found["TERM"] = world.env["TERM"]
    return found


def secrets(ca_bundle: str, cargo_config: str, cargo_home: str) -> dict[str, str]:
    """The files that build steps get as secrets, at the same places."""
    found = {_CERTIFICATES: ca_bundle, f"{cargo_home}/config.toml": cargo_config}
    return {target: os.path.realpath(file) for target, file in found.items() if file}
