"""Versions of the compile program with one step removed or broken, and the case that must fail as a result.

The program encloses each removable step in `// step: NAME {` and `// step: NAME }`; it has no test hooks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.engine.staleness.site import SCRIPT


@dataclass(frozen=True)
class Mutation:
    """A defect in the program, and the name of a case that fails because of it."""

    name: str
    case: str
    old: str = ""  # the part of the program to replace; if empty, the step of that name is removed
    new: str = ""

    def apply(self, script: str = SCRIPT) -> str:
        """Return the broken program. Fail if there is nothing to remove or replace."""
        if self.old:
            assert script.count(self.old) == 1, f"{self.old!r} occurs {script.count(self.old)} times"
            return script.replace(self.old, self.new)
        step = re.escape(self.name)
        spoilt, count = re.subn(rf"(?ms)^ *// step: {step} \{{\n.*?^ *// step: {step} \}}\n", "", script)
        assert count, f"the program has no step {self.name}"
        return spoilt


def steps(script: str = SCRIPT) -> set[str]:
    """Return the names of all marked steps in the program."""
    return set(re.findall(r"(?m)^ *// step: (\S+) \{$", script))


MUTATIONS: tuple[Mutation, ...] = (
    Mutation("toolchain-key", "different system library: same path, size and mtime"),
    Mutation("env", "undeclared environment variable read by build.rs"),
    Mutation("pending", "sync killed before marking (file deleted)"),
    Mutation("clock", "clock skew: whole mount an hour ahead; four edits"),
    Mutation("delete", "build.rs lists a directory without rerun-if-changed; file deleted"),
    Mutation("generated", "build.rs writes into another package; that package edited"),
    Mutation("vendored", "vendored crate edited"),
    Mutation("attribute", "file added to a directory read by a macro; unrelated edit"),
    Mutation("everything", "undeclared environment variable read by build.rs"),
    Mutation("mark", "file added to another package's directory; no symlinks in any package"),
    Mutation("links", "symlinked source directory retargeted"),
    Mutation("outlook", "file added to another package's directory read by a macro"),
    Mutation("scripted", "build.rs reads Cargo.lock; dependency bumped"),
    Mutation("source", "another workspace of the context with the same members; the first one again, edited"),
    Mutation("inherited", "value of [workspace.package] read by a macro edited"),
    Mutation("data", ".rs files read as data by a macro edited: outside src; in src"),
    Mutation("lock", "Cargo.lock in a package read by a macro edited"),
    Mutation("nested", "root package: its file read by a member edited; [env] in .cargo/config.toml"),
    Mutation("outlying", "library outside its package; file added to a directory read by its macro"),
    Mutation("out-dir", "build.rs lists OUT_DIR; name of its file changed; build.rs edited"),
    Mutation("vendored-links", "symlink to the vendored crates retargeted"),
    Mutation(
        "copied files keep their mtimes",
        "edit with an older mtime",
        "let copied = fs::copy(from, to);",
        "let copied = fs::copy(from, to);\n    set_time(to, Some(time_of(&fs::metadata(from).unwrap())))?;",
    ),
    Mutation(
        "modes not compared",
        "executable bit checked by build.rs set; cleared along with an edit",
        "if mode & 0o100 != 0 {",
        "if mode == 0 {",
    ),
    Mutation(
        "symlinks not compared",
        "symlink to a directory retargeted",
        'fs::read_link(path).doing("read the link", path)?.into_os_string().into_vec()',
        "Vec::new()",
    ),
)
