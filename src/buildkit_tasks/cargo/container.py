"""The container that runs cargo: its mounts, variables and terminal. Pure."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from buildkit_tasks.caches.cargo_tasks import LABEL, volume
from buildkit_tasks.core.world import World
from buildkit_tasks.dockercli.docker_run import Container, Mount

from .commands import Work

#: Variables passed from the user's environment. None of them changes what is compiled, so the sync ignores them.
FORWARDED = ("RUST_BACKTRACE", "RUST_LOG", "NO_COLOR", "CARGO_TERM_COLOR", "CARGO_TERM_VERBOSE", "CARGO_TERM_QUIET")

#: Variable names that a shell can export: entry.sh evaluates names, so no others are passed.
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

#: The user's variables are passed under other names, because docker itself reads some of them.
PREFIX = "BT_V_"

#: As in build steps, proxies do not change the result.
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")

_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


@dataclass(frozen=True)
class Site:
    """Where cargo runs: the same for every task of a project.

    `scope`: the prefix of the volume names. `context`: the build context; `source`: the workspace below it. `image`
    and its `cargo_home`. `user`: `UID:GID`, empty if root in a container is the user on the host. `secrets`: maps a
    path in the container to a file on the host. `incremental`: cargo's own default, unless the project turns it off.
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
    """The container options that a single call adds.

    `name`: the container's name. `task`: a directory shared with it. `sources`: the mounts at /context. `out`: where
    to copy a result. `given`: variables from `--env`, which may change what is compiled; `quiet`: variables that tests
    and programs see but the sync ignores. `network`: empty for docker's default. `tty`, `stdin`: as in `docker run`.
    `shared`: new volumes may be filled from a pack.
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
    shared: bool = False


def volumes(site: Site) -> tuple[Mount, ...]:
    """Return the volumes: target (which contains the synced copy), cargo's registry and git, and tools."""
    places = {
        "target": "/build",
        "registry": f"{site.cargo_home}/registry",
        "git": f"{site.cargo_home}/git",
        "tools": "/tools",
    }
    labels = (f"{LABEL}={site.scope}",)
    return tuple(Mount(volume(site.scope, kind), place, labels=labels) for kind, place in places.items())


def make(site: Site, around: Around, work: Work, script: str) -> Container:
    """Return the container for one cargo run; `script` is entry.sh. Omits variables that no shell can export."""
    given, quiet = _exportable(around.given), _exportable(around.quiet)
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
        "BT_SHARED": "1" if around.shared and not work.in_place else "",
    }
    step = {
        "SOURCE": site.source or ".",
        "CACHE_SCOPE": site.scope,
        "CARGO_INCREMENTAL": "1" if site.incremental else "0",
        "STRICT_TOOLCHAIN": "1" if site.strict_toolchain else "0",
        **({"HOME": "/tmp"} if site.user else {}),  # noqa: S108 - inside the container
    }
    return Container(
        name=around.name,
        image=site.image,
        argv=("sh", "-c", script, "cargo", *work.argv),
        mounts=tuple(mounts),
        env={**step, **asked},
        private=_renamed({**given, **quiet}),
        user=site.user,
        network=around.network,
        tty=around.tty,
        stdin=around.stdin,
        labels=(f"{LABEL}={site.scope}",),
    )


def transfer(
    site: Site, name: str, words: tuple[str, ...], mounts: tuple[Mount, ...], given: Mapping[str, str], profile: str
) -> Container:
    """Return the container that packs or fills the volumes. `words`: transfer.sh and its arguments."""
    known = _exportable(given)
    return Container(
        name,
        site.image,
        ("sh", "-c", words[0], "transfer", *words[1:]),
        (*volumes(site), *mounts),
        {
            "SOURCE": site.source or ".",
            "CACHE_SCOPE": site.scope,
            "CARGO_HOME": site.cargo_home,
            "PROFILE": profile,
            "BT_GIVEN": " ".join(known),
        },
        _renamed(known),
        user="0:0",
        network="none",
        labels=(f"{LABEL}={site.scope}",),
    )


def _exportable(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with names that a shell can export."""
    return {name: value for name, value in variables.items() if NAME.fullmatch(name)}


def _renamed(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables under names that the scripts know and docker does not."""
    return {f"{PREFIX}{name}": value for name, value in variables.items()}


#: Makes a user the owner of the volumes, and records that.
_OWN = 'chown -R "$0" "$@" && printf %s "${0%:*}" > /build/.owner'


def prepare(site: Site, name: str) -> Container:
    """Return a container that makes the user the owner of the volumes, which docker creates as root."""
    mounts = volumes(site)
    argv = ("sh", "-c", _OWN, site.user or "0:0", *(mount.target for mount in mounts))
    return Container(name, site.image, argv, mounts, user="0:0")


def quiet_variables(world: World, *, tty: bool) -> dict[str, str]:
    """Return variables to pass from the user's environment. Turns on cargo's colors if only stderr is a terminal."""
    found = {name: world.env[name] for name in FORWARDED if name in world.env}
    found |= {n: v for n, v in world.env.items() if n.upper() in PROXIES}
    plain = "NO_COLOR" in world.env or world.env.get("TERM") == "dumb" or world.ci
    if world.tty and not tty and not plain:
        found.setdefault("CARGO_TERM_COLOR", "always")
    if tty and "TERM" in world.env:
        found["TERM"] = world.env["TERM"]
    return found


def secrets(ca_bundle: str, cargo_config: str, cargo_home: str) -> dict[str, str]:
    """Return the files that build steps receive as secrets, at the same paths."""
    found = {_CERTIFICATES: ca_bundle, f"{cargo_home}/config.toml": cargo_config}
    return {target: os.path.realpath(file) for target, file in found.items() if file}
