"""Loads the settings: default < pyproject.toml < `.env` < environment < command line, each value with its origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from buildkit_tasks.core import units
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.world import World

from . import root as project_root
from .setting import KINDS, Doc
from .settings import GROUPS, Known, Settings, known

PREFIX = "BUILDKIT_TASKS_"

_HINT = "run `invoke settings` to see every value and its origin; see docs/reference/settings.md"


@dataclass(frozen=True)
class Origin:
    """A setting's name (GROUP.NAME), its value as text, and its origin."""

    name: str
    value: str
    origin: str


@dataclass(frozen=True)
class Loaded:
    """The settings, their origins, and a warning for each setting under an old name."""

    settings: Settings
    origins: tuple[Origin, ...]
    renamed: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Given:
    value: Any
    origin: str
    old_name: str = ""


def load(world: World, root: Path, *, dotenv: Mapping[str, str], flags: Mapping[str, str] | None = None) -> Loaded:
    """Load the settings of the project at `root`. `flags`: by GROUP.NAME. Raises `Problem` settings-invalid."""
    section = project_root.pyproject(root).get("buildkit-tasks", {})
    _check_names(section)
    values: dict[str, dict[str, Any]] = {group: {} for group in GROUPS}
    origins, renamed = [], []
    for item in known():
        given = _Given(item.default, "default")
        for found in (
            _in_section(section, item),
            _in_variables(dotenv, item, ".env"),
            _in_variables(world.env, item, "environment"),
            _Given(flags[item.dotted], "command line") if flags and item.dotted in flags else None,
        ):
            given = found or given
        if item.dotted == "build.ca_bundle" and given.origin == "default":
            given = _default_ca(world)
        value = _typed(item, given) if given.origin != "default" else given.value
        if given.old_name:
            renamed.append(f"the setting {given.old_name} ({given.origin}) was renamed to {item.dotted}")
        values[item.group][item.name] = value
        origins.append(Origin(item.dotted, text(value, item.doc), given.origin))
    groups = {group: GROUPS[group](**chosen) for group, chosen in values.items()}
    return Loaded(Settings(root, **groups), tuple(origins), tuple(renamed))


def text(value: Any, doc: Doc) -> str:
    """Format a value the way users write it."""
    if doc.kind == "size":
        return units.human(value).replace(" ", "") if value else "0"
    if doc.kind == "duration":
        return f"{value:g}s"
    return " ".join(value) if doc.kind == "list" else str(value)


def _check_names(section: Mapping[str, Any]) -> None:
    """Reject unknown settings and suggest known ones. The table `bench` belongs to the benchmark."""
    groups: dict[str, list[str]] = {}
    old = {}
    for item in known():
        groups.setdefault(item.group, []).append(item.name)
        if item.doc.was:
            old[item.doc.was] = item.dotted
    unknown = []
    for key, value in section.items():
        name = key.replace("-", "_")
        if isinstance(value, Mapping) and name in groups:
            unknown += [f"{name}.{k}" for k in value if k.replace("-", "_") not in groups[name]]
        elif name not in old and name != "bench":
            unknown.append(key)
    if unknown:
        everything = [f"{g}.{n}" for g, names in groups.items() for n in names]
        near = get_close_matches(unknown[0], [*everything, *old], 1, 0.5)
        raise Problem(
            "settings-invalid",
            f"pyproject.toml has an unknown setting {unknown[0]!r} under [tool.buildkit-tasks].",
            causes=[f"did you mean {old.get(near[0], near[0])}?"] if near else [],
            hint=f"known settings: {', '.join(everything)}",
        )


def _in_section(section: Mapping[str, Any], item: Known) -> _Given | None:
    where = "pyproject.toml"
    group = section.get(item.group)
    if isinstance(group, Mapping):
        for name in (item.name, item.name.replace("_", "-")):
            if name in group:
                return _Given(group[name], where)
    for name in (item.doc.was, item.doc.was.replace("_", "-")) if item.doc.was else ():
        if name in section and not isinstance(section[name], Mapping):
            return _Given(_old(section[name], item), where, name)
    return None


def _in_variables(variables: Mapping[str, str], item: Known, where: str) -> _Given | None:
    name, old = f"{PREFIX}{item.group}_{item.name}".upper(), f"{PREFIX}{item.doc.was}".upper()
    if name in variables:
        return _Given(variables[name], f"{where} ({name})")
    if item.doc.was and old in variables:
        return _Given(_old(variables[old], item), f"{where} ({old})", old)
    return None


def _old(value: Any, item: Known) -> Any:
    """Convert a value under its old name, which implied the unit of a bare number."""
    return f"{value}{item.doc.unit}" if item.doc.unit and str(value).isdigit() else value


def _default_ca(world: World) -> _Given:
    """Return the host's own CA bundle, so builds trust whatever the host trusts, including a company CA."""
    given = world.env.get("SSL_CERT_FILE", "")
    if given and Path(given).is_file():
        return _Given(given, "environment (SSL_CERT_FILE)")
    system = Path("/etc/ssl/certs/ca-certificates.crt")
    return _Given(str(system), "default (system bundle)") if system.is_file() else _Given("", "default")


def _typed(item: Known, given: _Given) -> Any:
    """Convert the value to its type. Raises `Problem` settings-invalid with the name, origin and expected type."""
    value, doc = given.value, item.doc
    try:
        if doc.kind == "size":
            return int(value) if _whole(value) else units.amount(value) if value else 0
        if doc.kind == "duration":
            return float(value) if _whole(value) else units.duration(value)
        if doc.kind == "list":
            words = value.split() if isinstance(value, str) else value
            if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
                raise TypeError
            return tuple(words)
        if not isinstance(value, str):
            raise TypeError
    except (TypeError, ValueError, AttributeError):
        raise _invalid(given, item, f"is not {KINDS[doc.kind]}") from None
    if doc.choices and value not in doc.choices:
        raise _invalid(given, item, f"is not one of {', '.join(c or 'empty' for c in doc.choices)}")
    return value


def _whole(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool) and value >= 0) or (
        isinstance(value, str) and value.isascii() and value.isdigit()
    )


def _invalid(given: _Given, item: Known, why: str) -> Problem:
    example = f"for example {item.name} = {item.doc.example!r}; " if item.doc.example else ""
    return Problem(
        "settings-invalid",
        f"The setting {given.old_name or item.dotted} = {given.value!r} from {given.origin} {why}.",
        hint=example + _HINT,
    )
