"""Generates the settings reference, as Markdown and as a JSON schema, from the declarations. Pure."""

from __future__ import annotations

import json
from typing import Any

from .setting import KINDS
from .settings import GROUPS, Known, known
from .settings_load import PREFIX, text


def markdown() -> str:
    """Return the text of `docs/reference/settings.md`."""
    lines = [
        "# Settings",
        "",
        "<!-- Generated from src/buildkit_tasks/config/settings.py by `nox -s reference`. -->",
        "",
        "To change the setting GROUP.NAME, add NAME to the table `[tool.buildkit-tasks.GROUP]` in",
        "pyproject.toml, or set the variable BUILDKIT_TASKS_GROUP_NAME in `.env` or in the environment.",
        "`.env` overrides pyproject.toml, environment variables override `.env`, and command-line options",
        "override all other sources. `invoke settings` shows the value of every setting and where the value",
        "comes from.",
        "",
        "    [tool.buildkit-tasks.packs]",
        '    repository = "ghcr.io/OWNER/PROJECT-cache"',
        "",
    ]
    for group, kind in GROUPS.items():
        lines += [f"## {group}", "", str(kind.__doc__), ""]
        for item in known():
            if item.group == group:
                lines += _entry(item)
    return "\n".join(lines).rstrip() + "\n"


def _entry(item: Known) -> list[str]:
    default = text(item.default, item.doc)
    facts = [f"Type: {KINDS[item.doc.kind].removeprefix('a ')}"]
    if item.doc.choices:
        facts = ["One of: " + ", ".join(f"`{c}`" if c else "empty" for c in item.doc.choices)]
    facts.append(f"Default: `{default}`" if default else "Default: empty")
    if item.doc.example:
        facts.append(f"Example: `{item.doc.example}`")
    variable = f"{PREFIX}{item.group}_{item.name}".upper()
    facts.append(f"Variable: `{variable}`")
    if item.doc.was:
        facts.append(f"Before 0.2: `{item.doc.was}`")
    return [f"### {item.dotted}", "", item.doc.text, "", *[f"- {fact}" for fact in facts], ""]


def schema() -> str:
    """Return a JSON schema (draft 2020-12) of the table `[tool.buildkit-tasks]`; old names are marked deprecated."""
    properties: dict[str, Any] = {
        group: {"type": "object", "description": kind.__doc__, "additionalProperties": False, "properties": {}}
        for group, kind in GROUPS.items()
    }
    for item in known():
        properties[item.group]["properties"][item.name] = {"description": item.doc.text, **_shape(item)}
        if item.doc.was:
            properties[item.doc.was] = {"deprecated": True, "description": f"now {item.dotted}", **_shape(item)}
    properties["bench"] = {"type": "object", "description": "Edits for `invoke bench`; see docs/reference/bench.md."}
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "[tool.buildkit-tasks]",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }
    return json.dumps(document, indent=2) + "\n"


def _shape(item: Known) -> dict[str, Any]:
    if item.doc.choices:
        return {"enum": list(item.doc.choices)}
    if item.doc.kind == "list":
        return {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    if item.doc.kind in ("size", "duration"):
        return {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0}]}
    return {"type": "string"}
