"""Rules about sources with unreliable times, and about files read from a mount after its RUN has ended."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from buildkit_tasks.dockerfiles import syntax
from buildkit_tasks.lint.steps import CacheMount, Step, inside

from . import shell
from .mounts import Hit
from .reading import File


def check(file: File) -> Iterator[Hit]:
    """Yield BT005, BT008, BT009, BT010, BT011 and BT018 for one file."""
    yield from _read_out(file)
    yield from _copied_later(file)
    yield from _times(file)
    yield from _stubs(file)
    yield from _context(file)


# ---- BT005


def _read_out(file: File) -> Iterator[Hit]:
    for step in file.steps:
        for stage_name, path in _reads(step):
            stage = file.stage(stage_name)
            if stage and stage.index < step.stage and (mount := _only_a_mount(file, stage.index, path)):
                line = step.item.line_of(posixpath.basename(path))
                yield (
                    "BT005",
                    line,
                    f"{path} is read from {mount.path}, which exists only as a cache mount in the source stage.",
                )
        for path in _uses(step):
            mount = _only_a_mount(file, step.stage, path, before=step)
            if mount and not inside(path, [m.path for m in file.mounts(step)]):
                line = step.item.line_of(posixpath.basename(path))
                yield (
                    "BT005",
                    line,
                    f"{path} is in {mount.path}, which existed only as a cache mount in an earlier step.",
                )


def _reads(step: Step) -> Iterator[tuple[str, str]]:
    """Yield the stages and absolute paths that an instruction copies files from."""
    if step.from_stage:
        for source in step.copied[0]:
            yield step.from_stage, posixpath.join("/", source)
    for stage, source, _ in step.binds:
        if stage:
            yield stage, posixpath.join("/", source)


def _uses(step: Step) -> Iterator[str]:
    """Yield the paths that a RUN copies from, or that the container executes."""
    if step.keyword in ("ENTRYPOINT", "CMD"):
        yield from (step.absolute(w) for w in shell.names(step.item.rest.strip("[]"))[:1] if "/" in w)
    elif step.keyword == "RUN" and shell.copies_files(step.shell) and not shell.runs_cargo(step.shell):
        yield from (step.absolute(w) for w in shell.names(step.shell) if "/" in w and "=" not in w)


def _only_a_mount(file: File, stage: int, path: str, before: Step | None = None) -> CacheMount | None:
    """Return the cache mount that contains `path`, if nothing else ever wrote there."""
    chain = file.chain(stage)
    steps = [s for s in file.steps if s.stage in chain and (before is None or s.item.line < before.item.line)]
    found = None
    for step in steps:
        mounts = file.mounts(step) if step.keyword == "RUN" else ()
        for mount in mounts:
            if inside(path, [mount.path]) and mount.path != "/":
                found = mount
        if found and (step.copied[1] and inside(step.copied[1], [found.path])):
            return None
        if found and step.keyword == "RUN" and not any(inside(path, [m.path]) for m in mounts):
            # a step without the mount wrote there: cargo to its target directory, or a copy
            words = [step.absolute(w) for w in shell.names(step.shell) if "/" in w and "=" not in w]
            if found.kind == "target" and shell.compiles(step.shell):
                return None
            if any(inside(w, [found.path]) for w in words) and not shell.copies_files(step.shell):
                return None
    return found


# ---- BT018


def _copied_later(file: File) -> Iterator[Hit]:
    for step in file.runs:
        if not shell.copies_files(step.shell) or shell.runs_cargo(file.text(step)):
            continue
        paths = [step.absolute(w) for w in shell.names(step.shell) if "/" in w and "=" not in w]
        for mount in file.mounts(step):
            if mount.kind != "target" or not any(inside(path, [mount.path]) for path in paths):
                continue
            for earlier in file.history(step):
                if mount.id in {m.id for m in file.mounts(earlier)} and shell.compiles_sources(file.text(earlier)):
                    message = (
                        f"This RUN copies the output of an earlier RUN (line {earlier.item.line}) from {mount.path}."
                    )
                    yield "BT018", step.item.line, message
                    break


# ---- BT008


def _times(file: File) -> Iterator[Hit]:
    for step in file.runs:
        text = file.text(step)
        if not shell.compiles_sources(text) or shell.distrusts_times(text):
            continue
        target = next((m for m in file.mounts(step) if m.kind == "target"), None)
        if target is None:
            continue
        copied = next((s for s in reversed(file.history(step)) if s.keyword in ("COPY", "ADD") and s.copied[0]), None)
        bound = any(not stage for stage, _, _ in step.binds)
        if copied or bound:
            how = "bind-mounted" if bound else f"copied (line {copied.item.line if copied else 0})"
            yield (
                "BT008",
                step.item.line_of(shell.command(step.shell) or "cargo "),
                f"Sources are {how}, and cargo recompiles only those that are newer than the objects in {target.path}.",
            )


# ---- BT009


def _stubs(file: File) -> Iterator[Hit]:
    for stub in file.runs:
        text = file.text(stub)
        if not shell.makes_stub(text):
            continue
        rest = [s for s in file.steps if s.item.line > stub.item.line and stub.stage in file.chain(s.stage)]
        compiled = shell.compiles_sources(text)
        sources = False
        guarded = shell.removes_objects(shell.after_cargo(text))
        for step in rest:
            if step.keyword in ("COPY", "ADD") and step.copied[0]:
                sources = sources or compiled
                continue
            if step.keyword != "RUN":
                continue
            body = file.text(step)
            builds = shell.compiles_sources(body)
            before = shell.before_cargo(body) if builds else body
            bound = any(not stage for stage, _, _ in step.binds)
            if sources or bound:
                guarded = guarded or shell.distrusts_times(before)
            if compiled:
                guarded = guarded or shell.removes_objects(before)
            if builds and compiled and (sources or bound):
                if not guarded:
                    yield (
                        "BT009",
                        stub.item.line_of(".rs"),
                        f"This step compiles a stub; the real sources compiled on line {step.item.line} "
                        "may be older than its objects.",
                    )
                break
            compiled = compiled or builds


# ---- BT010, BT011


def _context(file: File) -> Iterator[Hit]:
    seen: set[int] = set()
    for step in file.runs:
        if not shell.compiles_sources(file.text(step)):
            continue
        for taker in (*file.history(step), step):
            options = syntax.flags(taker.item)[0]
            if taker.item.line in seen or "exclude" in options:
                continue
            sources = [s for stage, s, _ in taker.binds if not stage]
            if not taker.from_stage:
                sources += taker.copied[0]
            if sources:
                seen.add(taker.item.line)
                yield from _taken(file, taker, sources)


#: A file that only an ignore file without an allowlist lets into the context.
_UNLISTED = "a-file-that-no-ignore-file-names"


def _taken(file: File, taker: Step, sources: list[str]) -> Iterator[Hit]:
    what = "copied" if taker.keyword != "RUN" else "bind-mounted"
    line = taker.item.line_of("type=bind") if taker.keyword == "RUN" else taker.item.line
    # an allowlist with README.md includes it on purpose: a crate may read it
    if "." in sources and not file.ignore.excludes("README.md") and not file.ignore.excludes(_UNLISTED):
        missing = (
            "there is no .dockerignore" if file.source.ignore is None else ".dockerignore does not exclude README.md"
        )
        yield "BT011", line, f"The whole context is {what} for the compile step, and {missing}."
    unwanted = [".git"] if "." in sources and not file.ignore.excludes(".git/HEAD") else []
    spaces = file.source.workspaces or (".",)
    for source in sources:
        folders = [workspace for workspace in spaces if source == "." or inside(workspace, [source])]
        if not folders and not re.search(r"\.\w+$|[*?$]", source) and posixpath.basename(source) != "src":
            folders = [source] if file.source.workspaces == () and source != "." else []
        for folder in folders:
            target = posixpath.normpath(f"{folder}/target")
            if not file.ignore.excludes(f"{target}/debug/x"):
                unwanted.append(target)
    if unwanted:
        names = list(dict.fromkeys(unwanted))
        them = "it" if len(names) == 1 else "them"
        yield "BT010", line, f"{' and '.join(names)} would also be {what}: .dockerignore does not exclude {them}."
