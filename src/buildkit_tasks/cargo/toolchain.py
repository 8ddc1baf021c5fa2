"""The toolchain image that runs cargo: the `toolchain` stage of the project's Dockerfile, built like other images.

It is rebuilt if any of its inputs has changed, and once a day, because the tag of its base image may have moved.
Otherwise no build starts.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from buildkit_tasks.caches import cargo_tasks
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import files, readfile, run, shapes
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildRequest, Service
from buildkit_tasks.dockercli import docker_run
from buildkit_tasks.dockerfiles import mounts, syntax
from buildkit_tasks.dockerfiles.document import Dockerfile
from buildkit_tasks.project import sources
from buildkit_tasks.project.discover import Project

#: The stage in our Dockerfiles, the stage that adds requested components, and the last stage.
STAGE, ADDED, LAST = "toolchain", "buildkit-tasks-components", "buildkit-tasks-toolchain"

#: Seconds for which an image counts as current without checking its base image.
CURRENT = 86_400
#: The file in a checkout's state directory that records its image.
_MEMORY = "cargo-toolchain.json"

#: Adds rustfmt and clippy to the toolchain: with rustup if it is installed, or from Debian packages if rustc is one.
_COMPONENTS = """
FROM {stage} AS {added}
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt,mode=0444 set -eu; \\
    if command -v rustup > /dev/null; then \\
        rustup toolchain list | while read -r name _; do \\
            rustup component add --toolchain "$name" clippy rustfmt; \\
        done; \\
    else \\
        owner=$(dpkg -S "$(readlink -f "$(command -v rustc)")" | cut -d : -f 1); \\
        case $owner in \\
            rustc) packages='rustfmt rust-clippy' ;; \\
            rustc-web) packages='rustfmt-web rust-web-clippy' ;; \\
            *) echo 'no rustup and no Debian rustc: install clippy and rustfmt in the toolchain stage' >&2; exit 2 ;; \\
        esac; \\
        apt-get update -qq; \\
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $packages > /dev/null; \\
        find /var/lib/apt/lists /var/log -type f -delete; \\
    fi
"""


#: Uses the whole context. BuildKit transfers only the paths in the stages: without a matching file, there would be no
#: directory `services`, and `COPY services/rust-toolchain*` would fail (unless the step is cached).
_WHOLE = """
FROM {stage} AS {last}
RUN --mount=type=bind,target=/run/context :
"""


@dataclass(frozen=True)
class Toolchain:
    """An image in the engine. `key`: a digest of its inputs; `made`: the build time, in seconds since the epoch."""

    image: str
    cargo_home: str
    key: str
    made: float
    components: bool = False


def service_of(project: Project, name: str = "") -> Service:
    """Return the named or first service that compiles in a toolchain stage. Raises `Problem` cargo-no-toolchain."""
    named = [s for s in project.workspace.services if not name or s.name == name]
    compiled = [s for s in named if not s.remote and sources.compiles(s)]
    for service in compiled:
        if any(item.keyword == "FROM" and _named(item.rest) == STAGE for item in sources.known(service).items):
            return service
    where = (
        f"{compiled[0].dockerfile} has no stage named {STAGE}"
        if compiled
        else "no service uses the Dockerfile from `init`"
    )
    raise Problem(
        "cargo-no-toolchain",
        f"No Dockerfile has a `{STAGE}` stage to run cargo in.",
        causes=[where],
        hint="run `buildkit-tasks init` to write a Dockerfile with this stage, or pass --host to the task",
    )


def _named(rest: str) -> str:
    words = rest.lower().split()
    return words[-1] if len(words) > 2 and words[-2] == "as" else ""


def ensure(
    session: Session, project: Project, service: Service, *, again: bool = False, add: bool = False
) -> Toolchain:
    """Return the image, building it unless it is current. `again`: always build; `add`: include clippy and rustfmt.

    Problems: those of a build.
    """
    memory = session.state / _MEMORY
    known = _remembered(memory)
    components = add or (known is not None and known.components)
    key = _key(session, service, components)
    if known and not again and key and known.key == key and _is_current(known):
        return known
    made = _build(session, project, service, key, components)
    files.replace(memory, json.dumps(asdict(made)), durable=False)
    _remove_older(session, cargo_tasks.repository(project.workspace.scope), made.image)
    return made


def _remembered(memory: Path) -> Toolchain | None:
    try:
        found = Toolchain(**readfile.state(memory))
        shapes.check(asdict(found), {"made": (int, float), "components": bool, "*": str})
        return found
    except (ValueError, TypeError):
        return None


def _build(session: Session, project: Project, service: Service, key: str, components: bool) -> Toolchain:
    from buildkit_tasks.builds.prepare import plan_build  # imported late: not needed if the image is current
    from buildkit_tasks.builds.solve import solve, stand_in

    plan = plan_build(session, project, BuildRequest(services=(service.name,)))
    target = plan.definition["target"][service.key]
    text, stage = sources.known(service).text.rstrip("\n") + "\n", STAGE
    if components:
        text, stage = text + _COMPONENTS.format(stage=STAGE, added=ADDED), ADDED
    text += _WHOLE.format(stage=stage, last=LAST)
    repository = cargo_tasks.repository(project.workspace.scope)
    image = f"{repository}:{key[:12] or 'latest'}"
    made = {**stand_in(target, text, LAST, {}), "tags": [image], "output": ["type=docker"]}
    made.pop("platforms", None)  # build for the machine's own platform
    definition = {"group": {"default": {"targets": [service.key]}}, "target": {service.key: made}}
    solve(session, replace(plan, services=(replace(service, name="the toolchain image"),), groups=()), definition)
    found = run.check(session.world, docker_run.image_configuration(session.root, image))
    words = shapes.answer(found, list, [(str, list)])[1:2]
    environment = dict(str(word).partition("=")[::2] for word in (words[0] if words else None) or ())
    home = environment.get("CARGO_HOME") or "/usr/local/cargo"
    return Toolchain(image, home, key, time.time(), components)


def _remove_older(session: Session, repository: str, image: str) -> None:
    """Remove images of this project's earlier toolchains, unless a container or another checkout uses them."""
    from buildkit_tasks.dockercli import docker

    listed = run.capture(session.world, docker_run.image_tags(session.root, repository)).stdout.split()
    memories = session.world.state_home.glob(f"*/{_MEMORY}")
    used = {image, *(known.image for path in memories if (known := _remembered(path)) and _is_current(known))}
    if older := [name for name in listed if name not in used]:
        run.capture(session.world, docker.remove_images(session.root, older))


def _is_current(known: Toolchain) -> bool:
    return 0 <= time.time() - known.made < CURRENT


def _key(session: Session, service: Service, components: bool) -> str:
    """Return a digest of the image's inputs, or an empty string if only BuildKit can determine them."""
    file = sources.known(service)
    settings = session.settings
    args = used_arguments(file, service.args, tuple(service.contexts))
    parts = [file.text, json.dumps([args, dict(service.contexts), components], sort_keys=True)]
    parts += [
        settings.images.registry,
        settings.images.offline,
        settings.build.toolchain,
        session.settings.builders.name,
    ]
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape"))
    for pattern in used_paths(file, service.args, tuple(service.contexts)):
        if pattern in (".", ""):
            return ""
        for path in sorted(service.context.glob(pattern)):
            for leaf in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
                digest.update(os.fsencode(leaf) + b"\0" + hashlib.sha256(readfile.content(leaf)).digest())
    return digest.hexdigest()


def used_arguments(file: Dockerfile, args: Mapping[str, str], contexts: Iterable[str] = ()) -> dict[str, str]:
    """Return the build arguments that can affect the toolchain stage. `BIN`, for example, cannot."""
    names = {name for stage in file.needs(args, STAGE, tuple(contexts)).stages for name in stage.arguments}
    for item in file.items:
        if item.keyword == "FROM":
            break
        names |= {name for name, _ in syntax.assignments(item)}
    return {name: value for name, value in args.items() if name in names}


def used_paths(file: Dockerfile, args: Mapping[str, str], contexts: Iterable[str] = ()) -> tuple[str, ...]:
    """Return patterns of the context files that the toolchain stage and its dependencies read."""
    numbers = {stage.number for stage in file.needs(args, STAGE, tuple(contexts)).stages}
    values = {**syntax.defaults(file.text), **args}
    return tuple(dict.fromkeys(posixpath.normpath(p.lstrip("/")) for p in _paths(file, numbers, values)))


#: Arguments that only the compile step uses; cargo does not see them.
_OF_THE_STEP = frozenset(
    (
        *("BINS", "PROGRAMS", "FEATURES", "NO_DEFAULT_FEATURES", "PROFILE", "SOURCE", "CACHE_SCOPE", "REBUILD", "BIN"),
        *("STRICT_TOOLCHAIN", "CARGO_INCREMENTAL", "STATIC", "CROSS_PACKAGES"),
    )
)


def environment(file: Dockerfile, args: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that the compile step's stage has in addition to those of the toolchain image.

    They come from its ENV lines and from arguments that the compose file sets, such as `SQLX_OFFLINE` or `RUSTFLAGS`.
    """
    numbers = {stage.number for stage in file.needs(args).stages if stage.caches}
    values = {**syntax.defaults(file.text), **args}
    found: dict[str, str] = {}
    number = -1
    for item in file.items:
        number += item.keyword == "FROM"
        if number in numbers and item.keyword == "ENV":
            found.update(
                (n, syntax.expand(v, {**values, **found})) for n, v in syntax.assignments(item) if v is not None
            )
        elif number in numbers and item.keyword == "ARG":
            found.update((n, args[n]) for n, _ in syntax.assignments(item) if n in args and n not in _OF_THE_STEP)
    return {n: v for n, v in found.items() if n not in syntax.PLATFORM_ARGS and n != "PATH"}


def _paths(file: Dockerfile, numbers: set[int], values: Mapping[str, str]) -> Iterator[str]:
    number = -1
    for item in file.items:
        number += item.keyword == "FROM"
        if number not in numbers:
            continue
        if item.keyword in ("COPY", "ADD"):
            options, rest = syntax.flags(item)
            if not options.get("from"):
                yield from (syntax.expand(word, values) for word in syntax.words(rest)[:-1])
        for mount in mounts.run_mounts(item):
            if mount.type == "bind" and not mount.options.get("from"):
                yield syntax.expand(mount.options.get("source") or mount.options.get("src") or ".", values)
