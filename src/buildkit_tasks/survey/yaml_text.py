"""YAML files read with their anchors resolved, or so that they can be written again with comments and order kept."""

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
    """A reader and writer that keeps what it reads, with the indentation that `text` has."""
    from ruamel.yaml import YAML

    made = YAML()
    made.preserve_quotes = True
    made.width = 1 << 16  # no line is folded that was not
    maps, sequence, offset = _indents(text)
    made.indent(mapping=maps, sequence=sequence, offset=offset)
    return made


def _indents(text: str) -> tuple[int, int, int]:
    """The indentation that a file uses: of mappings, and of sequences with the dash's place in it."""
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
    """A compose file as a document that can be written again, or `plain`, with its anchors and merges resolved.

    Raises `Problem` compose-invalid with its line where it is not YAML.
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
            hint="correct the file; `docker compose config` checks it",
        ) from None
    return found if isinstance(found, dict) else mapping({})


def dump(document: Any, before: str, *, whole: bool = True) -> str:
    """A document as text in the manner of `before`; with `whole` it takes its place, else it becomes a part of it."""
    stream = io.StringIO()
    writer = editor(before)
    writer.explicit_start = whole and before.startswith("---")
    writer.dump(document, stream)
    text = stream.getvalue()
    if before.startswith("\ufeff"):
        text = f"\ufeff{text}"
    return text.replace("\n", "\r\n") if "\r\n" in before else text
