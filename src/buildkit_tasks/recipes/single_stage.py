"""Convert a single-stage Dockerfile, where the image is the toolchain itself, to a slim image."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from buildkit_tasks.distributions import users
from buildkit_tasks.dockerfiles import syntax
from buildkit_tasks.dockerfiles.syntax import Instruction
from buildkit_tasks.existing import install, recipe
from buildkit_tasks.existing.recipe import Copy, Recipe
from buildkit_tasks.survey import called
from buildkit_tasks.survey.finding import Note, Service
from buildkit_tasks.workspaces.tree import Tree

from . import directories, replaced
from .stage_lines import BUILT, Runtime, is_alpine, labels, packages_step, short
from .stages_text import is_remote, rebased
from .variables import ARGUMENTS

#: Directories that a program running in its own source tree may read.
ASSETS = (
    *("templates", "static", "public", "assets", "config", "configs", "migrations", "locales", "views", "resources"),
    *(
        "data",
        "dist",
        "www",
        "web",
        "certs",
        "Rocket.toml",
        "log4rs.yaml",
        "log4rs.yml",
        "config.toml",
        "settings.toml",
    ),
)


def derive(files: Tree, service: Service, taken: Recipe, packages: Sequence[str], image: str) -> Runtime:
    """Replace an image that was the toolchain itself with a slim image that has everything the program may need."""
    items = [item for stage in taken.image for item in stage.items]
    workdir, notes = "/", list[Note]()
    lines: list[str] = []
    installed = [p for i in items for p in install.packages(i)]
    wanted = [
        p
        for p in installed
        if not re.search(
            r"-dev$|^(?:build-essential|pkg-config|cmake|clang|gcc|g\+\+|make|protobuf-compiler|git|musl-tools|lld|mold)$",
            p,
        )
    ]
    tools = () if is_alpine(image) else called.packages(taken.image[0].base, service.runs)
    names = tuple(dict.fromkeys((*packages, *wanted, *tools)))
    lines += packages_step(names, argument="RUNTIME_PACKAGES", alpine=is_alpine(image)) if names else ()
    context: list[str] = []
    tail: list[str] = []
    for item in items:
        if item.keyword == "WORKDIR":
            workdir = posixpath.join(workdir, syntax.expand(item.rest, taken.values))
        if item.keyword in ("WORKDIR", "USER", "EXPOSE", "VOLUME", "STOPSIGNAL", "HEALTHCHECK", "LABEL", "ENV"):
            if text := recipe.line(item).text if item.keyword != "ENV" else _variables(item):
                tail.append(_started(text, service.binary))
        elif item.keyword in ("ENTRYPOINT", "CMD"):
            tail.append(_started(recipe.line(item).text, service.binary))
    beside = _Beside(files, service, taken, from_alpine=is_alpine(taken.image[0].base) and not is_alpine(image))
    lines += beside.users
    tail += beside.lines
    context += beside.context
    notes += beside.notes
    for name in ASSETS:
        path = posixpath.normpath(posixpath.join(service.context, name))
        if files.exists(path):
            context.append(path)
            tail.append(f"COPY {path} {posixpath.join(workdir, name)}")
    used = set(re.findall(r"\$\{?(\w+)", "\n".join([*lines, *tail])))
    declared = {n: i for i in items if i.keyword == "ARG" for n, _ in syntax.assignments(i) if n in used - ARGUMENTS}
    tail += [recipe.line(item).text for item in dict.fromkeys(declared.values())]
    share = f"COPY --from=compile {BUILT}/${{BIN}}/ /usr/local/"
    lines += ["ARG CACHE_SCOPE", "ARG BIN", *labels(), share, *_ordered(tail)]
    if not any(t.startswith(("ENTRYPOINT", "CMD")) for t in tail):
        lines.append('ENTRYPOINT ["/usr/local/bin/service"]')
    held = f" with {', '.join(context)}" if context else ""
    notes.append(
        Note(
            taken.path,
            f"the image contained the toolchain and all sources; the new image is {image}{held}. "
            "Add any other files that the program reads",
            True,
        )
    )
    return Runtime(image, "", tuple(lines), tuple(context), (), False, tuple(notes), frozenset(beside.ran))


#: A word with its quotes and backslashes.
_WORD = re.compile(r"""(?:\\.|'[^']*'|"(?:\\.|[^"\\])*"|[^\s'"\\])+""")


def _variables(item: Instruction) -> str:
    """Return an ENV without cargo's variables; empty if it has no others."""
    pairs = syntax.assignments(item)
    kept = [not re.search(r"CARGO_|RUST(?:FLAGS|UP)", name) for name, _ in pairs]
    if all(kept):
        return recipe.line(item).text
    words = [word for word, keep in zip(_WORD.findall(item.rest), kept, strict=False) if keep]
    return " ".join(["ENV", *words]) if any(kept) else ""


_USERS = re.compile(r"(?:user|group)(?:add|mod)\b|add(?:user|group)\b")


class _Beside:
    """What an image contains besides the toolchain and the sources: users, and files copied to other directories.

    `ran`: the commands that the new image runs, as `Dockerfile:LINE`.
    """

    def __init__(self, files: Tree, service: Service, taken: Recipe, *, from_alpine: bool) -> None:
        self.files, self.service, self.taken, self.workdir = files, service, taken, "/"
        self.from_alpine, self.ran = from_alpine, set[str]()
        self.users, self.lines, self.context = list[str](), list[str](), list[str]()
        self.notes, self.places, self.roots = list[Note](), list[str](), set[str]()
        compiling = {stage.name for stage in taken.compiling if stage.compiles}
        stages = [(stage, stage.name in compiling) for stage in taken.image]
        for stage, _ in stages:
            for item in stage.items:
                self._directory(item)
                if item.keyword == "RUN" and replaced.CARGO_RUNS.search(f"{item.rest}\n{item.body}"):
                    self.roots.add(posixpath.normpath(self.workdir))
        self.workdir = "/"
        for stage, compiles in stages:
            for item in stage.items:
                self._directory(item)
                if item.keyword in ("COPY", "ADD"):
                    self._copy(item)
                elif item.keyword == "RUN":
                    self._run(item, stage.path, noted=compiles)

    def _directory(self, item: Instruction) -> None:
        if item.keyword == "WORKDIR":
            self.workdir = posixpath.join(self.workdir, syntax.expand(item.rest, self.taken.values))

    def _in_repository(self, source: str) -> str:
        return posixpath.normpath(posixpath.join(self.service.context, source.lstrip("/") or "."))

    def _copy(self, item: Instruction) -> None:
        copy = recipe.copied(item, self.taken.values)
        if copy is None or copy.stage.lower() in {stage.name for stage in self.taken.compiling}:
            return
        place = posixpath.normpath(posixpath.join(self.workdir, copy.destination))
        if any(_is_in(place, root) or (_is_in(root, place) and self._has_sources(copy)) for root in self.roots):
            return  # sources, which the compile step reads
        inside = copy.destination.endswith(("/", ".")) or len(copy.sources) > 1
        self.places += [] if place in directories.USUAL else [place]
        if inside:
            self.places += [posixpath.join(place, posixpath.basename(s.rstrip("/"))) for s in copy.sources]
        self.lines.append(self._absolute(item, copy))
        if not copy.stage:
            self.context += [self._in_repository(s) for s in copy.sources if not is_remote(s)]

    def _has_sources(self, copy: Copy) -> bool:
        """Return whether a COPY into a parent of cargo's directory copies a crate."""
        paths = [self._in_repository(source) for source in copy.sources if not (copy.stage or is_remote(source))]
        below = [inside for path in paths for inside in (path, *self.files.below(path))]
        return any(path in (".", self.service.context) for path in paths) or any(
            path.endswith((".rs", "Cargo.toml")) for path in below
        )

    def _absolute(self, item: Instruction, copy: Copy) -> str:
        """Return the line with an absolute destination: in the new image, WORKDIR lines precede all COPY lines."""
        text = rebased(self.service, item)
        place = posixpath.normpath(posixpath.join(self.workdir, copy.destination))
        if copy.destination.endswith(("/", "/.")) or copy.destination == ".":
            place = f"{place.rstrip('/')}/"
        head, rest = (text.split("\n", maxsplit=1)[0], text.partition("\n")[2]) if item.body else (text, "")
        last = re.search(r"([^\s\"'\[\]]+)([\"']?\s*\]?\s*)$", head)
        if not last or syntax.expand(last[1], self.taken.values, keep=True) != copy.destination:
            return text
        if copy.destination.startswith(("/", "$")):
            return text
        return f"{head[: last.start()]}{place}{last[2]}" + (f"\n{rest}" if item.body else "")

    def _run(self, item: Instruction, path: str, *, noted: bool) -> None:
        text = f"{syntax.flags(item)[1]}\n{item.body}".strip()
        parts = install.commands(text)
        own = [part for part in parts if _USERS.match(part)]
        where = f"{path}:{item.line}"
        if own and all(part in own or install.TIDY.match(part) for part in parts):
            self._users(recipe.line(item).text)
            self.ran.add(where)
            return
        if all(re.match(r"(?:chmod|chown|ln|sed)\b", part) for part in parts) and self._concerns_a_copy(text):
            self.lines.append(recipe.line(item).text)
            self.ran.add(where)
            return
        used = re.findall(r"\$\{?(\w+)", " ".join(own))
        if own and not item.body and not any(re.search(rf"(?<![\w$]){name}=", text) for name in used):
            self._users(f"RUN {' && '.join(own)}")
            taken = install.split(item)
            if taken and all(part in own for part in taken.rest):
                return
        if not noted and (own or not install.packages(item)) and not install.only_lists(item):
            self.notes.append(Note(where, f"the new image does not run this command: {short(item)}", True))

    def _users(self, line: str) -> None:
        self.users.append(users.convert(line) if self.from_alpine else line)

    def _concerns_a_copy(self, text: str) -> bool:
        return any(re.search(rf"(?<![\w./-]){re.escape(place)}(?=[/\s\"';]|$)", text) for place in self.places)


def _is_in(path: str, directory: str) -> bool:
    return f"{path}/".startswith(f"{directory.rstrip('/')}/")


def _started(text: str, binary: str) -> str:
    """Return the line with our path instead of `cargo run` or the program in cargo's target directory."""
    text = re.sub(
        r'"cargo"(?:\s*,\s*"[^"]*")*?\s*,\s*"run"(?:\s*,\s*"(?!--")[^"]*")*(?:\s*,\s*"--")?',
        '"/usr/local/bin/service"',
        text,
    )
    text = re.sub(r"cargo\s+run(?:\s+-(?!-\s)\S+(?:\s+\w[\w-]*)?)*(?:\s+--(?=\s))?", "/usr/local/bin/service", text)
    return re.sub(
        rf"[\w./$-]*target/(?:[\w-]+/)?(?:release|debug)/{re.escape(binary)}\b", "/usr/local/bin/service", text
    )


def _ordered(lines: Sequence[str]) -> list[str]:
    """Place COPY after WORKDIR and before USER, so no later step needs the user's permissions."""
    rank = {
        "ARG": -1,
        "ENV": 0,
        "LABEL": 0,
        "WORKDIR": 1,
        "COPY": 2,
        "ADD": 2,
        "RUN": 2,
        "VOLUME": 3,
        "EXPOSE": 3,
        "USER": 4,
    }
    return sorted(lines, key=lambda text: rank.get(text.split()[0].upper(), 5))
