"""Masks .env values in another program's output. Compose prints a whole value if it cannot parse it."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping

from .text import MAX_BYTES, Refused, parse

MASK = "***"

#: Minimum length of values to mask: secrets are longer, and masking "1" or "on" would make messages unreadable.
_SHORTEST = 3

#: Values of at least this length are also masked inside words.
_LONG = 8

#: Variables that are not secret: messages about ports in use and compose files must show the port or the file.
_PUBLIC = re.compile(r"(?:^|_)(?:PORT|TAG|VERSION|LEVEL)$|^COMPOSE_(?:FILE|PROFILES|PROJECT_NAME)$")

#: `failed to read /x/.env: line 2: unterminated quoted value "s3cr…`: keep the part that describes the error.
#: BuildKit uses the same words for a Dockerfile.
_READING = re.compile(
    r"(failed to read (?!dockerfile: )[^\n]{0,4096}?: )((?:line \d+: )?)([^\n]*(?:\n(?!time=|failed ).*)*)"
)
_KNOWN = re.compile(
    r"key cannot contain a space|zero length string"
    r"|unexpected character (?:\"(?:\\.|[^\"\\])+\")(?= in variable name| \*\*\*)"
    r"|unterminated quoted value|Invalid template|read [^\n]+: is a directory"
    r"|required variable [A-Za-z_][A-Za-z0-9_]* is missing a value"
)
#: Compose 2.26 does not name the file of a service that it cannot read (`env_file`).
_BARE = re.compile(rf"^(line \d+: )({_KNOWN.pattern})[^\n]*(?:\n(?!time=).*)*", re.MULTILINE)
_TEMPLATE = re.compile(r'(Invalid template: )"(?:[^"\\]|\\.)*"?', re.IGNORECASE)


def mask(
    words: str,
    dotenv: str,
    *,
    public: str = "",
    shown: Callable[[], str] = str,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Return `words` with every value of the file `dotenv` masked, even if that file cannot be parsed.

    Not masked: values in `public` (the text of .env.example), words of the text that `shown` returns, values of one or
    two characters, and values that occur only in variables like `API_PORT`.
    """
    words = _READING.sub(_reading, words)
    words = _BARE.sub(rf"\1\2 {MASK}", words)
    words = _TEMPLATE.sub(rf'\1"{MASK}"', words)
    around = environment or {}
    words = _unset(words, dotenv, around)
    values = set(_pieces(dotenv, around)) - set(_pieces(public, around))
    found = {form: value for value in values for form in _forms(value) if form in words}
    if found:
        text = shown()
        found = {form: value for form, value in found.items() if not _contains(text, value)}
    if not found:
        return words
    pattern = "|".join(_pattern(form) for form in sorted(found, key=lambda f: (-len(f), f)))
    return re.sub(rf"(?P<kept>\b(?:line|column) \d+)|(?:{pattern})", lambda m: m["kept"] or MASK, words)


def secrets(
    dotenv: str,
    *,
    public: str = "",
    shown: Callable[[], str] = str,
    environment: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the variables that `mask` hides, with their values. Raises `Refused` if compose cannot read the text.

    As in compose, values in the environment override those in the text. The environment also provides the values of
    variables in `public` that the text does not set: in CI, there is often no .env.
    """
    around = environment or {}
    known = set(_pieces(public, around))
    values = parse(dotenv[:MAX_BYTES], around).values
    with contextlib.suppress(Refused):
        values = {**dict.fromkeys(parse(public[:MAX_BYTES], around).values, ""), **values}
    found = {}
    for name, own in values.items():
        value = around.get(name) or own
        lines = [line.strip() for line in value.splitlines()]
        if not _PUBLIC.search(name) and any(len(line) >= _SHORTEST and line not in known for line in lines):
            found[name] = value
    text = shown() if found else ""
    return {name: value for name, value in found.items() if not _contains(text, value)}


def _contains(text: str, value: str) -> bool:
    """Return whether a text contains a value as a whole word."""
    return value in text and re.search(rf"(?<![A-Za-z0-9_]){re.escape(value)}(?![A-Za-z0-9_])", text) is not None


def _unset(words: str, dotenv: str, environment: Mapping[str, str]) -> str:
    """Compose warns about the variable `cret` for `se$cret`: replace the name with its location."""
    with contextlib.suppress(Refused):
        for name, one in parse(dotenv[:MAX_BYTES], environment).unset.items():
            where = rf"\1{MASK}\2 (in the value of {one.name}, line {one.line} of .env)"
            words = re.sub(rf'(The \\?"){name}(\\?" variable)', where, words)
    return words


def _reading(found: re.Match[str]) -> str:
    said = _KNOWN.match(found[3])
    return found[1] + found[2] + (f"{said[0]} {MASK}" if said else MASK)


def _pieces(text: str, environment: Mapping[str, str]) -> Iterator[str]:
    """Yield every value as written and as parsed, whole and by line; for an unreadable file, any possible value."""
    for value in _values(text[:MAX_BYTES], environment):
        for line in (value, *value.splitlines()):
            for piece in (line.strip(), line.strip().strip("'\"")):
                if len(piece) >= _SHORTEST:
                    yield piece


def _values(text: str, environment: Mapping[str, str]) -> Iterator[str]:
    with contextlib.suppress(Refused):
        yield from (value for name, value in parse(text, environment).values.items() if not _PUBLIC.search(name))
    try:
        for one in parse(text, expand=False).assignments:
            if not _PUBLIC.search(one.name):
                yield from (text[one.value_start : one.end], one.value or "")
    except Refused:
        for line in text.splitlines():
            if not line.lstrip().startswith("#"):
                rest = re.split("[=:]", line, maxsplit=1)[-1]
                yield from (line, rest, *(word for word in rest.split() if len(word) >= _LONG))


def _forms(value: str) -> set[str]:
    """Return the value unchanged, as quoted by Go or JSON, and with compose's doubled `$`."""
    quoted = {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    shown = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return {form for v in ({value, shown} | quoted) for form in (v, v.replace("$", "$$"))}


def _pattern(form: str) -> str:
    if len(form) >= _LONG:
        return re.escape(form)
    return r"(?<![A-Za-z0-9_])" + re.escape(form) + r"(?![A-Za-z0-9_])"
