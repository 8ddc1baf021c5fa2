"""The `develop.watch` section of a compose file, as compose resolves it. Pure.

Rules: https://docs.docker.com/reference/compose-file/develop/ and pkg/compose/watch.go of docker/compose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.dockerfiles.ignore import Ignore

from .rules import SHORT_LIVED, Action, Below, Rule, under

_KEYS = frozenset({"path", "action", "target", "ignore", "include", "initial_sync", "exec"})
_ACTIONS = {action.value: action for action in Action if action is not Action.RELOAD}


@dataclass(frozen=True)
class Trigger:
    """One entry of the section. `initial`: copy the files when watching begins."""

    path: str
    action: Action
    target: str = ""
    ignore: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    initial: bool = False


def triggers(name: str, entry: Mapping[str, Any]) -> tuple[Trigger, ...] | None:
    """Return the triggers of a service, or None if it has no `develop.watch` section.

    Problems: compose-key-unsupported for an unknown key or action, compose-invalid.
    """
    section = entry.get("develop")
    if not section:
        return None
    if unknown := _unknown(section, {"watch"}):
        raise _unsupported(name, f"develop.{unknown}")
    return tuple(_trigger(name, entry, found) for found in section.get("watch") or ())


def _trigger(name: str, entry: Mapping[str, Any], found: Mapping[str, Any]) -> Trigger:
    if unknown := _unknown(found, _KEYS):
        raise _unsupported(name, f"develop.watch.{unknown}")
    action = str(found.get("action") or "")
    if action not in _ACTIONS:
        raise _unsupported(name, f"develop.watch.action: {action}")
    if (found.get("exec") or {}).get("command"):  # compose prints an empty one for every trigger
        raise _unsupported(name, "develop.watch.exec")
    path, target = str(found.get("path") or ""), str(found.get("target") or "")
    made = Trigger(
        path=path.rstrip("/") or "/",
        action=_ACTIONS[action],
        target=target,
        ignore=tuple(map(str, found.get("ignore") or ())),
        include=tuple(map(str, found.get("include") or ())),
        initial=bool(found.get("initial_sync")),
    )
    if not path.startswith("/"):
        raise _invalid(name, f"the path {path!r} is not absolute in compose's model", "set `path:` in each rule")
    if made.action.syncs and not target.startswith("/"):
        raise _invalid(name, f"`{action}` for {path} needs an absolute target", "add `target:`")
    if made.action is Action.REBUILD and not entry.get("build"):
        raise _invalid(name, f"`rebuild` for {path} needs a service with `build:`", "use sync or restart")
    return made


def rules(
    name: str, found: Sequence[Trigger], ignore: Below | None, mounted: Sequence[str], skip: Callable[[str], None]
) -> Iterator[Rule]:
    """Yield a service's rules. `ignore`: the patterns of its .dockerignore; `mounted`: host paths of its bind mounts.

    As in compose, a trigger is not watched if its path is mounted; calls `skip` with the reason.
    """
    for trigger in found:
        if trigger.action.syncs and any(under(trigger.path, place) is not None for place in mounted):
            skip(f"{name}: {trigger.path} is a bind mount, so it is not synced")
            continue
        own = Below(trigger.path, patterns(name, trigger.ignore))
        include = Below(trigger.path, patterns(name, trigger.include)) if trigger.include else None
        ignores = (*((ignore,) if ignore else ()), SHORT_LIVED, own)
        yield Rule(name, trigger.action, trigger.path, ignores, include, trigger.target)


def patterns(name: str, given: Sequence[str]) -> Ignore:
    """Return the patterns of `ignore` or `include`. If a list contains `*`, compose keeps only its exceptions.

    Problems: compose-invalid for a malformed pattern.
    """
    kept = [one for one in given if one.startswith("!")] if "*" in given else list(given)
    try:
        return Ignore.parse("\n".join(one.replace("\n", " ") for one in kept))
    except ValueError as error:
        raise _invalid(name, str(error), "fix the pattern") from None


def mounts(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the host paths of a service's bind mounts."""
    volumes = (volume for volume in entry.get("volumes") or () if isinstance(volume, Mapping))
    return tuple(str(volume.get("source") or "") for volume in volumes if volume.get("type") == "bind")


def _unknown(section: Mapping[str, Any], known: frozenset[str] | set[str]) -> str:
    return next((key for key in section if key not in known and not key.startswith("x-")), "")


def _unsupported(name: str, what: str) -> Problem:
    return Problem(
        "compose-key-unsupported",
        f"`{what}` of the service {name!r} is not supported.",
        hint=f"docker compose watch {name}    (or use --service to watch only other services)",
    )


def _invalid(name: str, why: str, hint: str) -> Problem:
    return Problem("compose-invalid", f"`develop.watch` of the service {name!r} is invalid.", causes=[why], hint=hint)
