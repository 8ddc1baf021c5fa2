"""Load YAML files, either with anchors resolved or with comments and order preserved for writing."""

from __future__ import annotations

import io
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from buildkit_tasks.core.errors import Problem


def mapping(values: Mapping[str, Any]) -> Any:
    from ruamel.yaml.comments import CommentedMap

    return CommentedMap(values)


def editor(text: str) -> Any:
    """Return a reader and writer that preserves the formatting, with the indentation of `text`."""
    from ruamel.yaml import YAML

    made = YAML()
    made.preserve_quotes = True
    made.width = 1 << 16  # do not fold lines
    maps, sequence, offset = _indents(text)
    made.indent(mapping=maps, sequence=sequence, offset=offset)
    return made


def _indents(text: str) -> tuple[int, int, int]:
    """Return the indentation of a file: for mappings, for sequences, and the offset of the dash."""
    mapping, offset = 2, None
    previous = 0
    lines = [line for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#")]
    for line in lines:
        depth = len(line) - len(line.lstrip(" "))
        if depth > previous == 0:
            mapping = depth
            break
        previous = depth
    for before, line in pairwise(lines):
        if line.lstrip().startswith("- ") and before.rstrip().endswith(":") and not before.lstrip().startswith("- "):
            offset = (len(line) - len(line.lstrip(" "))) - (len(before) - len(before.lstrip(" ")))
            break
    offset = max(0, 2 if offset is None else offset)
    return mapping, offset + 2, offset


def load(path: str, text: str, *, plain: bool = False) -> Any:
    """Load a compose file for editing or, with `plain`, with anchors and merges resolved.

    Raises `Problem` compose-invalid with the line if it is not valid YAML.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        found = (YAML(typ="safe") if plain else editor(text)).load(text)
    except (YAMLError, ValueError) as error:
        mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
        raise Problem(
            "compose-invalid",
            f"{path}{f', line {mark.line + 1}' if mark else ''} is not valid YAML.",
            causes=[getattr(error, "problem", None) or str(error).split("\n", maxsplit=1)[0]],
            hint="fix the file (check it with `docker compose config`)",
        ) from None
    return found if isinstance(found, dict) else mapping({})


def dump(document: Any, before: str, *, whole: bool = True) -> str:
    """Format a document like `before`, as its replacement if `whole`, else as a part of it."""
    stream = io.StringIO()
    writer = editor(before)
    writer.explicit_start = whole and before.startswith("---")
    writer.dump(document, stream)
    text = stream.getvalue()
    if before.startswith("\ufeff"):
        text = f"\ufeff{text}"
    return text.replace("\n", "\r\n") if "\r\n" in before else text
