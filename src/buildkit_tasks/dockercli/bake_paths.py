"""Makes the relative paths in a bake definition absolute, so bake can run in another directory. Pure.

bake reads the .env of its working directory and fails if it cannot parse it, although compose may never read that file.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: The fields of a comma-separated value that are paths, by the kind of value.
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "cache-from": ("src",),
    "cache-to": ("dest",),
    "output": ("dest",),
    "secret": ("src", "source"),
}

_LAYOUT = "oci-layout://"


def absolute(definition: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the definition with its relative paths resolved from `folder`."""
    targets = {name: _target(target, folder) for name, target in (definition.get("target") or {}).items()}
    return {**definition, "target": targets}


def _target(target: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    made = dict(target)
    for key, names in _FIELDS.items():
        if key in made:
            made[key] = [_fields(value, names, folder) for value in made[key]]
    if "ssh" in made:
        made["ssh"] = [_ssh(value, folder) for value in made["ssh"]]
    if "contexts" in made:
        made["contexts"] = {name: _context(value, folder) for name, value in made["contexts"].items()}
    return made


def _joined(path: str, folder: Path) -> str:
    return os.path.normpath(folder / path) if path and path != "-" else path


def _fields(value: str, names: tuple[str, ...], folder: Path) -> str:
    """Resolve paths in a value such as `type=local,src=cache`. Without a relative path, the value does not change."""
    try:
        (fields,) = csv.reader([value], strict=True)
    except (csv.Error, ValueError):
        return value
    found = []
    for field in fields:
        name, equals, path = field.partition("=")
        if equals and name.strip().lower() in names and not path.startswith("/"):
            field = f"{name}={_joined(path, folder)}"
        found.append(field)
    if found == fields:
        return value
    written = io.StringIO()
    csv.writer(written, lineterminator="").writerow(found)
    return written.getvalue()


def _ssh(value: str, folder: Path) -> str:
    name, equals, paths = value.partition("=")
    return f"{name}={','.join(_joined(path, folder) for path in paths.split(','))}" if equals else value


def _context(value: str, folder: Path) -> str:
    if value.startswith(_LAYOUT):
        return _LAYOUT + _joined(value.removeprefix(_LAYOUT), folder)
    plain = ":" not in value and not value.startswith("github.com/")  # everything else is a URL or a target
    return _joined(value, folder) if plain else value
