"""The resolved compose model turned into a `Workspace`. Services are discovered, never listed in our code."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Port, Service, Workspace
from buildkit_tasks.core.settings import Settings


def from_compose(config: Mapping[str, Any], settings: Settings, files: Sequence[Path]) -> Workspace:
    """Build the value from `docker compose config --format json`.

    Raises `Problem` scope-missing when neither the compose file's `name:`, a CACHE_SCOPE build argument nor the setting
    gives the caches a name: a name taken from the folder would differ between two worktrees of one repository.
    """
    built: list[Service] = []
    images: dict[str, str] = {}
    ports: list[Port] = []
    project = str(config.get("name", ""))
    for name, entry in (config.get("services") or {}).items():
        ports += _ports(name, entry)
        if entry.get("build"):
            built.append(_service(project, name, entry, settings))
        elif entry.get("image"):
            images[name] = str(entry["image"])
    return Workspace(
        root=settings.root,
        project=project,
        scope=_scope(project, built, settings, files),
        compose_files=tuple(files),
        services=tuple(built),
        images=images,
        ports=tuple(ports),
        config=config,
    )


def _service(project: str, name: str, entry: Mapping[str, Any], settings: Settings) -> Service:
    build = entry["build"]
    args = {str(k): "" if v is None else str(v) for k, v in (build.get("args") or {}).items()}
    context = Path(build.get("context", "."))
    return Service(
        name=name,
        image=str(entry.get("image") or f"{project}-{name}"),
        context=context,
        dockerfile=context / build.get("dockerfile", "Dockerfile"),
        binary=args.get(settings.build.binary_arg) or name,
        args=args,
        target=str(build.get("target", "")),
        contexts={str(k): str(v) for k, v in (build.get("additional_contexts") or {}).items()},
    )


def _ports(name: str, entry: Mapping[str, Any]) -> Iterable[Port]:
    for port in entry.get("ports") or ():
        published = str(port.get("published") or "")
        if published.isdigit():
            yield Port(name, str(port.get("host_ip") or "0.0.0.0"), int(published), int(port["target"]))  # noqa: S104


def _scope(project: str, built: Sequence[Service], settings: Settings, files: Sequence[Path]) -> str:
    if settings.caches.scope:
        return settings.caches.scope
    for service in built:
        if service.args.get("CACHE_SCOPE"):
            return service.args["CACHE_SCOPE"]
    if any(re.search(r"^name\s*:", f.read_text("utf-8", errors="replace"), re.MULTILINE) for f in files):
        return project
    raise Problem(
        "scope-missing",
        "The cache mounts have no name of their own: the compose file has no top-level `name:`.",
        causes=[
            f"compose takes the folder's name ({project!r}); a second worktree would then start with empty caches, "
            "and another project in a folder of that name would share yours"
        ],
        hint=f"write `name: {project or 'my-project'}` at the top of {files[0].name if files else 'the compose file'}, "
        "or set scope under [tool.buildkit-tasks.caches]",
    )


def select(workspace: Workspace, wanted: Sequence[str]) -> tuple[Service, ...]:
    """The services asked for, in compose order; none asked = all. Comma lists are taken apart.

    Problems: unknown-service (near matches listed), duplicate-service, no-built-service.
    """
    names = [n.strip() for item in wanted for n in item.split(",") if n.strip()]
    if not workspace.services:
        raise Problem(
            "no-built-service",
            "The compose file has no service with a `build:` section.",
            hint="add `build:` to a service; docs/how-to/adopt.md shows one",
        )
    for name in names:
        check_name(name, workspace.names, others=tuple(workspace.images))
        if names.count(name) > 1:
            raise Problem("duplicate-service", f"The service {name!r} is named twice.", hint="name each service once")
    return tuple(s for s in workspace.services if not names or s.name in names)


def check_name(name: str, known: Sequence[str], others: Sequence[str] = ()) -> None:
    """Raise `Problem` unknown-service unless `name` is known; `others` exist but are not built here."""
    if name in known:
        return
    if name in others:
        raise Problem(
            "unknown-service",
            f"The service {name!r} is not built here: it uses a ready image.",
            hint=f"services that are built: {', '.join(known)}",
        )
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    raise Problem(
        "unknown-service",
        f"There is no service {name!r}." + (f" Did you mean {' or '.join(near)}?" if near else ""),
        hint=f"services: {', '.join(known)}",
    )
