"""The matrix: what is done to the tree, the mount and the image, and what each build after it must be.

A cell is a letter and the crates compiled: R right, S stale, F fails as it must. All five crates are compiled when the
target is empty: R5; "everything marked" compiles the four of the workspace: R4; an edit of `common` takes R3.
What the usual recipe does is recorded in classic.json and checked as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.engine.staleness import tree
from tests.engine.staleness.site import SCRIPT, Build, Site
from tests.engine.staleness.tree import (
    API,
    COMMON,
    WORKER,
    Change,
    Delete,
    Exchange,
    Link,
    Mode,
    Move,
    Replace,
    Several,
    Times,
    Write,
)

PART = f"{COMMON}/src/part.rs"
MAIN = f"{API}/src/main.rs"
PLAIN = Build()


@dataclass(frozen=True)
class Step:
    """Something done, and the build after it. `ours`: its cell; `dies`: the build is killed and not judged."""

    do: Change | Callable[[Site], None] | None
    ours: str
    build: Build = PLAIN
    dies: bool = False


@dataclass(frozen=True)
class Case:
    """A scenario. Every case begins with a build of the base tree, which is not listed."""

    name: str
    steps: tuple[Step, ...]
    classic: str | None = None  # "?": depends on timing, "-": does not apply; else it is recorded in classic.json
    before: Change | None = None  # the tree that the first build sees
    unguarded: str | None = None  # with plain `docker build`, where that is not what it is with the guard

    @property
    def cells(self) -> str:
        """What ours must do, as the table shows it."""
        return " ".join(step.ours for step in self.steps if not step.dies)


def case(
    name: str,
    *steps: Step,
    classic: str | None = None,
    before: Change | None = None,
    unguarded: str | None = None,
) -> Case:
    return Case(name, steps, classic, before, unguarded)


def part(text: str, time: str = "now") -> Write:
    """An edit of the shared crate; texts of one length give files of one size."""
    return Write(PART, f'pub const TEXT: &str = "part {text}";\n', time)


def main(text: str, time: str = "now") -> Replace:
    return Replace(MAIN, 'println!("api one', f'println!("api {text}', time)


def worktree(name: str, time: float | None = tree.BASE_TIME) -> Callable[[Site], None]:
    return lambda site: site.worktree(name, time)


def go(name: str, change: Change | None = None) -> Callable[[Site], None]:
    def do(site: Site) -> None:
        site.checkout = name
        if change is not None:
            change.apply(site.context)

    return do


def changed_worktree(name: str, change: Change, time: float | None = tree.BASE_TIME) -> Callable[[Site], None]:
    def do(site: Site) -> None:
        site.worktree(name, time)
        change.apply(site.context)

    return do


def in_mount(script: str, change: Change | None = None) -> Callable[[Site], None]:
    def do(site: Site) -> None:
        site.in_mount(script)
        if change is not None:
            change.apply(site.context)

    return do


#: Every file of the mount gets a time an hour later, as if written under a clock that was ahead (hard links once).
AN_HOUR_AHEAD = (
    "/usr/bin/perl -MFile::Find -MTime::HiRes=lstat,utime -e 'find({no_chdir => 1, wanted => sub { "
    'my @s = lstat; -l or $seen{$s[1]}++ or utime($s[8] + 3600, $s[9] + 3600, $_) }}, ".")\''
)

GENERATING = Several(
    (
        Write(
            f"{WORKER}/build.rs",
            'fn main() {\n    println!("cargo:rerun-if-changed=gen.in");\n'
            '    let text = std::fs::read_to_string("gen.in").unwrap();\n'
            '    std::fs::write("src/gen.rs", format!("pub const G: &str = {:?};\\n", text.trim())).unwrap();\n}\n',
            "old",
        ),
        Write(f"{WORKER}/gen.in", "gen one\n", "old"),
        Replace(f"{WORKER}/src/main.rs", "fn main() {", 'mod gen;\nfn main() {\n    println!("{}", gen::G);', "old"),
    )
)
DECLARED = Replace(
    f"{COMMON}/build.rs", "fn main() {", 'fn main() {\n    println!("cargo:rerun-if-changed=input");', "old"
)

#: The sources of a crate that depends on no other lie outside of its package, behind a link.
MAC = "services/crates/mac"
LINKED = Several(
    (
        Move(f"{MAC}/src", "services/v1"),
        Link(f"{MAC}/src", "../../v1"),
        Write("services/v2/lib.rs", tree.BASE[f"{MAC}/src/lib.rs"].replace("{}={}", "{}:{}"), "old"),
    )
)

#: Files in the place of all links.
WITHOUT_LINKS = Several(
    (
        *(Delete(f"{COMMON}/{link}") for link in ("data/link.txt", "data/dirlink", "outside")),
        Write(f"{COMMON}/data/link.txt", "swap one\n", "old"),
        Write(f"{COMMON}/data/dirlink/file.txt", "d one\n", "old"),
        Write(f"{COMMON}/outside/note.txt", "shared one\n", "old"),
    )
)

#: A build script that finds its neighbours by itself: no name in it says which.
_AROUND = (
    'fn main() {\n    println!("cargo:rerun-if-changed=build.rs");\n'
    "    let here = std::env::current_dir().unwrap();\n    let parts: Vec<_> = here.components().collect();\n"
    "    let around = |up: usize| parts[..parts.len() - up].iter().collect::<std::path::PathBuf>();\n"
)
BESIDE = Several(
    (
        Write(
            "services/crates/mac/build.rs",
            _AROUND + '    let to = around(1).join("worker/src/gen.rs");\n'
            '    std::fs::write(to, "pub const G: &str = \\"gen\\";\\n").unwrap();\n}\n',
            "old",
        ),
        Replace(f"{WORKER}/src/main.rs", "fn main() {", 'mod gen;\nfn main() {\n    println!("{}", gen::G);', "old"),
    )
)
LOCK_READER = Several(
    (
        Write(
            "services/crates/mac/build.rs",
            _AROUND + '    let lock = std::fs::read_to_string(around(2).join("Cargo.lock")).unwrap();\n'
            '    println!("cargo:rustc-env=LOCK={}", lock.contains("1.0.2"));\n}\n',
            "old",
        ),
        Replace(
            "services/crates/mac/src/lib.rs",
            "found.sort();",
            'found.sort();\n    found.push(env!("LOCK").into());',
            "old",
        ),
    )
)

_MARKING = "        if !self.forget.is_empty() {"
DYING = SCRIPT.replace(_MARKING, f"        exit(9);\n{_MARKING}")
assert DYING != SCRIPT

CONFIGURED = tree.BASE["services/.cargo/config.toml"] + '\n[build]\nrustflags = ["--cfg", "configured"]\n'
VENDORED = "services/vendor/dep-1.0.1"
BUMP = 'name = "dep"\nversion = "1.0.2"'
BUMPED = 'name = "dep"\nversion = "1.0.1"'

CASES: tuple[Case, ...] = (
    case("plain edit", Step(part("two"), "R3")),
    case("edit, older time", Step(part("two", "old"), "R3")),
    case(
        "edit, same size and time; unrelated edit",
        Step(part("two", "same"), "R3"),
        Step(main("two"), "R1"),
        unguarded="S0 S1",
    ),
    case("nothing changed; times only", Step(None, "R0"), Step(Times(None), "R0")),
    case(
        "dependency bumped in Cargo.lock, same size and time",
        Step(Replace("services/Cargo.lock", BUMPED, BUMP, "same"), "R4"),
        unguarded="S0",
    ),
    case("dependency bumped in Cargo.lock", Step(Replace("services/Cargo.lock", BUMPED, BUMP), "R4")),
    case("vendored crate edited", Step(Replace(f"{VENDORED}/src/lib.rs", "dep one", "dep new"), "R4")),
    case(
        "A, B, A again, then an edit",
        Step(part("two"), "R3"),
        Step(part("one"), "R0"),
        Step(part("six"), "R3"),
    ),
    case(
        "one service at a time: B api, A api, B worker",
        Step(part("two"), "R2", Build("api")),
        Step(part("one", "old"), "R2", Build("api")),
        Step(part("two"), "R2", Build("worker")),
    ),
    case(
        "two worktrees, each with its own times",
        Step(changed_worktree("b", part("two"), None), "R3"),
        Step(go("one/app"), "R0"),
        Step(go("one/app", main("two")), "R3"),
        Step(go("b", main("six")), "R3"),
    ),
    case(
        "two worktrees, equal times, other names",
        Step(changed_worktree("b", part("two", "same")), "R3"),
        Step(go("one/app"), "R0"),
        Step(go("one/app", main("two")), "R3"),
        Step(go("b"), "R0"),
    ),
    case(
        "two worktrees, equal times, same name",
        Step(changed_worktree("two/app", part("two", "same")), "R3"),
        Step(go("one/app"), "R0"),
        Step(go("two/app", main("two")), "R1"),
        Step(go("one/app"), "R0"),
        unguarded="S0 R0 S1 R0",
    ),
    case("module deleted, still used", Step(Delete(PART), "F")),
    case("included file deleted", Step(Delete(f"{COMMON}/data/text.txt"), "F")),
    case(
        "module deleted, code moved inline",
        Step(
            Several(
                (
                    Delete(PART),
                    Replace(
                        f"{COMMON}/src/lib.rs",
                        "pub mod part;",
                        'pub mod part {\n    pub const TEXT: &str = "inline";\n}',
                    ),
                )
            ),
            "R3",
        ),
    ),
    case(
        "file added to a directory that a macro reads; then an edit",
        Step(Write(f"{COMMON}/sql/2.sql", "two"), "R3"),
        Step(main("two"), "R1"),
        before=DECLARED,
    ),
    case("file there modified", Step(Write(f"{COMMON}/sql/1.sql", "six"), "R3"), before=DECLARED),
    case(
        "file there deleted",
        Step(Delete(f"{COMMON}/sql/2.sql"), "R3"),
        before=Several((DECLARED, Write(f"{COMMON}/sql/2.sql", "two", "old"))),
    ),
    case(
        "file added to the workspace's directory that a macro reads",
        Step(Write("services/migrations/2.sql", "alter"), "R4"),
    ),
    case(
        "file added to another package's directory that a macro reads",
        Step(Write(f"{WORKER}/notes/b.txt", "note two"), "R3"),
    ),
    case(
        "file added to another package's directory; no package has links",
        Step(Write(f"{WORKER}/notes/b.txt", "note two", "old"), "R3"),
        before=WITHOUT_LINKS,
    ),
    case(
        "module renamed",
        Step(
            Several(
                (
                    Move(PART, f"{COMMON}/src/piece.rs"),
                    Replace(f"{COMMON}/src/lib.rs", "pub mod part;", "pub mod piece;\npub use piece as part;"),
                )
            ),
            "R3",
        ),
    ),
    case("foo.rs becomes foo/mod.rs", Step(Move(PART, f"{COMMON}/src/part/mod.rs"), "R3")),
    case(
        "two files exchanged by mv, other times",
        Step(Exchange(f"{COMMON}/data/text.txt", f"{COMMON}/data/swap2.txt"), "R3"),
        before=Several((DECLARED, Write(f"{COMMON}/data/swap2.txt", "swapped text\n", "old"))),
    ),
    case(
        "two files exchanged by mv, same size and time; then an edit",
        Step(Exchange(f"{COMMON}/data/swap1.txt", f"{COMMON}/data/swap2.txt"), "R3"),
        Step(main("two"), "R1"),
        unguarded="S0 S1",
    ),
    case(
        "build script's input: file, directory, file",
        Step(Several((Delete(f"{COMMON}/input/value"), Write(f"{COMMON}/input/value/x", "x", "old"))), "R3"),
        Step(Several((Delete(f"{COMMON}/input/value"), Write(f"{COMMON}/input/value", "value six\n", "old"))), "R3"),
    ),
    case(
        "link to a file leads elsewhere; then an edit",
        Step(Link(f"{COMMON}/data/link.txt", "swap2.txt"), "R3"),
        Step(main("two"), "R1"),
        before=DECLARED,
    ),
    case("link to a directory leads elsewhere", Step(Link(f"{COMMON}/data/dirlink", "d2"), "R3"), before=DECLARED),
    case("link out of the package leads elsewhere", Step(Link(f"{COMMON}/outside", "../../shared2"), "R3")),
    case(
        "source directory is a link, which leads elsewhere",
        Step(Link(f"{MAC}/src", "../../v2"), "R4"),
        before=LINKED,
    ),
    case(
        "file behind a link edited, older time",
        Step(Write("services/shared/note.txt", "shared six\n", "old"), "R4"),
    ),
    case(
        "executable bit set, which build.rs looks at; reset with an edit",
        Step(Mode(f"{COMMON}/input/tool.sh", 0o755), "R3"),
        Step(Several((Mode(f"{COMMON}/input/tool.sh", 0o644), part("two"))), "R3"),
    ),
    case("build script's input, older time", Step(Write(f"{COMMON}/input/value", "value two\n", "old"), "R3")),
    case("included file, older time", Step(Write(f"{COMMON}/data/text.txt", "text two\n", "old"), "R3")),
    case(
        "feature in Cargo.toml; version; both with older times",
        Step(Replace(f"{COMMON}/Cargo.toml", "default = []", 'default = ["extra"]', "old"), "R3"),
        Step(
            Several(
                (
                    Replace(f"{COMMON}/Cargo.toml", 'version = "0.1.0"', 'version = "0.2.0"', "old"),
                    Replace(
                        "services/Cargo.lock",
                        'name = "common"\nversion = "0.1.0"',
                        'name = "common"\nversion = "0.2.0"',
                        "old",
                    ),
                )
            ),
            "R3",
        ),
        unguarded="R3 W",
    ),
    case(
        "other profile; [profile.release] edited",
        Step(None, "R5", Build(args=(("PROFILE", "fast"),))),
        Step(Replace("services/Cargo.toml", "debug-assertions = false", "debug-assertions = true"), "R5"),
    ),
    case(
        "rustflags in .cargo/config.toml",
        Step(Write("services/.cargo/config.toml", CONFIGURED, "old"), "R5"),
    ),
    case(
        "option_env! by build argument, two values",
        Step(None, "R4", Build(args=(("GREETING", "hello"),))),
        Step(None, "R4", Build(args=(("GREETING", "hi"),))),
    ),
    case(
        "environment that build.rs reads and does not declare",
        Step(None, "R4", Build(args=(("UNTRACKED", "1"),))),
    ),
    case("environment that does not matter", Step(None, "R0", Build(args=(("HTTPS_PROXY", "http://127.0.0.1:9"),)))),
    case(
        "killed in mid-compile; the same tree again",
        Step(part("two"), "", dies=True),
        Step(None, "R*"),
        classic="?",
    ),
    case(
        "killed in mid-compile; another tree next",
        Step(part("two"), "", dies=True),
        Step(part("six", "old"), "R*"),
        classic="?",
    ),
    case(
        "sync dies before marking (link leads elsewhere)",
        Step(Link(f"{COMMON}/data/link.txt", "swap2.txt"), "W", Build(script=DYING)),
        Step(None, "R4"),
        before=DECLARED,
        classic="-",
    ),
    case(
        "sync dies before marking (a file goes)",
        Step(Delete(f"{COMMON}/sql/1.sql"), "W", Build(script=DYING)),
        Step(None, "R4"),
        before=DECLARED,
        classic="-",
    ),
    case(
        "compile error, undone with the old time, then an edit",
        Step(Write(PART, "nonsense\n"), "F"),
        Step(part("one", "old"), "R0"),
        Step(part("two"), "R3"),
    ),
    case(
        "clock: all of the mount an hour ahead, then four edits",
        Step(in_mount(AN_HOUR_AHEAD, part("two")), "R4"),
        Step(part("six"), "R3"),
        Step(main("two"), "R1"),
        Step(Replace(f"{WORKER}/src/main.rs", "worker one", "worker two"), "R1"),
        before=DECLARED,
    ),
    case(
        "clock: an hour ahead, edit of common, one service at a time",
        Step(in_mount(AN_HOUR_AHEAD, part("two")), "R3", Build("api")),
        Step(None, "R1", Build("worker")),
        before=DECLARED,
    ),
    case(
        "common edited with an older time, one service at a time",
        Step(part("two", "old"), "R2", Build("api")),
        Step(None, "R1", Build("worker")),
    ),
    case(
        "feature that one program asks for; the other one alone",
        Step(None, "R0", Build("api")),
        Step(part("two"), "R2", Build("api")),
        before=Replace(
            f"{WORKER}/Cargo.toml", '{ path = "../common" }', '{ path = "../common", features = ["extra"] }', "old"
        ),
    ),
    case(
        "package that nobody asks for and that does not compile",
        Step(main("two"), "R1"),
        before=Several(
            (
                Write("services/crates/tool/Cargo.toml", tree.package("tool"), "old"),
                Write("services/crates/tool/src/main.rs", 'compile_error!("not here");\n', "old"),
                Replace(
                    "services/Cargo.lock",
                    '[[package]]\nname = "worker"',
                    '[[package]]\nname = "tool"\nversion = "0.1.0"\n\n[[package]]\nname = "worker"',
                    "old",
                ),
            )
        ),
    ),
    case("fresh clone (all times new) and an edit", Step(Several((Times(None), main("two"))), "R1")),
    case(
        "another compiler: same path, size, time and version text",
        Step(None, "R5", Build(image="rustc")),
        Step(None, "R0"),
    ),
    case(
        "another system library: same path, size and time",
        Step(None, "R5", Build(image="library")),
        Step(part("two"), "R3"),
    ),
    case(
        "compiler chosen by a file in the sources",
        Step(Write("services/rust-toolchain", "b\n"), "R5"),
        Step(Write("services/rust-toolchain", "a\n"), "R5"),
    ),
    case(
        "build.rs writes src/gen.rs, not in the context; two edits",
        Step(main("two"), "R3"),
        Step(Write(f"{WORKER}/gen.in", "gen two\n", "old"), "R3"),
        before=GENERATING,
    ),
    case(
        "build.rs overwrites an outdated src/gen.rs",
        Step(main("two"), "R3"),
        before=Several((GENERATING, Write(f"{WORKER}/src/gen.rs", 'pub const G: &str = "outdated";\n', "old"))),
    ),
    case(
        "build.rs writes into another package; an edit there",
        Step(Replace(f"{WORKER}/src/main.rs", "worker one", "worker two"), "R4"),
        before=BESIDE,
        classic="?",
    ),
    case(
        "build.rs reads Cargo.lock; a dependency is bumped",
        Step(Replace("services/Cargo.lock", BUMPED, BUMP), "R5"),
        before=LOCK_READER,
    ),
    case("build.rs without rerun-if lists a directory; a file goes", Step(Delete(f"{COMMON}/listed/b"), "R3")),
    case("build.rs without rerun-if lists a directory; one comes", Step(Write(f"{COMMON}/listed/c", "c\n"), "R3")),
    case(
        "program removed from the workspace; build the other",
        Step(
            Several(
                (
                    Delete(WORKER),
                    Replace(
                        "services/Cargo.lock",
                        '\n[[package]]\nname = "worker"\nversion = "0.1.0"\ndependencies = [\n "common",\n "mac",\n]\n',
                        "",
                    ),
                )
            ),
            "F",
        ),
        Step(None, "R*", Build("api")),
    ),
    case(
        "file names with a newline, a space, | and é; then an edit",
        Step(
            Several(tuple(Write(f"{COMMON}/sql/{name}", "odd", "old") for name in ("a\nb", "a b", "a|b", "é"))),
            "R3",
        ),
        Step(main("two"), "R1"),
        before=DECLARED,
    ),
    case(
        "file names with a space, | and é; then an edit",
        Step(Several(tuple(Write(f"{COMMON}/sql/{name}", "odd", "old") for name in ("a b", "a|b", "é"))), "R3"),
        Step(main("two"), "R1"),
        before=DECLARED,
    ),
    case(
        "README, compose file, docs and a README in a crate edited",
        Step(
            Several(tuple(Write(name, "words\n") for name in ("README.md", "docker-compose.yaml", f"{API}/README.md"))),
            "R0",
        ),
    ),
    case("source pruned from the mount", Step(in_mount("rm -rf */src src", part("two", "old")), "R5"), classic="-"),
    case("target pruned from the mount", Step(in_mount("rm -rf */target *", part("two", "old")), "R5")),
    case("state pruned from the mount", Step(in_mount("rm -rf */state", part("two", "old")), "R5"), classic="-"),
    case("the whole mount pruned", Step(in_mount("rm -rf ..?* .[!.]* *", part("two", "old")), "R5")),
)


def run(site: Site, one: Case) -> list[str]:
    """Play a case; the cells of its judged builds, in order."""
    if one.before is not None:
        one.before.apply(site.context)
    first = site.build(PLAIN)
    assert first.programs is not None, first.log
    assert site.judge(PLAIN, first) == "R5", first.log
    cells = []
    for step in one.steps:
        if isinstance(step.do, Change):
            step.do.apply(site.context)
        elif step.do is not None:
            step.do(site)
        if step.dies:
            site.build(step.build, until=lambda progress: bool(progress.compiled))
        else:
            cells.append(site.judge(step.build, site.build(step.build)))
    return cells


def agrees(seen: list[str], wanted: str) -> bool:
    """Whether cells are the expected ones; `R*` stands for any number of crates."""
    patterns = wanted.split()
    return len(seen) == len(patterns) and all(
        have == want or (want.endswith("*") and have[0] == want[0]) for have, want in zip(seen, patterns, strict=True)
    )
