"""Extract what a repository's own compile stages contribute to our Dockerfile: packages, environment, tools, files.

Our own step does the compilation. A line that does not fit into our Dockerfile becomes a note with its number.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

from buildkit_tasks.dockerfiles import mounts, syntax
from buildkit_tasks.dockerfiles.syntax import Instruction
from buildkit_tasks.existing import install, recipe, stage_items
from buildkit_tasks.existing.recipe import Recipe, Stage
from buildkit_tasks.survey.finding import Note

from . import placed, replaced, shell_variables
from .stage_lines import short
from .variables import ARGUMENTS, OURS, PLATFORM, TOOLS_READ

#: Commands that add a package source or run a script that does.
_PACKAGE_SOURCE = re.compile(r"\|\s*(?:sudo\s+)?(?:-E\s+)?(?:ba)?sh\b|/etc/apt/|\badd-apt-repository\b|\bapt-key\b")
#: Commands that accompany a package installation, including those of tonistiigi/xx.
_PACKAGING = re.compile(r"(?:xx-)?(?:apt-get|apt|apk)\s|set\s+-|rm\s+-rf?\s+/var|true$")
_USERS = re.compile(r"(?:user|group)add\b|add(?:user|group)\b")
#: Commands that work the same in every directory.
_ANYWHERE = re.compile(r"(?:if command -v rustup|rustup\s|getent\s|export\s+DEBIAN_FRONTEND)")
_TARGET = re.compile(r"\$(\{?)TARGET(PLATFORM|OS|ARCH|VARIANT)\b")
#: Variables of the user of the old compile stage. Ours runs as root.
_USER_OF = re.compile(r"\$\{?(HOME|USER)\b\}?")
#: The note on a command that cannot be converted.
LEFT = "this command in the compile stage was not converted"


@dataclass(frozen=True)
class Kept:
    """The lines that are added to our Dockerfile.

    `toolchain`: lines for the toolchain stage; `compile`: for the compile stage; `tools`: RUN lines that install
    programs; `generated`: (stage, its path, context path) needed before cargo runs; `mounts`: flags of the
    compile command; `context`: paths that the context must contain; `left`: line numbers of unconverted commands.
    """

    packages: tuple[str, ...] = ()
    toolchain: tuple[str, ...] = ()
    compile: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    generated: tuple[tuple[str, str, str], ...] = ()
    mounts: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    left: tuple[int, ...] = ()
    notes: tuple[Note, ...] = ()


class _Reader:
    def __init__(
        self, taken: Recipe, context: str, reads: Callable[[str], bool], exists: Callable[[str], bool]
    ) -> None:
        self.taken, self.context, self.reads, self.exists = taken, context, reads, exists
        self.placed, self.main = list[tuple[str, str]](), frozenset[str]()
        self.workdirs, self.crossing = dict[str, str](), set[str]()
        self.declared, self.arguments = dict[str, str](), dict[str, str]()
        self.before = recipe.syntax_defaults("\n".join(line.text for line in taken.header))
        self.copied = stage_items.shipped(taken)
        self.users = bool({"/etc/passwd", "/etc/group"} & self.copied)
        self.now, self.path, self.crosses, self.workdir, self.sources = "", taken.path, False, "/", False
        self.lists: dict[str, dict[object, None]] = {field.name: {} for field in fields(Kept)}

    def add(self, name: str, *values: object) -> None:
        self.lists[name].update(dict.fromkeys(values))

    def variable(self, *lines: str) -> None:
        """Add lines to the compile stage, unless they are from a stage that compiles another program."""
        if not self.main or self.now in self.main:
            self.add("compile", *lines)

    def command(self, line: str) -> None:
        """Add a command to the toolchain stage, after the variables that it may use.

        An ENV also applies to the compile stage; an ARG is limited to its stage, so it is declared in both. Our
        toolchain stage runs on the build platform, so TARGETARCH becomes BUILDARCH unless the user's stage does, too.
        """
        if not self.crosses:
            line = _TARGET.sub(r"$\1BUILD\2", line)
            for name in dict.fromkeys(re.findall(r"\$\{?(BUILD(?:PLATFORM|OS|ARCH|VARIANT))\b", line)):
                self.declared.setdefault(name, f"ARG {name}")
        variables = [name for name, text in self.declared.items() if text.startswith("ENV")]
        shell = {name for name in variables if not re.match(r"CARGO|RUST|SQLX", name)}
        used = "\n".join([line, *(self.declared[name] for name in shell)])
        for name in self.declared:
            if name in shell or re.search(rf"\$\{{?{name}\b", used):
                self._declare(name)
        here = self.workdir if not _ANYWHERE.match(re.sub(r"^RUN\s+(?:--\S+\s+)*", "", line)) else "/"
        self.add("toolchain", line if here == "/" else f"WORKDIR {here}\n{line}")

    def _declare(self, name: str) -> None:
        """Declare a variable in the toolchain stage, after those in its value. An ENV then applies to both stages."""
        text = self.declared[name]
        self._needed_by(text, name)
        self.add("toolchain", text)
        if text.startswith("ENV"):
            self.lists["compile"].pop(text, None)

    def _needed_by(self, text: str, name: str) -> None:
        """Declare the variables in the value of `name` in the toolchain stage."""
        for used in dict.fromkeys(re.findall(r"\$\{?(\w+)", text)):
            if used != name and used in self.declared:
                self._declare(used)
            elif used in self.arguments:
                self.add("toolchain", f"ARG {self.arguments[used]}")

    def note(self, item: Instruction, text: str, *, open_: bool = True) -> None:
        self.add("notes", Note(f"{self.path}:{item.line}", f"{text}: {short(item)}", open_))

    def stage(self, stage: Stage) -> None:
        self.workdir, sources_there = self.workdirs.get(stage.base.lower(), "/"), False
        self.now, self.path = stage.name, stage.path
        self.crosses = "BUILD" in stage.platform or stage.base.lower() in self.crossing
        self.crossing |= {stage.name} if self.crosses else set()
        self.placed = placed.directories(stage, self.taken.values)
        for item in stage.items:
            if item.keyword == "WORKDIR":
                self.workdir = posixpath.join(self.workdir, syntax.expand(item.rest.strip("\"'"), self.taken.values))
            elif item.keyword in ("ENV", "ARG"):
                self._variables(item, stage)
            elif item.keyword == "RUN":
                self._run(item, sources_there or placed.mounts_context(item))
            elif item.keyword in ("COPY", "ADD"):
                sources_there = self._copy(item, self.workdir) or sources_there
            elif item.keyword == "USER":
                self.note(item, "the compile stage now runs as root", open_=False)
        self.workdirs[stage.name] = self.workdir

    def _variables(self, item: Instruction, stage: Stage) -> None:
        commands = "\n".join(
            f"{i.rest}\n{i.body}" for s in self.taken.compiling for i in s.items if i.keyword in ("RUN", "ENV")
        )
        for name, value in syntax.assignments(item):
            if name == "PATH" and item.keyword == "ENV" and value:
                # programs in our own image must be found, too
                kept = value if re.search(r"\$\{?PATH\b", value) else f"{value}:$PATH"
                self._needed_by(kept, name)
                self.add("toolchain", f'ENV PATH="{kept}"')
                continue
            if name in OURS or name in ARGUMENTS or name.startswith("SCCACHE_"):
                continue  # an ENV would override the argument of our compile step
            value = value and _USER_OF.sub(lambda found: self.taken.values.get(found[1], found[0]), value)
            if value is None and item.keyword == "ARG":
                value = self.before.get(name)  # the default precedes the first FROM
            if item.keyword == "ARG":
                self.arguments[name] = name if value is None else f'{name}="{value}"'
            if item.keyword == "ARG" and not TOOLS_READ.fullmatch(name) and not self.reads(name):
                if not re.search(rf"\$\{{?{name}\b", f"{commands}\n{stage.base}") and value is None:
                    if not PLATFORM.fullmatch(name):
                        text = f"no source file uses {name}, so the argument is not passed to cargo"
                        self.note(item, text, open_=False)
                else:
                    self.declared[name] = f"ARG {self.arguments[name]}"
                continue
            text = name if value is None else f'{name}="{value}"'
            if re.search(r"\$\{?(?:PATH|HOME|PWD)\b", text):
                self._needed_by(value or "", name)
                self.add("toolchain", f"{item.keyword} {text}")
            else:
                # arguments used in the value
                for used in re.findall(r"\$\{?(\w+)", value or ""):
                    if used in self.arguments:
                        self.variable(f"ARG {self.arguments[used]}")
                self.declared[name] = f"{item.keyword} {text}"
                self.variable(f"{item.keyword} {text}")

    def _run(self, item: Instruction, sources_there: bool) -> None:
        text = f"{syntax.flags(item)[1]}\n{item.body}"
        for mount in mounts.run_mounts(item):
            if mount.type in ("ssh", "secret"):
                spec = ",".join(f"{k}={v}" for k, v in mount.options.items())
                self.add("mounts", f"--mount={spec}")
        read = placed.are_sources(self.placed, self.context, self.exists)
        writes = replaced.writes_for_an_image(text, self.copied, read)
        if (writes or (sources_there and replaced.DOWNLOADS.search(text))) and not replaced.CARGO_RUNS.search(text):
            self.command(recipe.line(item).text)
            return
        taken = install.split(item)
        parts = list(taken.rest) if taken else []
        if not sources_there and _PACKAGE_SOURCE.search(text) and "rustup.rs" not in text:
            self.sources = self.sources or not taken
        if not sources_there and self.sources and install.packages(item):
            self.command(recipe.line(item).text)  # packages from a source other than the image's
            return
        expanded = replace(item, rest=syntax.expand(item.rest, self.taken.values, keep=True))
        if taken:
            self.add("packages", *install.packages(expanded))
        elif replaced.SCRIPT.search(text):
            parts = [text.strip()]
        else:
            self.add("packages", *install.packages(expanded))
            parts = [p for p in install.commands(text) if not _PACKAGING.match(p)]
        self._shell_variables(item, text)
        for part in parts if sources_there else replaced.chains(parts):
            self._command(item, part, sources_there)

    def _shell_variables(self, item: Instruction, text: str) -> None:
        if self.main and self.now not in self.main:
            return  # variables of another program need no note
        fixed, computed = shell_variables.read(text)
        for name, value in fixed.items():
            if name not in OURS:
                escaped = value.replace("\\", "\\\\").replace('"', '\\"')
                self.variable(f'ENV {name}="{escaped}"')
        lost = [n for n, v in computed.items() if n not in OURS and shell_variables.changes(n, v)]
        lost = [name for name in lost if TOOLS_READ.fullmatch(name) or self.reads(name)]
        if lost:
            self.note(item, f"the shell computes {' and '.join(lost)} for cargo, but the compile step does not")

    def _command(self, item: Instruction, part: str, sources_there: bool) -> None:
        if re.fullmatch(r"rustup\s+(?:show|toolchain\s+install|update)(?:\s+-\S+)*", part):
            return  # a separate line installs the toolchain from the toolchain file
        if re.match(r"rustup\s+(?:toolchain|default|override)\b", part) and re.search(r"\$\(|`|rust-toolchain", part):
            return  # it reads that file, which the toolchain stage does not contain
        if re.match(r"cargo\s+(?:\+\S+\s+)?(?:test|nextest)\b", part):
            if sources_there:
                self.note(item, "image builds no longer run these tests")
            return
        if re.match(r"rustup\s+target\s+add\b", part) and "$" in syntax.expand(part, self.taken.values, keep=True):
            return  # computed for the target platform; cross.sh installs its standard library
        if replaced.RUSTUP.match(part):
            # the toolchain image from Debian packages has no rustup and only one toolchain
            self.command(f"RUN if command -v rustup > /dev/null; then {part}; fi")
        elif replaced.TOOL.search(part) and not re.search(r"cargo-chef|sccache|cargo-auditable", part):
            used = [self.declared[name] for name in self.declared if re.search(rf"\$\{{?{name}\b", part)]
            self.add("tools", *used, f"RUN {part.removeprefix('xx-')}")
        elif not (sources_there and replaced.writes_shipped(part, self.workdir, self.copied)) and (
            replaced.is_replaced(part) or replaced.checks_argument(part)
        ):
            return  # our compile step does this, or rejects a missing argument itself
        elif sources_there and replaced.SETTINGS.match(part) and "/run/secrets" not in part:
            self.command(f"RUN {part}")
        elif sources_there and _USERS.match(part):
            # a user created in the compile stage matters only if an image copies the user list
            if self.users:
                kind = "group" if "group" in part.split()[0] else "passwd"
                self.command(f"RUN getent {kind} {part.split()[-1]} > /dev/null || {part}")
        elif sources_there or (replaced.SCRIPT.search(part) and replaced.CARGO_RUNS.search(part)):
            self.add("left", item.line)
            with_cargo = replaced.CARGO_RUNS.search(item.rest)  # the rest of the RUN is replaced
            if not (with_cargo and shell_variables.settled(part)):
                self.note(replace(item, rest=part) if with_cargo else item, LEFT)
        elif "\n" in part:
            self.command(recipe.line(item).text)
        else:
            self.command(f"RUN {part}")

    def _copy(self, item: Instruction, workdir: str) -> bool:
        copy = recipe.copied(item, self.taken.values)
        if copy is None:
            return False
        inside = {s.name for s in self.taken.compiling}
        target = posixpath.normpath(posixpath.join(workdir, copy.destination))
        if not copy.stage:
            for source in copy.sources:
                if replaced.GIT.match(source):
                    self.note(item, "not converted, because with .git in the build context, each commit compiles again")
                path = posixpath.normpath(posixpath.join(self.context, source.strip("/") or "."))
                if path not in (".", self.context) and self.exists(path):
                    self.add("context", path)
            return True
        if copy.stage.lower() in inside or recipe.is_helper(copy.stage, self.taken):
            return False
        place = placed.in_context(self.placed, self.context, target)
        if place is None:
            self.add("toolchain", recipe.line(item).text)
            return False
        for source in copy.sources:
            self.add("generated", (copy.stage, source, place))
        return False


def read(
    taken: Recipe,
    context: str,
    reads: Callable[[str], bool],
    exists: Callable[[str], bool],
    main: Sequence[Stage] = (),
) -> Kept:
    """Analyze the compile stages. `reads` checks whether a source uses a variable, `exists` if a path is in the
    repository. `main`: the stages of the main program (all if empty); our step uses only their variables.
    """
    reader = _Reader(taken, context, reads, exists)
    reader.main = frozenset(stage.name for stage in main)
    for stage in taken.compiling:
        reader.stage(stage)
    return Kept(**{name: tuple(values) for name, values in reader.lists.items()})  # type: ignore[arg-type]


def join(several: Sequence[Kept]) -> Kept:
    """Combine the contributions of several Dockerfiles of one workspace."""
    names = [field.name for field in fields(Kept)]
    return Kept(**{n: tuple(dict.fromkeys(v for kept in several for v in getattr(kept, n))) for n in names})
