"""The cargo commands in a Dockerfile: whether they build this repository, and their options."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from buildkit_tasks.dockerfiles import syntax
from buildkit_tasks.dockerfiles.syntax import Instruction

from . import shell_values

_CARGO = re.compile(
    r"(?:^|[\s;&|(/])(?:xx-)?cargo(?:\s+\+\S+)?\s+(?:auditable\s+)?(?:build|b|install|rustc|zigbuild|leptos|run|r|xtask)\b"
)


@dataclass(frozen=True)
class Cargo:
    """The options of a compile command in a Dockerfile. `paths`: directories of the selected crates;
    `examples`: if it builds nothing else; `toolchain`: name after `+`; `more`: other words that affect a program."""

    profile: str = ""
    features: tuple[str, ...] = ()
    default_features: bool = True
    target: str = ""
    packages: tuple[str, ...] = ()
    binaries: tuple[str, ...] = ()
    tool: str = "cargo"
    paths: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    all_features: bool = False
    toolchain: str = ""
    more: tuple[str, ...] = ()


def compiles(items: Sequence[Instruction]) -> bool:
    """Return whether a stage builds programs of this repository."""
    return any(
        i.keyword == "RUN"
        and _CARGO.search(f" {i.rest}\n{i.body}")
        and not re.search(r"(?:^|\s)(?:trunk|wasm-pack|wasm-bindgen)\s", f"{i.rest}\n{i.body}")
        and not _only_tools(f"{i.rest}\n{i.body}")
        for i in items
    )


def other_tool(text: str) -> str:
    """Return the tool that compiles this repository for something else, such as the browser; empty if there is none."""
    runs = "\n".join(f"{syntax.flags(i)[1]}\n{i.body}" for i in syntax.instructions(text) if i.keyword == "RUN")
    found = re.findall(r"\bcargo\s+(?:\+\S+\s+)?(nextest|make|dist|deb|ndk|lambda|cross|component)\b", runs)
    for_browsers = re.findall(r"(?m)(?:^|[;&|])\s*(trunk|wasm-pack|dx|perseus)\s+(?:build|bundle)\b", runs)
    return f"cargo {found[0]}" if found else for_browsers[0] if for_browsers else ""


def _only_tools(text: str) -> bool:
    """Return whether cargo only runs `install TOOL` from the registry, which does not build this repository."""
    found = re.findall(r"cargo(?:\s+\+\S+)?\s+(build|b|install|rustc|zigbuild|leptos|run|r|xtask)\b([^;&|\n]*)", text)
    return bool(found) and all(word == "install" and "--path" not in rest for word, rest in found)


def commands(items: Sequence[Instruction], values: Mapping[str, str]) -> tuple[Cargo, ...]:
    """Return the options of every command that builds this repository, in order. `cargo chef cook` uses the same."""
    found: list[Cargo] = []
    declared = [pair for item in items if item.keyword == "ARG" for pair in syntax.assignments(item)]
    empty = {name for name, value in declared if value is None and name not in values}
    for item in (i for i in items if i.keyword == "RUN"):
        text = branches_taken(syntax.expand(f"{item.rest}\n{item.body}", values, keep=True))
        text = shell_values.chosen(text, _holds)
        for match in re.finditer(r"cargo(?:\s+\+(\S+))?\s+(auditable\s+)?(\w+)\b([^;&|\n]*)", text):
            if match[3] not in ("build", "b", "install", "rustc", "zigbuild", "run", "r", "leptos", "xtask"):
                continue
            if match[3] == "install" and _is_tool(match[4]):
                continue
            rest = shell_values.expand(match[4], text[: match.start()])
            one = _options(match[3], syntax.words(rest), empty)
            more = ("cargo auditable", *one.more) if match[2] else one.more
            one = replace(one, toolchain=match[1] or "", more=more)
            if one.profile == "dev" and re.search(r"\$\([^)]*--release", text[match.start() :]):
                one = replace(one, profile="release")  # for `$(test ... && echo --release)`
            found.append(one)
    return tuple(found)


def builds(command: Cargo, binary: str, package: str, directory: str) -> bool:
    """Return whether a command builds a program: it selects nothing, the program, or its package by name or path."""
    if command.binaries:
        return binary in command.binaries
    if command.packages:
        return package in {name.rpartition("/")[2].rpartition("#")[2].partition("@")[0] for name in command.packages}
    return not command.paths or any(_leads_to(path, directory) for path in command.paths)


def _leads_to(path: str, directory: str) -> bool:
    """Return whether a path in a compile stage may be a directory of the repository: one ends with the other."""
    ends = [part for part in posixpath.normpath(path).split("/") if part not in ("", ".", "..")]
    place = [part for part in directory.split("/") if part != "."]
    shorter = min(len(ends), len(place))
    return not shorter or ends[-shorter:] == place[-shorter:]


def _is_tool(rest: str) -> bool:
    """Return whether the words after `cargo install` name a crate outside this repository."""
    return "--path" not in rest and re.search(r"--git\b|(?:^|\s)[A-Za-z][\w@.-]*", rest) is not None


_IF = re.compile(
    r"\bif\s+(?:\[\[?|test)\s+(?P<test>[^;\n]*?)\s*(?:\]\]?)?\s*[;\n]\s*then\b"
    r"(?P<yes>(?:(?!\b(?:if|elif|else|fi)\b).)*)(?:\belse\b(?P<no>(?:(?!\b(?:if|elif|else|fi)\b).)*))?\bfi\b",
    re.DOTALL,
)


def branches_taken(text: str) -> str:
    """Replace each `if` with the branch that runs, when its test can be evaluated from the text alone."""

    def taken(match: re.Match[str]) -> str:
        holds = _holds(syntax.words(match["test"]))
        if holds is None:
            return match[0]
        return (match["yes"] if holds else match["no"] or ":").strip().removesuffix(";")

    for _ in range(8):  # innermost first
        replaced = _IF.sub(taken, text)
        if replaced == text:
            break
        text = replaced
    return text


def _holds(words: Sequence[str]) -> bool | None:
    """Return whether a string test is true; None if it uses an unknown variable or tests something else."""
    if any("$" in word or "`" in word for word in words):
        return None
    match words:
        case ["-n", word]:
            return bool(word)
        case ["-z", word]:
            return not word
        case [one, "=" | "==", other]:
            return one == other
        case [one, "!=", other]:
            return one != other
        case [one, "-eq" | "-ne" as compare, other] if one.isdecimal() and other.isdecimal():
            return (int(one) == int(other)) == (compare == "-eq")
    return None


def _options(command: str, words: Sequence[str], empty: Collection[str]) -> Cargo:
    """`empty`: variables without a value."""
    given: dict[str, list[str]] = {}
    flags: set[str] = set()
    names = {"-F": "features", "-p": "package", "--bin": "bin", "--target": "target", "--profile": "profile"}
    more: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        if word == "--":
            more += [" ".join(words[at:])] if command == "rustc" else []
            break
        if re.match(r"-Z|--config(?:=|$)", word):
            valued = word in ("-Z", "--config")
            more.append(" ".join(words[at : at + 1 + valued]))
            at += 1 + valued
            continue
        name, equals, value = word.partition("=")
        key = names.get(name) or name.lstrip("-")
        if key in ("features", "package", "bin", "target", "profile", "path", "example") and name.startswith("-"):
            if not equals:
                at += 1
                value = words[at] if at < len(words) else ""
            given.setdefault(key, []).append(value)
        else:
            flags.add(word)
            more += [word] if shell_values.name(word) and shell_values.name(word) not in empty else []
        at += 1
    installs = command in ("install", "leptos") and "--debug" not in flags
    release = "release" if flags & {"--release", "-r"} or installs else ""
    profile = next(iter(given.get("profile", [])), release or "dev")
    return Cargo(
        profile,
        tuple(f for group in given.get("features", []) for f in re.split(r"[,\s]+", group) if f),
        "--no-default-features" not in flags,
        next(iter(given.get("target", [])), ""),
        tuple(given.get("package", [])),
        tuple(given.get("bin", [])),
        command if command in ("leptos", "xtask") else "cargo",
        tuple(given.get("path", [])),
        () if given.get("bin") or "--bins" in flags else tuple(given.get("example", [])),
        "--all-features" in flags,
        more=tuple(more),
    )
