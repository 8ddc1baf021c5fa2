"""Determines from the shell text of a RUN what it does with cargo."""

from __future__ import annotations

import re

#: Maximum number of characters checked per line. Real lines are shorter; the limit bounds the patterns' run time.
_LINE_LIMIT = 10_000

_CARGO = re.compile(
    r"\bcargo(?:[ \t]+[+-]\S+)*[ \t]+"
    r"(?P<verb>build|b|rustc|run|r|test|t|check|c|clippy|bench|doc|install|fetch|zigbuild|xbuild|auditable|leptos|lambda|"
    r"nextest|vendor|chef[ \t]+cook)\b(?P<rest>[^\n;&|]*)"
)
_OTHER_BUILDERS = re.compile(
    r"\b(?:cargo-(?:chef[ \t]+cook|leptos)|trunk[ \t]+build|wasm-pack[ \t]+build|cross[ \t]+build)\b"
)
_NOT_LOCAL = ("fetch", "vendor", "chef")

# Commands that make the original file times irrelevant. Not `cargo clean -p`, which leaves objects of other profiles
# and has let a stub through (MystenLabs/hashi#444).
_GUARD = re.compile(
    r"\brsync\b[^\n;&|]*?[ \t](?:-[a-zA-Z]*c[a-zA-Z]*|--checksum)\b"
    r"|\btouch\b[^\n;&|]*\.rs\b|-exec(?:dir)?[ \t]+touch\b|\bxargs\b[^\n;&|]*\btouch\b"
    r"|\bcargo[ \t]+clean\b(?![^\n;&|]*[ \t](?:-p|--package)\b)"
    r"|checksum-freshness|CHECKSUM_FRESHNESS"
)
_REMOVED = re.compile(r"\brm\b[^\n;&|]*(?:\btarget\b|/deps/|\.fingerprint|CARGO_TARGET_DIR)")
_STUB = re.compile(
    r"\b(?:echo|printf)\b[^\n;&|]*>[ \t]*[\"']?[^\s;&|]*\.rs\b"
    r"|\bcargo[ \t]+(?:init|new)\b"
)
_LOCK = re.compile(r"\bflock\b|\.package-cache\b|\blockfile\b")
_COPIES = re.compile(r"(?:^|[\s;&|(])(?:cp|mv|install|strip|ln|upx|objcopy|tar)[ \t]")
_QUOTED = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"")


def of_rust(code: str) -> str:
    """Translate what a Rust program does with cargo into equivalent shell commands, which the rules look for."""
    lines = [line.partition("//")[0][:_LINE_LIMIT] for line in code.splitlines()]
    body = "\n".join(lines)
    said = [word for word in (".package-cache",) if word in body]
    if re.search(r"\b(?:utimensat|set_modified|set_times)\b", body):
        said.append("xargs touch")
    if '"cargo"' in body and '"build"' in body:
        said.append("cargo build --target TRIPLE" if "CARGO_BUILD_TARGET" in body else "cargo build")
    return "\n".join(said)


def compiled(text: str) -> dict[str, str]:
    """Return the programs that the text compiles with rustc, and the source file of each, both as written."""
    found: dict[str, str] = {}
    for made in re.finditer(r"\brustc\b[^\n;&|]*", text):
        program = re.search(r"[ \t]-o[ \t]+(\S+)", made[0])
        source = re.search(r"[ \t](\S+\.rs)\b", made[0])
        if program and source:
            found[program[1]] = source[1]
    return found


def without_comments(script: str) -> str:
    """Return a script without comment lines; very long lines are truncated."""
    return "\n".join(line[:_LINE_LIMIT] for line in script.splitlines() if not line.lstrip().startswith("#"))


def runs_cargo(text: str) -> bool:
    """Return whether the script fetches or compiles crates."""
    return bool(_CARGO.search(text) or _OTHER_BUILDERS.search(text))


def command(text: str) -> str:
    """Return the first command that fetches or compiles crates, as written; empty if there is none."""
    found = _CARGO.search(text)
    if found:
        return text[found.start() : found.start("rest")]
    other = _OTHER_BUILDERS.search(text)
    return other[0] if other else ""


def compiles(text: str) -> bool:
    """Return whether the script compiles crates: dependencies or the project's own."""
    return any(m["verb"] not in ("fetch", "vendor") for m in _CARGO.finditer(text)) or bool(
        _OTHER_BUILDERS.search(text)
    )


def compiles_sources(text: str) -> bool:
    """Return whether the script compiles the project's own sources, not only dependencies or an installed tool."""
    for found in _CARGO.finditer(text):
        verb = found["verb"].split()[0]
        if verb == "install":
            if "--path" in found["rest"]:
                return True
        elif verb not in _NOT_LOCAL:
            return True
    return bool(re.search(r"\b(?:trunk|wasm-pack|cross)[ \t]+build\b|\bcargo-leptos\b", text))


def distrusts_times(text: str) -> bool:
    """Return whether the script makes changed sources newer, or compares contents."""
    return bool(_GUARD.search(text))


def removes_objects(text: str) -> bool:
    """Return whether the script removes objects in a target directory."""
    return bool(_REMOVED.search(text))


def makes_stub(text: str) -> bool:
    """Return whether the script writes stub source files."""
    if _STUB.search(text):
        return True
    # `fn main() { println!("…"); }` contains operators that end a command elsewhere
    tails = (line.partition("fn main")[2] for line in text.splitlines())
    return any(
        re.search(r"(?:>|\btee\b)", tail) and ".rs" in re.split(r">|\btee\b", tail, maxsplit=1)[-1] for tail in tails
    )


def after_cargo(text: str) -> str:
    """Return the text after the first compilation."""
    found = _CARGO.search(text)
    return text[found.end() :] if found else ""


def before_cargo(text: str) -> str:
    """Return the text before the last compilation; everything if there is none."""
    found = list(_CARGO.finditer(text))
    return text[: found[-1].start()] if found else text


def locks(text: str) -> bool:
    """Return whether the script takes a lock or moves cargo's own lock."""
    return bool(_LOCK.search(text))


def copies_files(text: str) -> bool:
    """Return whether the script copies or moves files, outside of quotes."""
    return bool(_COPIES.search(_QUOTED.sub("''", text)))


def links(text: str, what: str) -> bool:
    """Return whether the script creates a symbolic link with this text in its path or target."""
    return bool(re.search(rf"\bln[ \t]+-\w*s[^\n;&|]*{re.escape(what)}\b", text))


def names(text: str) -> list[str]:
    """Return the bare words, without operators and quotes."""
    return [word for word in re.split(r"[\s;|&()<>\"'`,]+", text) if word]


def assigned(text: str, variable: str) -> str | None:
    """Return the last value assigned to a variable (`NAME=value`), None if there is none."""
    found = re.findall(rf"(?:^|[\s;&|]){variable}=[\"']?([^\s\"';&|]*)", text)
    return found[-1] if found else None


def option(text: str, name: str) -> str | None:
    """Return the last value of `--name value` or `--name=value`."""
    found = re.findall(rf"--{name}[ =][\"']?([^\s\"';&|]+)", text)
    return found[-1] if found else None


def directories(text: str) -> list[str]:
    """Return the directories that `cd` and `pushd` change to, in order."""
    return re.findall(r"(?:^|[\s;&|({])(?:cd|pushd)[ \t]+[\"']?([^\s\"';&|)]+)", text)
