"""Convert a single-stage Dockerfile, where the image is the toolchain itself, to a slim image."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from buildkit_tasks.dockerfiles import syntax
from buildkit_tasks.dockerfiles.syntax import Instruction
from buildkit_tasks.existing import install, recipe
from buildkit_tasks.existing.recipe import Recipe
from buildkit_tasks.survey import called
from buildkit_tasks.survey.finding import Note, Service
from buildkit_tasks.workspaces.tree import Tree

from . import replaced
from .stage_lines import BUILT, Runtime, is_alpine, labels, packages_step, short
from .stages_text import rebased
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
    beside = _Beside(service, taken)
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
    return Runtime(image, "", tuple(lines), tuple(context), (), False, tuple(notes))


def _variables(item: Instruction) -> str:
    """Return an ENV without cargo's variables; empty if it has no others."""
    pairs = syntax.assignments(item)
    kept = [(name, value) for name, value in pairs if not re.search(r"CARGO_|RUST(?:FLAGS|UP)", name)]
    if len(kept) == len(pairs):
        return recipe.line(item).text
    return " ".join(["ENV", *(f'{name}="{value or ""}"' for name, value in kept)]) if kept else ""


_USERS = re.compile(r"(?:user|group)(?:add|mod)\b|add(?:user|group)\b")


class _Beside:
    """What an image contains besides the toolchain and the sources: users, and files copied to other directories."""

    def __init__(self, service: Service, taken: Recipe) -> None:
        self.service, self.taken, self.workdir = service, taken, "/"
        self.users, self.lines, self.context = list[str](), list[str](), list[str]()
        self.notes, self.places, self.roots = list[Note](), list[str](), set[str]()
        compiling = {stage.name for stage in taken.compiling if stage.compiles}
        stages = [(stage, stage.name in compiling) for stage in taken.image]
        for stage, _ in stages:
            for item in stage.items:
                self._directory(item)
                if item.keyword == "RUN" and replaced.CARGO_RUNS.search(f"{item.rest}\n{item.body}"):
                    self.roots.add(self.workdir)
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

    def _copy(self, item: Instruction) -> None:
        copy = recipe.copied(item, self.taken.values)
        if copy is None:
            return
        place = posixpath.normpath(posixpath.join(self.workdir, copy.destination))
        if any(f"{place}/".startswith(f"{root.rstrip('/')}/") for root in self.roots):
            return  # sources, which the compile step reads
        if copy.stage.lower() in {stage.name for stage in self.taken.compiling}:
            return
        self.places += [place]
        self.lines.append(rebased(self.service, item))
        if not copy.stage:
            self.context += [
                posixpath.normpath(posixpath.join(self.service.context, s.lstrip("/") or "."))
                for s in copy.sources
                if "://" not in s and not s.startswith("<<")
            ]

    def _run(self, item: Instruction, path: str, *, noted: bool) -> None:
        text = f"{syntax.flags(item)[1]}\n{item.body}".strip()
        parts = install.commands(text)
        if all(_USERS.match(part) or install.TIDY.match(part) for part in parts) and _USERS.search(text):
            self.users.append(recipe.line(item).text)
        elif all(re.match(r"(?:chmod|chown|ln|sed)\b", part) for part in parts) and any(p in text for p in self.places):
            self.lines.append(recipe.line(item).text)
        elif not noted and not install.packages(item) and not install.only_lists(item):
            self.notes.append(
                Note(f"{path}:{item.line}", f"the new image does not run this command: {short(item)}", True)
            )


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
