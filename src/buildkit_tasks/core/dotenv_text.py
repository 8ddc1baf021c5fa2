"""Reading and completing .env as text. Values are never shown: a problem names the line, not its content."""

from __future__ import annotations

import io
from collections.abc import Mapping


def broken_lines(text: str) -> list[int]:
    """Numbers (from 1) of the lines python-dotenv cannot parse."""
    from dotenv.parser import parse_stream

    return [b.original.line for b in parse_stream(io.StringIO(text)) if b.error]


def values(text: str) -> dict[str, str]:
    """Key to value, last one wins; keys without a value are left out. No interpolation: compose does its own."""
    from dotenv import dotenv_values

    return {k: v for k, v in dotenv_values(stream=io.StringIO(text), interpolate=False).items() if v is not None}


def complete(example: str, existing: str, generated: Mapping[str, str]) -> str:
    """The .env text that holds everything of `existing` unchanged, then what `example` has and it has not.

    `generated` gives values for keys whose example value is empty. A key that exists with an empty value and has a
    generated one is filled in place; nothing else of the user's text changes.
    """
    have = values(existing)
    out: list[str] = []
    filled = set()
    for line in existing.splitlines(keepends=True):
        key = line.split("=", 1)[0].strip().removeprefix("export ").strip()
        if "=" in line and key in generated and have.get(key) == "" and key not in filled:
            end = "\n" if line.endswith("\n") else ""
            out.append(f"{line.split('=', 1)[0]}={generated[key]}{end}")
            filled.add(key)
        else:
            out.append(line)
    text = "".join(out)
    missing = [k for k in values(example) if k not in have]
    if not missing:
        return text
    if not existing:
        return _fill(example, generated, None)
    if text and not text.endswith("\n"):
        text += "\n"
    return text + _fill(example, generated, set(missing))


def _fill(example: str, generated: Mapping[str, str], only: set[str] | None) -> str:
    out: list[str] = []
    for line in example.splitlines(keepends=True):
        bare = line.split("=", 1)[0].strip()
        is_key = "=" in line and not bare.startswith("#")
        if only is not None and (not is_key or bare not in only):
            continue
        if is_key and bare in generated and line.split("=", 1)[1].strip() == "":
            line = f"{bare}={generated[bare]}\n"
        out.append(line)
    return "".join(out)
