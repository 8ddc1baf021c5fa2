"""The compile program with one of its steps left out or spoilt, and the case that must notice.

It marks what can be left out by lines `// step: NAME {` and `// step: NAME }`; it has no hooks for tests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.engine.staleness.site import SCRIPT


@dataclass(frozen=True)
class Mutation:
    """What is wrong with the program, and the name of a case that this makes fail."""

    name: str
    case: str
    old: str = ""  # a part of the program to replace; empty: the step of that name is left out
    new: str = ""

    def apply(self, script: str = SCRIPT) -> str:
        """The spoilt program. Fails if there is nothing to spoil."""
        if self.old:
            assert script.count(self.old) == 1, f"{self.old!r} occurs {script.count(self.old)} times"
            return script.replace(self.old, self.new)
        step = re.escape(self.name)
        spoilt, count = re.subn(rf"(?ms)^ *// step: {step} \{{\n.*?^ *// step: {step} \}}\n", "", script)
        assert count, f"the program has no step {self.name}"
        return spoilt


def steps(script: str = SCRIPT) -> set[str]:
    """The names of all steps that the program marks."""
    return set(re.findall(r"(?m)^ *// step: (\S+) \{$", script))


MUTATIONS: tuple[Mutation, ...] = (
    Mutation("toolchain-key", "another system library: same path, size and time"),
    Mutation("env", "environment that build.rs reads and does not declare"),
    Mutation("pending", "sync dies before marking (a file goes)"),
    Mutation("clock", "clock: all of the mount an hour ahead, then four edits"),
    Mutation("delete", "build.rs without rerun-if lists a directory; a file goes"),
    Mutation("generated", "build.rs writes into another package; an edit there"),
    Mutation("vendored", "vendored crate edited"),
    Mutation("attribute", "file added to a directory that a macro reads; then an edit"),
    Mutation("everything", "environment that build.rs reads and does not declare"),
    Mutation("mark", "file added to another package's directory; no package has links"),
    Mutation("links", "source directory is a link, which leads elsewhere"),
    Mutation("outlook", "file added to another package's directory that a macro reads"),
    Mutation("scripted", "build.rs reads Cargo.lock; a dependency is bumped"),
    Mutation(
        "copies keep their times",
        "edit, older time",
        "let copied = fs::copy(from, to);",
        "let copied = fs::copy(from, to);\n    set_time(to, Some(time_of(&fs::metadata(from).unwrap())))?;",
    ),
    Mutation(
        "modes are not compared",
        "executable bit set, which build.rs looks at; reset with an edit",
        "if mode & 0o100 != 0 {",
        "if mode == 0 {",
    ),
    Mutation(
        "links are not compared",
        "link to a directory leads elsewhere",
        'fs::read_link(path).doing("read the link", path)?.into_os_string().into_vec()',
        "Vec::new()",
    ),
)
