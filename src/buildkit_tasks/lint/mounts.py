"""Rules about a mount: its id, its sharing, its owner, and whether cargo uses it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from itertools import combinations

from buildkit_tasks.lint.steps import CacheMount, Step, inside

from . import shell
from .reading import PLATFORM, File

#: Code, line, message, and severity if it differs from the rule's.
Hit = tuple[str, int, str] | tuple[str, int, str, str]

_ARCHITECTURE = re.compile(r"amd64|arm64|armv\d|x86[-_]64|aarch64|riscv64|ppc64|s390x|i386")
_DOWNLOADS = ("registry", "git")


def check(file: File) -> Iterator[Hit]:
    """Yield BT001, BT002, BT003, BT006, BT012, BT015 and BT017 for every cache mount of one file."""
    for step in file.runs:
        for mount in file.mounts(step):
            yield from _name(file, step, mount)
            if mount.kind == "target" and mount.sharing == "shared":
                said = "is shared" if "sharing" in mount.options else "is shared (the default)"
                yield "BT003", mount.line, f"The target mount {mount.path} {said} between concurrent builds."
            if mount.kind in _DOWNLOADS and mount.sharing == "locked":
                yield "BT012", mount.line, f"A build locks the mount {mount.path} for the whole compile step."
            yield from _owner(file, step, mount)
            yield from _place(file, step, mount)


def _name(file: File, step: Step, mount: CacheMount) -> Iterator[Hit]:
    if not mount.raw_id:
        # Other package managers tolerate mounts shared by projects; in a target directory, objects would get mixed up.
        severity = {"target": "error", "other": "note"}.get(mount.kind, "warning")
        yield "BT001", mount.line, f"The cache mount {mount.path} has no id.", severity
        return
    if mount.kind != "target":
        return
    spelt = _spelt_out(file, mount.raw_id)
    undeclared = [
        name
        for name in re.findall(r"\$\{?(TARGET(?:ARCH|PLATFORM|OS|VARIANT)|BUILD(?:ARCH|PLATFORM))\b", spelt)
        if name not in step.declared
    ]
    if undeclared:
        yield (
            "BT002",
            mount.line,
            f"{undeclared[0]} in the id of the mount {mount.path} is empty, because the stage does not "
            "declare it with ARG.",
            "error",
        )
        return
    if PLATFORM.search(spelt) or _ARCHITECTURE.search(mount.id) or re.fullmatch(r"\$\{\w+\}", mount.id):
        return
    cross = "BUILDPLATFORM" in file.stages[file.chain(step.stage)[-1]].platform
    if cross and (re.search(r"--target[ =]|\bzigbuild\b", file.text(step)) or "CARGO_BUILD_TARGET" in step.env):
        return  # with --target, cargo keeps each platform's objects in a separate directory
    several = file.source.platforms > 1 or bool(PLATFORM.search(file.source.text))
    yield (
        "BT002",
        mount.line,
        f"The id {mount.id!r} of the target mount does not contain the architecture.",
        "error" if several else "warning",
    )


def _spelt_out(file: File, raw: str) -> str:
    """Return the id, plus the values of the ARGs and ENVs in it: their defaults may contain the architecture."""
    text = raw
    for name in re.findall(r"\$\{?(\w+)", raw):
        text += " ".join(re.findall(rf"\b{name}=(\S+)", file.source.text))
    return text


def _owner(file: File, step: Step, mount: CacheMount) -> Iterator[Hit]:
    user, _, group = step.user.partition(":")
    if user in ("", "0", "root") or "$" in user or "readonly" in mount.options or "ro" in mount.options:
        return
    uid, gid, mode = (mount.options.get(name, "") for name in ("uid", "gid", "mode"))
    if "$" in step.expand(uid + gid):
        return
    uid, gid = step.expand(uid) or "0", step.expand(gid) or "0"
    try:
        bits = int(mode or "755", 8)
    except ValueError:
        bits = 0o755
    number = user if user.isdigit() else _uid(file, step, user)
    if bits & 0o002 or (bits & 0o020 and gid == group) or (number is None and uid != "0") or uid == number:
        return
    yield (
        "BT006",
        mount.line,
        f"The mount {mount.path} is owned by uid {uid}, but the step runs as USER {user}.",
    )


def _uid(file: File, step: Step, user: str) -> str | None:
    """Return the uid that an earlier useradd or adduser in the file assigns to a user."""
    for earlier in file.history(step):
        if "user" in earlier.shell:
            for command in re.split(r"[;&|\n]", earlier.shell):
                found = re.search(r"\b(?:useradd|adduser)\b.*?(?:-u|--uid)[ =](\S+)", command)
                if found and re.search(rf"(?:^|\s){re.escape(user)}(?:\s|$)", command):
                    number = earlier.expand(found[1])
                    return number if number.isdigit() else None
    return None


def _place(file: File, step: Step, mount: CacheMount) -> Iterator[Hit]:
    home = step.cargo_home
    known = home and "$" not in home and "$" not in mount.path
    text = file.text(step)
    if mount.kind in (*_DOWNLOADS, "home") and known and not inside(mount.path, [home]):
        if shell.assigned(text, "CARGO_HOME") is None and not shell.links(text, ".cargo"):
            yield "BT017", mount.line, f"Nothing uses the mount {mount.path}: CARGO_HOME is {home}."
        return
    if mount.kind == "home":
        holds = mount.path == "/usr/local/cargo" or mount.path.endswith("/.cargo")
        yield (
            "BT015",
            mount.line,
            f"The cache mount {mount.path} covers all of CARGO_HOME"
            + ("." if holds else ", including cargo's settings and credentials."),
            "error" if holds else "note",
        )
    if mount.kind == "target" and posixpath.basename(mount.path) == "target":
        yield from _unused_target(file, step, mount, text)


def _unused_target(file: File, step: Step, mount: CacheMount, text: str) -> Iterator[Hit]:
    # Only if the RUN itself calls cargo: a script may change the directory.
    if not shell.compiles_sources(step.shell) or "$" in mount.path + step.target_dir + step.workdir:
        return
    if step.target_dir:
        if not inside(step.target_dir, [mount.path]) and not inside(mount.path, [step.target_dir]):
            yield "BT017", mount.line, f"Nothing uses the mount {mount.path}: cargo compiles into {step.target_dir}."
        return
    moved = "CARGO_TARGET_DIR" in text or "--manifest-path" in text or shell.links(text, "target")
    settings = (body for path, body in file.source.files.items() if "/.cargo/" in f"/{path}")
    if moved or any(re.search(r"^\s*target-dir\s*=", body, re.MULTILINE) for body in settings):
        return
    places = [step.workdir]
    for where in shell.directories(step.shell):
        place = posixpath.normpath(posixpath.join(places[-1], step.expand(where)))
        if "$" in place or where == "-":
            return
        places.append(place)
    # cargo searches upwards for the workspace: target may be in any directory above the working directory
    if not any(inside(place, [posixpath.dirname(mount.path)]) for place in places):
        yield "BT017", mount.line, f"Nothing uses the mount {mount.path}: cargo runs in {places[-1]}."


# ---- rules that consider several steps, files and services


def across(files: Sequence[File]) -> Iterator[tuple[File, Hit]]:
    """Yield BT004 and BT014. Ids are global to the engine, so these rules consider all files together."""
    yield from _toolchains(files)
    yield from _races(files)


def _toolchains(files: Sequence[File]) -> Iterator[tuple[File, Hit]]:
    seen: dict[str, tuple[str, str]] = {}
    for file in files:
        for step in file.runs:
            if not shell.runs_cargo(file.text(step)):
                continue
            for mount in file.mounts(step):
                if mount.kind != "target":
                    continue
                image = file.image(step.stage)
                first, where = seen.setdefault(mount.id, (image, f"{file.source.name}:{mount.line}"))
                if first != image:
                    message = f"The target mount {mount.id!r} is used with {image} here and with {first} in {where}."
                    yield file, ("BT004", mount.line, message)


def _races(files: Sequence[File]) -> Iterator[tuple[File, Hit]]:
    users = [
        (file, step, mount)
        for file in files
        for step in file.runs
        if shell.runs_cargo(text := file.text(step)) and not _guarded(file, step, text)
        for mount in file.mounts(step)
        if mount.kind in _DOWNLOADS and mount.sharing == "shared"
    ]
    for file, step, mount in users:
        several = file.source.platforms > 1 and not PLATFORM.search(mount.raw_id)
        if several and not _serialised(file, step, file, step, platforms=True):
            yield file, _race(mount, "the same step for another platform")
    for (one, first, here), (two, second, there) in combinations(users, 2):
        if here.id != there.id or _serialised(one, first, two, second):
            continue
        if one is two:
            if second.stage in one.needs(first.stage) or first.stage in one.needs(second.stage):
                continue
            other = f"the step on line {first.item.line}"
        elif one.source is two.source:
            if first.item.line != second.item.line or _same_values(first, second):
                continue  # one step for both services
            other = f"a step of the service {one.service}"
        else:
            other = f"{one.source.name}:{here.line}"
        yield two, _race(there, other)


def _race(mount: CacheMount, other: str) -> Hit:
    return "BT014", mount.line, f"This step and {other} can write to the mount {mount.path} at the same time."


def _guarded(file: File, step: Step, text: str) -> bool:
    """Return whether the step takes a lock, an earlier layer links cargo's lock, or the lock is in a mount."""
    if any(m.kind in ("home", "lock") for m in file.mounts(step)) or shell.locks(text):
        return True
    return any(shell.locks(file.text(s)) for s in file.history(step) if s.keyword == "RUN")


def _serialised(one: File, first: Step, two: File, second: Step, *, platforms: bool = False) -> bool:
    """Return whether both steps use another mount that only one build at a time can use."""
    theirs = {m.id for m in two.mounts(second) if m.sharing == "locked"}
    mine = {m.id for m in one.mounts(first) if m.sharing == "locked" and not (platforms and PLATFORM.search(m.raw_id))}
    return bool(mine & theirs)


def _same_values(first: Step, second: Step) -> bool:
    return all(first.env.get(name) == second.env.get(name) for name in {*first.declared, *second.declared})
