"""Formats a plan for the terminal or `--json`, without passwords. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from buildkit_tasks.core.model import BuildPlan
from buildkit_tasks.images import names as image_names

#: The arguments that every builder predefines: https://docs.docker.com/build/building/variables/#proxy-arguments
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")


def proxies(env: Mapping[str, str]) -> dict[str, str]:
    """Return the proxy variables of an environment, in their original case."""
    return {n: env[n] for name in PROXIES for n in (name, name.lower()) if env.get(n)}


def _shown(definition: Mapping[str, Any], masked: Callable[[str], str]) -> dict[str, Any]:
    """Return the definition for display, without values from .env and without credentials in URLs."""
    shown: dict[str, Any] = json.loads(json.dumps(definition))
    for target in shown.get("target", {}).values():
        for key in ("args", "labels"):
            for name, value in target.get(key, {}).items():
                target[key][name] = masked(re.sub(r"//[^@/\s]*@", "//***@", value))
    return shown


def describe(plan: BuildPlan, masked: Callable[[str], str]) -> dict[str, Any]:
    """Return the plan as JSON-ready values, for `--plan --json`. `masked` hides values from .env in a string."""
    return {
        "project": plan.workspace.project,
        "services": [s.name for s in plan.services],
        "binaries": [s.binary for s in plan.compiled],
        "profile": plan.profile,
        "incremental": plan.incremental,
        "reasons": dict(plan.reasons),
        "notes": list(plan.notes),
        "mounts": list(plan.mounts),
        "platforms": dict(plan.routes),
        "builder": plan.builder or None,
        "bake": _shown(plan.definition, masked),
    }


def packaged(definition: Mapping[str, Any]) -> dict[str, str]:
    """Map each base image to our image that replaces it in the definition."""
    found: dict[str, str] = {}
    for target in definition.get("target", {}).values():
        for name, value in target.get("contexts", {}).items():
            image = str(value).removeprefix("docker-image://")
            if image.startswith(f"{image_names.OWN}/"):
                found[str(name)] = image
    return found


def rows(content: Mapping[str, Any], reasons: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the rows of the printed plan: fields with a value, replaced base images, and reasons."""
    found = [(name, _words(value)) for name, value in content.items() if name not in ("bake", "reasons")]
    found += [
        (f"image {name}", f"{image}, built from Debian packages")
        for name, image in sorted(packaged(content["bake"]).items())
    ]
    found += [(f"why {name}", why) for name, why in reasons.items()]
    return [(name, text) for name, text in found if text]


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {word}" for key, word in value.items())
    if isinstance(value, list):
        return ", ".join(dict.fromkeys(map(str, value)))
    return "" if value is None else str(value)
