"""Formats a plan for the screen or `--json`, without showing passwords. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from buildkit_tasks.core.model import BuildPlan

#: Arguments that every builder predefines: https://docs.docker.com/build/building/variables/#proxy-arguments
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")


def proxies(env: Mapping[str, str]) -> dict[str, str]:
    """The proxy variables of an environment, in their original spelling (upper or lower case)."""
    return {n: env[n] for name in PROXIES for n in (name, name.lower()) if env.get(n)}


def _shown(definition: Mapping[str, Any], masked: Callable[[str], str]) -> dict[str, Any]:
    """The definition for display: arguments without values of .env, URLs without user and password."""
    shown: dict[str, Any] = json.loads(json.dumps(definition))
    for target in shown.get("target", {}).values():
        for key in ("args", "labels"):
            for name, value in target.get(key, {}).items():
                target[key][name] = masked(re.sub(r"//[^@/\s]*@", "//***@", value))
    return shown


def describe(plan: BuildPlan, masked: Callable[[str], str]) -> dict[str, Any]:
    """The plan as JSON-ready values, for `--plan --json`; `masked` removes the values of .env from a text."""
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
