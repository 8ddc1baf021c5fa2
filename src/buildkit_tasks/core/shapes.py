"""Safely parses external JSON, TOML and YAML, and checks that values have the expected shape. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import Problem

if TYPE_CHECKING:  # this module loads at every start, and importing the model takes 5 ms
    from .model import Result

T = TypeVar("T")

#: A shape: a type, a mapping of names to shapes ("*" for all other names), or a list of one shape. None always fits.
Shape = Any


def loads(text: str | bytes, kind: type[T]) -> T:
    """Parse JSON of this type. Raises only ValueError, even for a document that is nested too deeply or not UTF-8."""
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(content, kind):
        raise ValueError(f"expected {_name(kind)}, found {_name(type(content))}")
    return content


def first(text: str, kind: type[T]) -> T:
    """Parse JSON of this type at the start of a text and ignore the rest. Raises only ValueError."""
    content = guarded(json.JSONDecoder().raw_decode, text)[0]
    if not isinstance(content, kind):
        raise ValueError(f"expected {_name(kind)}, found {_name(type(content))}")
    return content


def guarded(parse: Callable[[str], T], text: str) -> T:
    """Call a parser that raises ValueError. Also raises ValueError for a document that is nested too deeply."""
    try:
        return parse(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def check(value: object, shape: Shape, where: str = "") -> None:
    """Raise ValueError with the location if a value does not have the shape."""
    if value is None:
        return
    kind = dict if isinstance(shape, Mapping) else list if isinstance(shape, list) else shape
    if not isinstance(value, kind):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        wanted = " or ".join(map(_name, kinds))
        raise ValueError(f"{where or 'the document'}: expected {wanted}, found {_name(type(value))}")
    if isinstance(shape, Mapping) and isinstance(value, dict):
        for name, item in value.items():
            inner = shape.get(name, shape.get("*"))
            if inner is not None:
                check(item, inner, f"{where}.{name}".lstrip("."))
    elif isinstance(shape, list) and isinstance(value, list):
        for number, item in enumerate(value):
            check(item, shape[0], f"{where}[{number}]")


def answer(result: Result, kind: type[T], shape: Shape = None) -> T:
    """Parse the JSON printed by a command. Raises `Problem` answer-invalid."""
    try:
        content = loads(result.stdout, kind)
        if shape is not None:
            check(content, shape)
    except ValueError as error:
        raise invalid(result, error) from None
    return content


def answers(result: Result, shape: Shape = None, *, needs: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Parse the JSON objects printed by a command, one per line or as a list, each with the names in `needs`.

    Raises `Problem` answer-invalid.
    """
    try:
        return objects(result.stdout, shape, needs=needs)
    except ValueError as error:
        raise invalid(result, error) from None


def rows(result: Result, width: int) -> list[list[str]]:
    """Parse the lists of `width` strings printed by a command, one per line. Raises `Problem` answer-invalid."""
    try:
        found = [loads(line, list) for line in result.stdout.split("\n") if line.strip()]
        check(found, [[str]])
    except ValueError as error:
        raise invalid(result, error) from None
    return [[item or "" for item in row] for row in found if len(row) == width]


def objects(text: str, shape: Shape = None, *, needs: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Parse JSON objects, one per line or as a list. Raises ValueError."""
    text = text.strip()
    # not splitlines: JSON texts may contain other line separators
    lines = [] if text.startswith("[") else [line for line in text.split("\n") if line.strip()]
    found = loads(text, list) if text.startswith("[") else [loads(line, dict) for line in lines]
    check(found, [shape or {}])
    for item in found:
        if missing := [name for name in needs if not (item or {}).get(name)]:
            raise ValueError(f"{missing[0]} is missing")
    return found


def invalid(result: Result, why: object) -> Problem:
    """Return the problem for output that differs from what the program documents."""
    words = " ".join(result.command.argv[:4])
    return Problem(
        "answer-invalid",
        f"Cannot parse the output of `{words}`: {why}.",
        causes=[line for line in result.stderr.strip().splitlines()[-1:] if line],
        hint=f"run `{words} …` yourself; run `type -a {result.command.argv[0]}` to check for a wrapper",
    )


_NAMES = {"dict": "an object", "list": "a list", "str": "a string", "int": "a number", "float": "a number"}
_NAMES |= {"bool": "true or false", "NoneType": "null"}


def _name(kind: type) -> str:
    return _NAMES.get(kind.__name__, kind.__name__)
