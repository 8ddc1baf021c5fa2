"""A plan as values for a screen or `--json`; what of it is a password is not shown. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from buildkit_tasks.core.model import BuildPlan

#: Arguments that every builder knows without an ARG: https://docs.docker.com/build/building/variables/#proxy-arguments
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")


def proxies(env: Mapping[str, str]) -> dict[str, str]:
    """The proxy variables of an environment, in the spelling (capitals or not) that they have there."""
    return {n: env[n] for name in PROXIES for n in (name, name.lower()) if env.get(n)}


def _shown(definition: Mapping[str, Any]) -> dict[str, Any]:
    """The definition for a screen: what stands before the @ of a proxy's address is a password."""
    shown: dict[str, Any] = json.loads(json.dumps(definition))
    for target in shown.get("target", {}).values():
        for name, value in target.get("args", {}).items():
            if name.upper() in PROXIES:
                target["args"][name] = re.sub(r"//[^@/]*@", "//***@", value)
    return shown


def describe(plan: BuildPlan) -> dict[str, Any]:
    """The plan as JSON-ready values, for `--plan --json`."""
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
        "bake": _shown(plan.definition),
    }
