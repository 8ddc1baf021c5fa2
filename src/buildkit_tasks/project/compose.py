"""Converts the resolved compose model to a `Workspace`. Services are discovered, never hard-coded."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from buildkit_tasks.config.settings import Settings
from buildkit_tasks.core import lists
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Service, Workspace

from . import host_ports


def from_compose(
    config: Mapping[str, Any], settings: Settings, files: Sequence[Path], *, explicit: bool = True
) -> Workspace:
    """Build a `Workspace` from compose's resolved model. `explicit`: whether the project's name was set by the user."""
    built: list[Service] = []
    keys = _keys(config.get("services") or {})
    images: dict[str, str] = {}
    project = str(config.get("name", ""))
    for name, entry in (config.get("services") or {}).items():
        if entry.get("build"):
            built.append(_service(project, name, entry, settings, keys[name]))
        elif entry.get("image"):
            images[name] = str(entry["image"])
    return Workspace(
        root=settings.root,
        project=project,
        scope=_scope(config, built, settings, explicit=explicit),
        compose_files=tuple(files),
        services=tuple(built),
        images=images,
        ports=tuple(host_ports.published(config, config.get("services") or ())),
        config=config,
    )


def _service(project: str, name: str, entry: Mapping[str, Any], settings: Settings, key: str) -> Service:
    build = entry["build"] if isinstance(entry["build"], Mapping) else {"context": entry["build"]}
    # omit an argument that has no value, not even in the environment: BuildKit then uses the default
    args = {str(k): str(v) for k, v in (build.get("args") or {}).items() if v is not None}
    context = str(build.get("context") or "")
    remote = "" if context.startswith("/") else context
    inline = str(build.get("dockerfile_inline") or "")
    file = str(build.get("dockerfile") or "Dockerfile")
    named = build.get("platforms") or ([entry["platform"]] if entry.get("platform") else [])
    more = (build.get("x-bake") or {}).get("contexts")
    return Service(
        name=name,
        image=str(entry.get("image") or f"{project}-{name}"),
        context=Path("/nonexistent" if remote else context),
        dockerfile=Path(file) if remote else _dockerfile(Path(os.path.normpath(Path(context) / file))),
        binary=args.get(settings.build.binary_arg) or name,
        args=args,
        target=str(build.get("target") or ""),
        contexts={str(k): str(v) for k, v in {**(build.get("additional_contexts") or {}), **(more or {})}.items()},
        inline=inline,
        remote=remote,
        key=key,
        platforms=tuple(map(str, named)),
        build=build,
    )


def _dockerfile(path: Path) -> Path:
    """Return the given path, or `dockerfile` in the same directory if there is no `Dockerfile`: buildx accepts both.

    https://github.com/docker/buildx/blob/master/build/opt.go (handleLowercaseDockerfile)
    """
    lower = path.with_name("dockerfile")
    return lower if path.name == "Dockerfile" and not path.exists() and lower.is_file() else path


def _keys(names: Iterable[str]) -> dict[str, str]:
    """Convert each service's name to a unique name for a bake target, which must not contain dots."""
    found: dict[str, str] = {}
    for name in sorted(names):
        key = name.replace(".", "_")
        while key in found.values():
            key += "_"
        found[name] = key
    return found


def _scope(config: Mapping[str, Any], built: Sequence[Service], settings: Settings, *, explicit: bool) -> str:
    """Return the prefix of the cache mounts' ids.

    Without an explicit project name, compose uses the folder's name. Projects in folders with the same name must not
    share their caches, so in this case the folder's path is included as a hash.
    """
    if settings.caches.scope:
        return settings.caches.scope
    for service in built:
        if service.args.get("CACHE_SCOPE"):
            return service.args["CACHE_SCOPE"]
    project = str(config.get("name", ""))
    if explicit:
        return project
    return f"{project}-{hashlib.sha256(os.fsencode(settings.root)).hexdigest()[:8]}"


def select(workspace: Workspace, wanted: Sequence[str]) -> tuple[Service, ...]:
    """Return the requested services (default: all), in compose order. Splits comma-separated lists.

    Problems: unknown-service (with suggestions), duplicate-service, no-built-service.
    """
    if not workspace.services:
        raise _nothing_built(workspace)
    names = expand(wanted, workspace.names, others=tuple(workspace.images))
    for name in names:
        if names.count(name) > 1:
            raise Problem(
                "duplicate-service", f"The service {name!r} was specified twice.", hint="pass each service only once"
            )
    return tuple(s for s in workspace.services if not names or s.name in names)


def _nothing_built(workspace: Workspace) -> Problem:
    if not workspace.inactive:
        return Problem(
            "no-built-service",
            "The compose file has no service with a `build:` section.",
            hint="add `build:` to a service (see docs/how-to/adopt.md)",
        )
    profiles = dict.fromkeys(profile for found in workspace.inactive.values() for profile in found)
    return Problem(
        "no-built-service",
        "No active service has a `build:` section.",
        causes=[
            f"{name} has a `build:` section, but is in an inactive profile: {', '.join(p)}"
            for name, p in workspace.inactive.items()
        ],
        hint=f"invoke build --service {','.join(workspace.inactive)}    (or set COMPOSE_PROFILES={','.join(profiles)})",
    )


def expand(wanted: Sequence[str], known: Sequence[str], others: Sequence[str] = ()) -> list[str]:
    """Return the named services, with patterns such as `worker-*` expanded; a pattern adds no duplicates.

    `others` as for `check_name`. Problems: unknown-service, also for a pattern that matches nothing.
    """
    found: list[str] = []
    for name in lists.names(wanted, "service"):
        if lists.is_pattern(name):
            matches = lists.matching(name, known)
            if not matches:
                check_name(name, known, others=())
            found += [match for match in matches if match not in found]
        else:
            check_name(name, known, others)
            found.append(name)
    return found


def check_name(name: str, known: Sequence[str], others: Sequence[str] = ()) -> None:
    """Raise `Problem` unknown-service unless `name` is known; `others` exist, but are not built here."""
    if name in known:
        return
    if name in others:
        raise Problem(
            "unknown-service",
            f"The service {name!r} is not built by this project; it uses an existing image.",
            hint=f"services that this project builds: {', '.join(known)}",
        )
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    raise Problem(
        "unknown-service",
        (f"No service matches {name!r}." if lists.is_pattern(name) else f"The service {name!r} does not exist.")
        + (f" Did you mean {' or '.join(near)}?" if near else ""),
        hint=f"available services: {', '.join(known)}",
    )
