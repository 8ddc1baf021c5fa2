"""`init --images bookworm`: convert services to rust:1-bookworm and debian:bookworm-slim, regardless of their images.

These two images can be built from Debian packages if no registry is reachable. Commands that install packages are
rewritten for Debian 12; package names without an equivalent become notes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from buildkit_tasks.dockerfiles import syntax
from buildkit_tasks.dockerfiles.syntax import Instruction
from buildkit_tasks.existing import install, recipe, stage_items
from buildkit_tasks.existing.recipe import Recipe, Stage
from buildkit_tasks.images import names as image_names
from buildkit_tasks.survey import called
from buildkit_tasks.survey.finding import Finding, Note, Service

from . import alpine, releases, users

RUST, DEBIAN = "rust:1-bookworm", "debian:bookworm-slim"


def apply(finding: Finding) -> Finding:
    """Return the finding with every recipe converted to Debian 12 images."""
    notes: list[Note] = list(finding.notes)
    packages = {w.cargo.directory: w.packages.run for w in finding.workspaces}
    services = tuple(_service(service, notes, packages.get(service.workspace, ())) for service in finding.services)
    pinned = {w.cargo.directory for w in finding.workspaces if w.cargo.toolchain}
    notes += [note for service in finding.services if service.workspace not in pinned for note in _toolchains(service)]
    return replace(finding, services=services, notes=tuple(dict.fromkeys(notes)))


def _service(service: Service, notes: list[Note], packages: Sequence[str]) -> Service:
    """`packages`: what its programs need at run time. With shared libraries, `scratch` does not work."""
    taken = service.recipe
    if taken is None:
        return service
    if "alpine" in taken.runtime and not image_names.convertible(taken.runtime):
        text = f"{taken.runtime} has no Debian equivalent, so {service.name} keeps its Dockerfile's images"
        notes.append(Note(taken.path, text))
        return service  # a program compiled for Debian would not start in it
    if taken.toolchain and not _plain(taken.toolchain):
        text = (
            f"{service.name} was compiled in {taken.toolchain} and is now compiled in {RUST}, which may lack some tools"
        )
        notes.append(Note(taken.path, text, True))
    shared = bool(set(packages) - {"ca-certificates"})
    static = "musl" in service.target or service.target == "gnu" or "alpine" in taken.toolchain
    target = service.target
    if taken.runtime == "scratch" and not shared:
        target = "gnu"  # scratch has no C library
    elif "musl" in target:
        target = ""
    converted = _recipe(taken, notes, shared)
    if target == "gnu" and converted.runtime == DEBIAN:
        target = ""
    bare = taken.runtime == "scratch" or _small(taken.runtime) or _toolchain(taken.runtime)
    if converted.runtime == DEBIAN and taken.runtime != DEBIAN:
        more = [*(packages if static or bare else ()), *called.packages(taken.runtime, service.runs)]
        converted = replace(converted, final=_with_packages(converted.final, more))
    return replace(service, recipe=converted, target=target)


def _small(image: str) -> bool:
    """Return whether an image contains little more than a C library: distroless, wolfi, chainguard, busybox."""
    return re.search(r"(?:^|/)(?:distroless|chainguard|wolfi|busybox)(?:[/:@-]|$)", image) is not None


def _plain(image: str) -> bool:
    """Return whether a toolchain image contains little more than the toolchain, or none."""
    known = r"cargo-chef|muslrust|rust-musl-\w+|rustlang/rust"
    return image_names.convertible(image) or re.search(rf"(?:^|/)(?:{known})(?:[:@]|$)", image) is not None


def _toolchain(image: str) -> bool:
    """Return whether a runtime image is a toolchain image, which includes many libraries."""
    return re.search(r"(?:^|/)(?:rust|buildpack-deps)(?:[:@]|$)", image) is not None


def _with_packages(final: tuple[Stage, ...], packages: Sequence[str]) -> tuple[Stage, ...]:
    """Before all other commands, install what formerly static programs need and what the old image had."""
    there = {name for stage in final for item in stage.items for name in install.packages(item)}
    names = list(dict.fromkeys(name for name in packages if name not in there))
    if not names or not final:
        return final
    text = f"apt-get update && apt-get install -y --no-install-recommends {' '.join(names)}"
    return (replace(final[0], items=(_line(f"RUN {text}", final[0].line), *final[0].items)), *final[1:])


def _recipe(taken: Recipe, notes: list[Note], shared: bool) -> Recipe:
    def put(stage: Stage) -> Stage:
        note: Callable[[str], None] = lambda text: notes.append(Note(taken.path, text, True))  # noqa: E731
        items = tuple(changed for item in stage.items for changed in [_item(item, note)] if changed)
        for item in items:
            for name in dict.fromkeys(_OTHER_SUITE.findall(f"{item.rest}\n{item.body}")):
                text = f"the package source names {name}, but the image is now Debian 12: use its suite for bookworm"
                notes.append(Note(f"{taken.path}:{item.line}", text, True))
        return replace(stage, items=items)

    small = _small(taken.runtime) or (shared and taken.runtime == "scratch")
    runtime = DEBIAN if small or image_names.convertible(taken.runtime) else taken.runtime
    final = tuple(put(stage) for stage in taken.final) if runtime == DEBIAN else taken.final
    if small:
        final = _with_nonroot(final, taken.runtime)
    if final:
        final = (replace(final[0], base=runtime), *final[1:])
    compiling = tuple(put(stage) for stage in taken.compiling)
    stages = {s.name: s for s in (*taken.stages, *compiling, *final)}
    return replace(
        taken,
        toolchain=RUST,
        runtime=runtime,
        final=final,
        compiling=compiling,
        stages=tuple(stages[s.name] for s in taken.stages),
    )


#: In a line of a package source: the codename of another release, also as in `bullseye-pgdg`.
_OTHER_SUITE = re.compile(
    r"\bdeb(?:-src)?\s+(?:\[[^\]]*\]\s+)?https?://\S+\s+((?:buster|bullseye|trixie|bionic|focal|jammy|noble)[\w-]*)"
)

#: A user that exists in small images but not in Debian.
_NONROOT = "65532"


def _with_nonroot(final: tuple[Stage, ...], image: str) -> tuple[Stage, ...]:
    """Use the numeric id of `nonroot`, which the old images define by name or use as the default user."""
    found = []
    for number, stage in enumerate(final):
        items = [_numbered(item) for item in stage.items]
        if number == 0 and ("nonroot" in image or "chainguard/" in image):
            lines = [_USER]
            if stage_items.start_directory(image) == _HOME:
                lines += [f"ENV HOME={_HOME}", f"WORKDIR {_HOME}"]
            items = [*(_line(text, stage.line) for text in lines), *items]
        found.append(replace(stage, items=tuple(items)))
    return tuple(found)


_USER = f"USER {_NONROOT}:{_NONROOT}"
_HOME = "/home/nonroot"


def _line(text: str, number: int) -> Instruction:
    keyword, _, rest = text.partition(" ")
    return Instruction(keyword, rest, number, ((number, text),))


def _numbered(item: Instruction) -> Instruction:
    if item.keyword not in ("USER", "COPY", "ADD") or "nonroot" not in item.rest:
        return item
    pattern = r"(?<=--chown=)nonroot(?::nonroot)?" if item.keyword != "USER" else r"^\s*nonroot(?::nonroot)?\s*$"
    rest = re.sub(pattern, f"{_NONROOT}:{_NONROOT}", item.rest)
    return replace(item, rest=rest, parts=((item.line, f"{item.keyword} {rest}"),))


#: Commands that install the toolchain, which the new toolchain image already includes.
_RUSTUP = re.compile(r"^(?:\S*/)?rustup-init\b|\b(?:sh\.rustup\.rs|static\.rust-lang\.org/rustup)\b.*\|\s*(?:ba)?sh\b")


def _toolchains(service: Service) -> Iterator[Note]:
    """Yield a note for each version that rustup installs in a compile stage, if no toolchain file names one."""
    for stage in service.recipe.compiling if service.recipe else ():
        for item in stage.items:
            text = f"{item.rest}\n{item.body}" if item.keyword == "RUN" else ""
            if found := re.search(r"--default-toolchain[ =]+[\"']?((?:\d|nightly|beta)[\w.-]*)", text):
                text = (
                    f"rustup installed {found[1]}, and {RUST} has another version: add a rust-toolchain.toml to keep it"
                )
                yield Note(f"{stage.path}:{item.line}", text, True)


def _without_rustup(item: Instruction) -> Instruction | None:
    """Return a RUN without the commands that install rustup; None if it has no others."""
    whole = " ".join(f"{item.rest} {item.body}".split())
    if not re.search(r"rustup", whole) or re.search(r"<<|\bif\b|\bfor\b|\bcase\b", whole):
        return item
    parts = install.commands(whole)
    kept = [part for part in parts if not _RUSTUP.search(part)]
    if len(kept) == len(parts):
        return item
    rest = " && ".join(kept)
    return replace(item, rest=rest, parts=((item.line, f"RUN {rest}"),), body="") if kept else None


def _item(given: Instruction, note: Callable[[str], None]) -> Instruction | None:
    item = _without_rustup(given) if given.keyword == "RUN" else given
    if item is None or item.keyword != "RUN":
        return item
    whole = recipe.line(item).text
    if re.search(r"\bapk\s", whole) and (item.body or _SCRIPT.search(item.rest)):
        text = _APK.sub(lambda found: _apt(found[0], note) or ":", whole)
        return replace(next(syntax.instructions(text)), line=item.line)
    if re.search(r"\bapk\s", whole):
        rest = _without_apk(item.rest, note)
        rest = users.convert(rest)
        return None if not rest.strip() else replace(item, rest=rest, parts=((item.line, f"RUN {rest}"),), body="")
    if re.search(r"\bapt(?:-get)?\s", whole):
        lines = _debian_names("\n".join(text for _, text in item.parts)).split("\n")
        numbers = [number for number, text in item.parts for _ in range(text.count("\n") + 1)]
        parts = tuple(zip(numbers, lines, strict=True))
        return replace(item, rest=_debian_names(item.rest), body=_debian_names(item.body), parts=parts)
    rest = users.convert(item.rest)
    return item if rest == item.rest else replace(item, rest=rest, parts=((item.line, f"RUN {rest}"),))


#: The words after `apt-get install`, up to the end of the command.
_INSTALLED = re.compile(r"(?<=\binstall\s)(?:\\\n|[^;&|\n])*")
#: A package name with a version. Options may contain `=`, too: `-o Acquire::Retries=5`.
_VERSIONED = re.compile(r"(?<!\S)([a-z0-9][a-z0-9+.-]+(?::[a-z0-9]+)?)=(?:[0-9*~]|\$\{?\w)[\w.:*+~${}-]*(?=[\s\\]|$)")


#: A package among those words.
_PACKAGE = re.compile(r"(?<![^\s])[a-z0-9][a-z0-9+.-]+(?=[\s\\]|$)")


def _debian_names(text: str) -> str:
    """Remove versions and use the package names of Debian 12."""

    def changed(words: re.Match[str]) -> str:
        return _PACKAGE.sub(lambda name: releases.debian_12(name[0]), _VERSIONED.sub(r"\1", words[0]))

    return _INSTALLED.sub(changed, text)


#: More than a chain of commands: only the apk calls may change.
_SCRIPT = re.compile(r"\|\||\b(?:if|for|case|while|until)\b|[{(]")
#: An apk call, up to the end of the command.
_APK = re.compile(r"(?<![\w/.-])apk\s(?:\\\n|[^;&|)\n])*(?<![\s\\])")


def _apt(command: str, note: Callable[[str], None]) -> str:
    """Return the apt-get calls for an apk call; empty if it installs nothing that Debian needs."""
    words = command.replace("\\\n", " ").split()
    if "add" not in words:
        return "apt-get update && apt-get upgrade -y" if "upgrade" in words else ""
    names: list[str] = []
    given = words[words.index("add") + 1 :]
    for before, word in zip(["", *given], given, strict=False):
        name = re.split(r"[=~<>@]", word)[0]
        if name.startswith("-") or not name or before in install.OPTION_WITH_VALUE:
            continue
        equivalent = alpine.debian(name)
        if equivalent is None:
            note(f"the Alpine package {name} was omitted: add its Debian equivalent")
        names += equivalent or ()
    if not names:
        return ""
    return f"apt-get update && apt-get install -y --no-install-recommends {' '.join(dict.fromkeys(names))}"


def _without_apk(text: str, note: Callable[[str], None]) -> str:
    """Return a chain of commands with `apt-get install` instead of `apk add`."""
    parts = []
    for part in install.commands(text):
        words = part.split()
        if "apk" not in words:
            parts.append(part)
            continue
        end = next((at for at, word in enumerate(words) if re.match(r"\|\|?$|\d?>", word)), len(words))
        if command := _apt(" ".join(words[:end]), note):
            parts.append(" ".join([command, *words[end:]]))
    return " && ".join(parts)
