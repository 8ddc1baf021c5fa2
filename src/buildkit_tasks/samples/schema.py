"""The JSON schema of `bench --json`, generated for docs/reference/bench.schema.json. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from . import catalogue, figures
from .present import SCHEMA

_NUMBER = {"type": "number", "minimum": 0}
_COUNT = {"type": "integer", "minimum": 0}


def _object(
    properties: Mapping[str, Any], description: str = "", *, optional: tuple[str, ...] = (), more: bool = False
) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object", "properties": dict(properties), "additionalProperties": more}
    found["required"] = [name for name in properties if name not in optional]
    return {"description": description, **found} if description else found


def _maybe(kind: Mapping[str, Any], description: str) -> dict[str, Any]:
    return {"description": description, "anyOf": [dict(kind), {"type": "null"}]}


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


def schema() -> str:
    """Return the JSON schema (draft 2020-12)."""
    contender = {"type": "string", "description": "a way of building, as in the table"}
    case = {"type": "string", "description": "a case, as in the table"}
    known = {"$comment": "usual values", "examples": [way.name for way in catalogue.WAYS]}
    sample = {
        "contender": {**contender, **known},
        "case": {**case, "examples": [case.title for case in catalogue.CASES]},
        "round": {**_COUNT, "description": "samples of a round were taken in turn; ratios are taken within it"},
        "seconds": {**_NUMBER, "description": "wall time"},
        "crates": _maybe(_COUNT, "crates that cargo compiled; a crate that two cargo runs compile counts twice"),
        "visible": _maybe({"type": "boolean"}, "the program contains the edits; null if nothing was edited yet"),
        "compile": _maybe(_NUMBER, "seconds of the steps that run cargo"),
        "memory": _maybe(_COUNT, "most memory in use at once, in bytes, beyond what was in use before"),
        "busy": {"type": "boolean", "description": "other processes kept the machine busy when the round began"},
    }
    row = {
        "case": case,
        "contender": contender,
        **dict.fromkeys(("median", "least", "most"), _NUMBER),
        "samples": _COUNT,
        "ratio": _maybe(_NUMBER, "median of: time of invoke build / this time, within a round"),
        "crates": _text("number or range of compiled crates, ? if unknown"),
        "correct": _text("yes, the number of WRONG programs, or empty if nothing was edited"),
        "low": _maybe(_NUMBER, f"lower end of {figures.SPREAD}; null with one round"),
        "high": _maybe(_NUMBER, "upper end"),
        "compile": _maybe(_NUMBER, "median"),
        "memory": _maybe(_COUNT, "maximum"),
        "busy": {**_COUNT, "description": "number of samples taken on a busy machine"},
        "rounds": {**_COUNT, "description": "number of rounds with a ratio"},
    }
    facts = {
        "cpus": _maybe(_COUNT, "processors"),
        "memory_gb": _COUNT,
        **{name: {"type": "string"} for name in ("system", "kernel", "engine", "buildx", "compose", "buildkit_tasks")},
        "services": _COUNT,
    }
    options = {
        "quick": {"type": "boolean"},
        "rounds": _COUNT,
        "cases": {"type": "array", "items": {"enum": [case.key for case in catalogue.CASES]}},
        "contenders": {"type": "array", "items": {"enum": [way.key for way in catalogue.WAYS]}},
    }
    names = {"type": "object", "additionalProperties": {"type": "string"}}
    bench = {
        "ended": {"type": "string", "format": "date-time"},
        "seconds": {**_NUMBER, "description": "duration of the run, including builds that are not measured"},
        "facts": _object(facts, "the machine and versions"),
        "options": _object(options, "what was measured, by key"),
        "edits": _object({name: {"type": "string"} for name in ("service", "code", "shared")}, "the edited files"),
        "left_out": {**names, "description": "contenders and cases that were not measured, or not to the end, and why"},
        "caches": {
            "type": "object",
            "additionalProperties": _COUNT,
            "description": "bytes of cache mounts and layers, for contenders that share them",
        },
        "samples": {"type": "array", "items": _object(sample)},
        "rows": {"type": "array", "items": _object(row), "description": "computed from the samples"},
    }
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "invoke bench --json",
        **_object(
            {
                "schema": {"const": SCHEMA},
                "bench": _object(bench),
                "compare": {"type": "object", "description": "with --compare"},
                "html": _text("with --html: the report's path"),
            },
            optional=("compare", "html"),
        ),
    }
    return json.dumps(document, indent=2) + "\n"
