"""Replace lines of a YAML file in place, at positions reported by ruamel. All other bytes stay unchanged."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: Keys of `build:` that define what is built.
WHAT = ("context", "dockerfile", "dockerfile_inline", "target")


@dataclass(frozen=True)
class Span:
    """Lines [first, end) of a file and their replacement."""

    first: int
    end: int
    lines: Sequence[str]


@dataclass(frozen=True)
class Wanted:
    """The new `build:`. `args` are set, `defaults` are added if missing, `drop` is removed, as are
    the keys `unused` of `build:`."""

    what: Mapping[str, str]
    args: Mapping[str, str]
    defaults: Mapping[str, str] = field(default_factory=dict)
    drop: Sequence[str] = ()
    more: Mapping[str, object] = field(default_factory=dict)
    unused: Sequence[str] = ()


def lines(text: str) -> list[str]:
    """Return the lines of a file without line endings."""
    return [line.removesuffix("\r") for line in text.split("\n")]


def apply(text: str, spans: Sequence[Span]) -> str:
    """Apply the spans to the text, keeping its line endings."""
    found = lines(text)
    for span in sorted(spans, key=lambda s: (s.first, s.end), reverse=True):
        found[span.first : span.end] = span.lines
    return ("\r\n" if "\r\n" in text else "\n").join(found)


def end_of(mapping: Any, key: str, text: Sequence[str]) -> tuple[int, str]:
    """Return the line after a block mapping's value, and the indentation of its entries."""
    first, column = mapping.lc.key(key)
    end, indent = first + 1, ""
    for at in range(first + 1, len(text)):
        content = text[at].strip()
        depth = _depth(text[at])
        if content and not content.startswith("#") and depth <= column:
            break
        if content and not (content.startswith("#") and depth <= column):
            end = at + 1
            indent = indent or text[at][:depth]
    return end, indent


def build(services: Any, name: str, text: Sequence[str], wanted: Wanted) -> Span:
    """Return the span that sets a service's build: an existing block changed line by line, else a new block."""
    entry = services[name]
    positions = getattr(entry.lc, "data", None) or {}
    step = _step(services, text)
    if "build" not in positions:
        line = services.lc.key(name)[0]
        indent = " " * (_depth(text[line]) + step)
        return Span(line + 1, line + 1, _block(entry.get("build"), indent, step, wanted))
    first, column = entry.lc.key("build")
    if not re.match(r"\s*[\"']?build[\"']?\s*:", text[first]):
        return _flow(entry, first, text, wanted)
    end = _block_end(text, first, column)
    section = entry["build"]
    own = getattr(getattr(section, "lc", None), "data", None)
    if own and not _flowing(section) and min(position[0] for position in own.values()) > first:
        return Span(first + 1, end, _changed(section, text[first + 1 : end], first + 1, step, wanted))
    comment = re.search(r"\s+#.*$", text[first])
    block = _block(section, text[first][: _depth(text[first])], step, wanted)
    return Span(first, end, [block[0] + (comment[0] if comment else ""), *block[1:]])


def _flow(entry: Any, line: int, text: Sequence[str], wanted: Wanted) -> Span:
    """Rewrite a one-line service, `api: {build: ., ports: [...]}`, as a block of JSON, which is also YAML."""
    values = {**{str(k): _plain(v) for k, v in entry.items()}, "build": _values(entry["build"], wanted)}
    head = re.match(r"(\s*[^:]+:)", text[line])
    return Span(line, line + 1, [f"{head[1] if head else ''} {json.dumps(values)}"])


def _changed(section: Any, block: Sequence[str], offset: int, step: int, wanted: Wanted) -> list[str]:
    """Return a block mapping's lines with our keys in place of the original ones."""
    positions = {key: position[0] - offset for key, position in section.lc.data.items()}
    indent = block[min(positions.values())]
    indent = indent[: _depth(indent)]
    gone: set[int] = set()
    for key in (*WHAT, *wanted.unused):
        if key in positions:
            gone.update(range(positions[key], _key_end(block, positions[key], len(indent))))
    args = section.get("args")
    new_args: list[str] | None = None
    if "args" in positions:
        start = positions["args"]
        stop = _key_end(block, start, len(indent))
        kept = _kept_args(args, block[start:stop], wanted)
        new_args = kept or _args(args, indent, step, wanted)
        gone.update(range(start, stop))
    at = min((positions[k] for k in WHAT if k in positions), default=0)
    found: list[str] = []
    for number, line in enumerate(block):
        if number == at:
            found += [f"{indent}{key}: {_scalar(value)}" for key, value in wanted.what.items()]
        if "args" in positions and number == positions["args"]:
            found += new_args or []
        if number not in gone:
            found.append(line)
    if "args" not in positions:
        found += _args(args, indent, step, wanted)
    for key, value in wanted.more.items():
        if key not in section:
            found.append(f"{indent}{key}: {json.dumps(value)}")
    return found


def _kept_args(args: Any, block: Sequence[str], wanted: Wanted) -> list[str]:
    """Return the service's own block mapping of arguments with ours set; empty if written in another form."""
    positions = getattr(getattr(args, "lc", None), "data", None)
    first_line = block[0].split("#")[0].rstrip()
    if not isinstance(args, dict) or not positions or _flowing(args) or not first_line.endswith(":"):
        return []
    inner = next(line for line in block[1:] if line.strip() and not line.lstrip().startswith("#"))
    indent = inner[: _depth(inner)]
    found: list[str] = [block[0]]
    said: set[str] = set()
    for line in block[1:]:
        match = re.match(rf"{re.escape(indent)}[\"']?([\w.-]+)[\"']?\s*:", line)
        name = match[1] if match else ""
        if name in wanted.drop:
            continue
        if name in wanted.args:
            line = f"{indent}{name}: {_scalar(wanted.args[name])}"
        said.add(name)
        found.append(line)
    more = {**wanted.args, **{k: v for k, v in wanted.defaults.items() if k not in args}}
    return found + [f"{indent}{name}: {_scalar(value)}" for name, value in more.items() if name not in said]


def _args(args: Any, indent: str, step: int, wanted: Wanted) -> list[str]:
    return [f"{indent}args:", *(f"{indent}{' ' * step}{k}: {_scalar(v)}" for k, v in _joined(args, wanted).items())]


def _joined(args: Any, wanted: Wanted) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if isinstance(args, dict):
        given = {str(k): _plain(v) for k, v in args.items()}
    elif isinstance(args, list):
        given = {n: (v if equals else None) for n, equals, v in (str(a).partition("=") for a in args)}
    given = {k: v for k, v in given.items() if k not in wanted.drop}
    return {**given, **wanted.args, **{k: v for k, v in wanted.defaults.items() if k not in given}}


def _values(section: Any, wanted: Wanted) -> dict[str, Any]:
    old = section if isinstance(section, dict) else {}
    rest = {str(k): _plain(v) for k, v in old.items() if k not in (*WHAT, "args", *wanted.unused)}
    return {**wanted.what, "args": _joined(old.get("args"), wanted), **rest, **wanted.more}


def _block(section: Any, indent: str, step: int, wanted: Wanted) -> list[str]:
    """Return a complete `build:` with our keys and the other keys of the old or inherited build."""
    inner = indent + " " * step
    found = [f"{indent}build:"]
    for key, value in _values(section, wanted).items():
        if key == "args":
            found.append(f"{inner}args:")
            found += [f"{inner}{' ' * step}{name}: {_scalar(v)}" for name, v in value.items()]
        else:
            found.append(f"{inner}{key}: {_scalar(value)}")
    return found


def _scalar(value: Any) -> str:
    """Return a value on one line: a plain word unchanged, anything else as JSON, which is also YAML."""
    if value is None:
        return ""
    if isinstance(value, bool | int | float) or not isinstance(value, str):
        return json.dumps(value)
    safe = re.fullmatch(r"[A-Za-z0-9_./$-][\w./:${}?+=@-]*", value)
    risky = re.fullmatch(
        r"(?i)true|false|yes|no|on|off|null|~|[-+]?[._]*[0-9][0-9._]*(?:e[-+]?[0-9]+)?|0x[0-9a-f]+|\d+:\d+.*", value
    )
    return value if safe and not risky and not value.endswith(":") else json.dumps(value, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """Return a value without ruamel's formatting data."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    return float(value) if isinstance(value, float) else str(value)


def _flowing(node: Any) -> bool:
    style = getattr(node, "fa", None)
    return bool(style and style.flow_style())


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _block_end(text: Sequence[str], first: int, column: int) -> int:
    """Return the line after the last content that is indented deeper than a key."""
    end = first + 1
    for at in range(first + 1, len(text)):
        content = text[at].strip()
        if content and _depth(text[at]) <= column:
            break
        if content and not content.startswith("#"):
            end = at + 1
    return end


def _key_end(block: Sequence[str], first: int, column: int) -> int:
    """Like `_block_end`, but within a block, where list items may have the same indentation as the key."""
    end = first + 1
    for at in range(first + 1, len(block)):
        content = block[at].strip()
        if content and _depth(block[at]) <= column and not content.startswith("- "):
            break
        if content and not content.startswith("#"):
            end = at + 1
    return end


def _step(services: Any, text: Sequence[str]) -> int:
    """Return the file's indentation step, from a service's name to its keys."""

    def steps() -> Iterator[int]:
        for name, entry in services.items():
            if name in (getattr(services.lc, "data", None) or {}):
                data = getattr(getattr(entry, "lc", None), "data", None) or {}
                own = [p[0] for p in data.values() if p[0] > services.lc.key(name)[0]]
                if own:
                    yield _depth(text[min(own)]) - _depth(text[services.lc.key(name)[0]])

    return next((s for s in steps() if s > 0), 2)
