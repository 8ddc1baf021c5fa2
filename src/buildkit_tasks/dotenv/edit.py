"""Completes .env from .env.example: text in, text out. Keeps every byte that does not need to change."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import zip_longest

from .text import BOM, Assignment, DotEnv, Refused, parse

#: Values that need no quotes in .env, YAML, a shell or a URL.
_PLAIN = re.compile(r"[A-Za-z0-9_.~-]+")


@dataclass(frozen=True)
class Completion:
    """The new text, and the names that were added or filled in."""

    text: str
    filled: tuple[str, ...] = ()
    added: tuple[str, ...] = ()


def empty_names(example: str) -> tuple[str, ...]:
    """Return the names with an empty effective value in an example: secrets to generate. Raises `Refused`."""
    return tuple(name for name, a in parse(example, expand=False).counting.items() if a.blank)


def lacking(example: str, existing: str, generated: Iterable[str]) -> tuple[str, ...]:
    """Return the names that `complete` would fill in or add."""
    have, made = parse(existing, expand=False).counting, set(generated)
    wanted = parse(example, expand=False).counting
    return tuple(n for n in wanted if n not in have or (have[n].blank and n in made))


def complete(example: str, existing: str, generated: Mapping[str, str]) -> Completion:
    """Return all of `existing`, followed by the assignments that only `example` has.

    `generated`: values for names that are empty in the example. A name that is also empty in `existing` is filled in
    place. Raises `Refused`, also for `example`: parse that first.
    """
    for value in generated.values():
        if not _PLAIN.fullmatch(value):
            raise ValueError("a generated value must not need quotes")
    have, model = parse(existing, expand=False), parse(example, expand=False)
    missing = [name for name in model.counting if name not in have.counting]
    empty = {n: a for n, a in have.counting.items() if a.blank and n in generated}
    if not existing:
        text = _fill(model, {n: a for n, a in model.counting.items() if a.blank}, generated)
        return Completion(text, added=tuple(missing))
    text = _fill(have, empty, generated)
    if missing:
        end = "\r\n" if "\r\n" in text[: text.find("\n") + 1] else "\n"
        text += "" if text.endswith("\n") or text == BOM else end
        wanted = set(missing)
        lines = [_statement(model, a, generated) for a in model.assignments if a.name in wanted and a.value is not None]
        text += "".join(line + end for line in lines)
    done = Completion(text, tuple(empty), tuple(missing))
    _check(have, model, done, generated)
    return done


def _fill(source: DotEnv, empty: Mapping[str, Assignment], generated: Mapping[str, str]) -> str:
    """Return the text with generated values in the empty assignments."""
    parts, done = [], 0
    for one in sorted(empty.values(), key=lambda a: a.start):
        if one.name in generated:
            at, behind = _place(source.text, one)
            parts += [source.text[done:at], generated[one.name], behind]
            done = at
    return "".join([*parts, source.text[done:]])


def _place(text: str, one: Assignment) -> tuple[int, str]:
    """Return where to insert the value of an empty assignment, and what to put after it: a comment needs a space."""
    if one.quote:
        return one.value_start + 1, ""
    if one.end > one.value_start and text[one.value_start - 1] != " ":
        return one.value_start, " "
    yaml = one.end == one.value_start and text[one.behind - 1 : one.behind + 1] == ": "
    return one.behind + yaml, ""


def _statement(model: DotEnv, one: Assignment, generated: Mapping[str, str]) -> str:
    """Return one assignment exactly as in the example: all its lines, and the comment on the last one."""
    text = model.text
    line_end = text.find("\n", one.end)
    rest = text[one.end : len(text) if line_end < 0 else line_end].rstrip()
    tail = rest if rest.lstrip().startswith("#") else ""
    if not (one.blank and one.name in generated and model.counting[one.name] is one):
        return text[one.start : one.end] + tail
    at, behind = _place(text, one)
    return text[one.start : at] + generated[one.name] + behind + text[at : max(at, one.end)] + tail


def _check(before: DotEnv, model: DotEnv, done: Completion, generated: Mapping[str, str]) -> None:
    """Parse the result. Raises `Refused` if its meaning differs from what was intended."""
    after = parse(done.text, expand=False)
    filled = set(done.filled)
    for old, new in zip_longest(before.assignments, after.assignments[: len(before.assignments)]):
        meant = generated[old.name] if old.name in filled and before.counting[old.name] is old else old.value
        if new is None or (old.name, meant) != (new.name, new.value):
            raise Refused(old.line, f"completing the file would change {old.name}")
    for name in done.added:
        wanted = model.counting[name]
        meant = generated.get(name, wanted.value) if wanted.blank else wanted.value
        if name not in after.counting or after.counting[name].value != meant:
            raise Refused(wanted.line, f"completing the file would change {name}")
