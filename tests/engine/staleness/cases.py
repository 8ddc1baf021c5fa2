"""The matrix: changes to the tree, the mount and the image, and the expected result of each build that follows.

A cell contains a letter (R right, S stale, F fails as it must) and the number of crates compiled. An empty target
compiles all five crates (R5), marking everything compiles the four workspace crates (R4), and an edit of `common`
compiles three (R3). The results of the usual recipe are recorded in classic.json and also checked.
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
    """A change and the build that follows. `ours`: the expected cell; `dies`: the build is killed and not judged."""

    do: Change | Callable[[Site], None] | None
    ours: str
    build: Build = PLAIN
    dies: bool = False


@dataclass(frozen=True)
class Case:
    """A scenario. Every case starts with a build of the base tree, which is not listed."""

    name: str
    steps: tuple[Step, ...]
    classic: str | None = None  # "?": depends on timing, "-": does not apply; otherwise see classic.json
    before: Change | None = None  # a change to the tree before the first build
    unguarded: str | None = None  # cells with plain `docker build`, if they differ from those with the guard
    first: str = "R5"  # the cell of the first build

    @property
    def cells(self) -> str:
        """Return the cells that our recipe must produce, as shown in the table."""
        return " ".join(step.ours for step in self.steps if not step.dies)


def case(
    name: str,
    *steps: Step,
    classic: str | None = None,
    before: Change | None = None,
    unguarded: str | None = None,
    first: str = "R5",
) -> Case:
    return Case(name, steps, classic, before, unguarded, first)


def part(text: str, time: str = "now") -> Write:
    """Edit the shared crate; texts of the same length produce files of the same size."""
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


#: Add an hour to the times of every file in the mount, as if the clock was ahead (only once per hard-linked file).
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

#: The sources of a crate without dependencies are outside its package, behind a symlink.
MAC = "services/crates/mac"
LINKED = Several(
    (
        Move(f"{MAC}/src", "services/v1"),
        Link(f"{MAC}/src", "../../v1"),
        Write("services/v2/lib.rs", tree.BASE[f"{MAC}/src/lib.rs"].replace("{}={}", "{}:{}"), "old"),
    )
)

#: Replace all symlinks with files.
WITHOUT_LINKS = Several(
    (
        *(Delete(f"{COMMON}/{link}") for link in ("data/link.txt", "data/dirlink", "outside")),
        Write(f"{COMMON}/data/link.txt", "swap one\n", "old"),
        Write(f"{COMMON}/data/dirlink/file.txt", "d one\n", "old"),
        Write(f"{COMMON}/outside/note.txt", "shared one\n", "old"),
    )
)

#: A build script that computes the paths of its neighbors: no path appears in its source.
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

#: A second workspace with the same members. cargo does not distinguish them: the relative paths are the same, too.
SECOND = Several(
    (
        DECLARED,
        *(
            Link(f"services/second/{path}", content[2:])
            if content.startswith("->")
            else Write(
                f"services/second/{path}",
                content.replace('println!("api one', 'println!("api 2nd').replace(DECLARED.old, DECLARED.new),
                "old",
            )
            for path, content in ((name.removeprefix("services/"), text) for name, text in tree.BASE.items())
            if not path.startswith(("vendor/", ".cargo/"))
        ),
    )
)

LEAF = "services/crates/leaf"
#: A crate without links, build script or paths that lead out of it. Its macros read files and a variable.
LEAFY = Several(
    (
        Write(
            f"{LEAF}/Cargo.toml",
            tree.package("leaf") + 'license.workspace = true\n\n[dependencies]\nmac = { path = "../mac" }\n',
            "old",
        ),
        Write(
            f"{LEAF}/src/lib.rs",
            "pub fn report() -> String {\n"
            '    let files = [mac::listing!("snippets"), mac::listing!("src/texts"), mac::listing!("locks")];\n'
            '    format!("{}\\n{}", files.join("\\n"), mac::variable!("CARGO_PKG_LICENSE"))\n'
            "}\n",
            "old",
        ),
        Write(f"{LEAF}/snippets/a.rs", "snippet one\n", "old"),
        Write(f"{LEAF}/src/texts/a.rs", "text one\n", "old"),
        Write(f"{LEAF}/locks/Cargo.lock", "lock one\n", "old"),
        Replace(
            f"{MAC}/src/lib.rs",
            "/// The names",
            "#[proc_macro]\npub fn variable(input: TokenStream) -> TokenStream {\n"
            "    let name = input.to_string();\n"
            "    let value = std::env::var(name.trim_matches('\"')).unwrap_or_default();\n"
            '    format!("{value:?}").parse().unwrap()\n}\n\n/// The names',
            "old",
        ),
        Replace("services/Cargo.toml", "[workspace]", '[workspace.package]\nlicense = "one"\n\n[workspace]', "old"),
        Replace(f"{API}/Cargo.toml", "common = ", 'leaf = { path = "../leaf" }\ncommon = ', "old"),
        Replace(f"{API}/src/main.rs", "fn main() {", 'fn main() {\n    println!("{}", leaf::report());', "old"),
        Replace(
            "services/Cargo.lock",
            ' "common",\n "mac",\n]\n\n[[package]]\nname = "common"',
            ' "common",\n "leaf",\n "mac",\n]\n\n[[package]]\nname = "common"',
            "old",
        ),
        Replace(
            "services/Cargo.lock",
            '[[package]]\nname = "mac"',
            '[[package]]\nname = "leaf"\nversion = "0.1.0"\ndependencies = [\n "mac",\n]\n\n[[package]]\nname = "mac"',
            "old",
        ),
    )
)

#: The workspace has a root package; a member reads one of its files and a variable.
ROOTED = Several(
    (
        Replace("services/Cargo.toml", "[workspace]", tree.package("root") + "\n[workspace]", "old"),
        Write("services/src/lib.rs", "", "old"),
        Write("services/notes.txt", "one", "old"),
        Replace(
            "services/Cargo.lock",
            '[[package]]\nname = "worker"',
            '[[package]]\nname = "root"\nversion = "0.1.0"\n\n[[package]]\nname = "worker"',
            "old",
        ),
        Write(
            f"{MAC}/build.rs",
            _AROUND + '    let notes = std::fs::read_to_string(around(2).join("notes.txt")).unwrap();\n'
            '    println!("cargo:rustc-env=NOTES={notes} {}", std::env::var("NOTE").unwrap_or_default());\n}\n',
            "old",
        ),
        Replace(f"{MAC}/src/lib.rs", "found.sort();", 'found.sort();\n    found.push(env!("NOTES").into());', "old"),
    )
)

#: The library of `leaf` is outside its package, which contains other code.
OUTLYING = Several(
    (
        LEAFY,
        Move(f"{LEAF}/src/lib.rs", "services/code/leaf.rs"),
        Replace(f"{LEAF}/Cargo.toml", "[dependencies]", '[lib]\npath = "../../code/leaf.rs"\n\n[dependencies]', "old"),
        Write(f"{LEAF}/examples/show.rs", "fn main() {}\n", "old"),
    )
)

#: A build script that lists the directory to which it writes a file.
COLLECTING = Several(
    (
        Write(
            f"{MAC}/build.rs",
            'fn main() {\n    println!("cargo:rerun-if-changed=name");\n'
            '    let out = std::path::PathBuf::from(std::env::var("OUT_DIR").unwrap());\n'
            '    let name = std::fs::read_to_string("name").unwrap();\n'
            '    std::fs::write(out.join(format!("file {}", name.trim())), "").unwrap();\n'
            "    let names = std::fs::read_dir(out).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());\n"
            "    let mut names: Vec<_> = names.collect();\n    names.sort();\n"
            '    println!("cargo:rustc-env=NAMES={}", names.join(","));\n}\n',
            "old",
        ),
        Write(f"{MAC}/name", "one\n", "old"),
        Replace(f"{MAC}/src/lib.rs", "found.sort();", 'found.sort();\n    found.push(env!("NAMES").into());', "old"),
    )
)

#: The vendored crates are behind a symlink.
VENDOR_LINKED = Several(
    (
        Move("services/vendor", "services/third/v1"),
        Link("services/vendor", "third/v1"),
        *(
            Write(path.replace("vendor/", "third/v2/"), text.replace("dep one", "dep new"), "old")
            for path, text in tree.BASE.items()
            if path.startswith("services/vendor/")
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
    case("edit with an older mtime", Step(part("two", "old"), "R3")),
    case(
        "edit with the same size and mtime; unrelated edit",
        Step(part("two", "same"), "R3"),
        Step(main("two"), "R1"),
        unguarded="S0 S1",
    ),
    case("no changes; only mtimes changed", Step(None, "R0"), Step(Times(None), "R0")),
    case(
        "dependency bumped in Cargo.lock, same size and mtime",
        Step(Replace("services/Cargo.lock", BUMPED, BUMP, "same"), "R4"),
        unguarded="S0",
    ),
    case("dependency bumped in Cargo.lock", Step(Replace("services/Cargo.lock", BUMPED, BUMP), "R4")),
    case("vendored crate edited", Step(Replace(f"{VENDORED}/src/lib.rs", "dep one", "dep new"), "R4")),
    case(
        "edit, revert, another edit",
        Step(part("two"), "R3"),
        Step(part("one"), "R0"),
        Step(part("six"), "R3"),
    ),
    case(
        "one service per build: edit (api), revert (api), same edit (worker)",
        Step(part("two"), "R2", Build("api")),
        Step(part("one", "old"), "R2", Build("api")),
        Step(part("two"), "R2", Build("worker")),
    ),
    case(
        "two worktrees, different mtimes",
        Step(changed_worktree("b", part("two"), None), "R3"),
        Step(go("one/app"), "R0"),
        Step(go("one/app", main("two")), "R3"),
        Step(go("b", main("six")), "R3"),
    ),
    case(
        "two worktrees, same mtimes, different names",
        Step(changed_worktree("b", part("two", "same")), "R3"),
        Step(go("one/app"), "R0"),
        Step(go("one/app", main("two")), "R3"),
        Step(go("b"), "R0"),
    ),
    case(
        "two worktrees, same mtimes, same name",
        Step(changed_worktree("two/app", part("two", "same")), "R3"),
        Step(go("one/app"), "R0"),
        Step(go("two/app", main("two")), "R1"),
        Step(go("one/app"), "R0"),
        unguarded="S0 R0 S1 R0",
    ),
    case("module deleted but still used", Step(Delete(PART), "F")),
    case("include_str! file deleted", Step(Delete(f"{COMMON}/data/text.txt"), "F")),
    case(
        "module file deleted, code moved inline",
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
        "file added to a directory read by a macro; unrelated edit",
        Step(Write(f"{COMMON}/sql/2.sql", "two"), "R3"),
        Step(main("two"), "R1"),
        before=DECLARED,
    ),
    case(
        "file modified in a directory read by a macro", Step(Write(f"{COMMON}/sql/1.sql", "six"), "R3"), before=DECLARED
    ),
    case(
        "file deleted from a directory read by a macro",
        Step(Delete(f"{COMMON}/sql/2.sql"), "R3"),
        before=Several((DECLARED, Write(f"{COMMON}/sql/2.sql", "two", "old"))),
    ),
    case(
        "file added to a workspace-level directory read by a macro",
        Step(Write("services/migrations/2.sql", "alter"), "R4"),
    ),
    case(
        "file added to another package's directory read by a macro",
        Step(Write(f"{WORKER}/notes/b.txt", "note two"), "R3"),
    ),
    case(
        "file added to another package's directory; no symlinks in any package",
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
    case("foo.rs moved to foo/mod.rs", Step(Move(PART, f"{COMMON}/src/part/mod.rs"), "R3")),
    case(
        "two files swapped with mv, different mtimes",
        Step(Exchange(f"{COMMON}/data/text.txt", f"{COMMON}/data/swap2.txt"), "R3"),
        before=Several((DECLARED, Write(f"{COMMON}/data/swap2.txt", "swapped text\n", "old"))),
    ),
    case(
        "two files swapped with mv, same size and mtime; unrelated edit",
        Step(Exchange(f"{COMMON}/data/swap1.txt", f"{COMMON}/data/swap2.txt"), "R3"),
        Step(main("two"), "R1"),
        unguarded="S0 S1",
    ),
    case(
        "build script input: file replaced by a directory and back",
        Step(Several((Delete(f"{COMMON}/input/value"), Write(f"{COMMON}/input/value/x", "x", "old"))), "R3"),
        Step(Several((Delete(f"{COMMON}/input/value"), Write(f"{COMMON}/input/value", "value six\n", "old"))), "R3"),
    ),
    case(
        "symlink to a file retargeted; unrelated edit",
        Step(Link(f"{COMMON}/data/link.txt", "swap2.txt"), "R3"),
        Step(main("two"), "R1"),
        before=DECLARED,
    ),
    case("symlink to a directory retargeted", Step(Link(f"{COMMON}/data/dirlink", "d2"), "R3"), before=DECLARED),
    case("symlink out of the package retargeted", Step(Link(f"{COMMON}/outside", "../../shared2"), "R3")),
    case(
        "symlinked source directory retargeted",
        Step(Link(f"{MAC}/src", "../../v2"), "R4"),
        before=LINKED,
    ),
    case(
        "file in a symlinked directory edited, older mtime",
        Step(Write("services/shared/note.txt", "shared six\n", "old"), "R4"),
    ),
    case(
        "executable bit checked by build.rs set; cleared along with an edit",
        Step(Mode(f"{COMMON}/input/tool.sh", 0o755), "R3"),
        Step(Several((Mode(f"{COMMON}/input/tool.sh", 0o644), part("two"))), "R3"),
    ),
    case("build script input edited, older mtime", Step(Write(f"{COMMON}/input/value", "value two\n", "old"), "R3")),
    case("include_str! file edited, older mtime", Step(Write(f"{COMMON}/data/text.txt", "text two\n", "old"), "R3")),
    case(
        "feature enabled in Cargo.toml; version bumped; both with older mtimes",
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
        "different profile; [profile.release] edited",
        Step(None, "R5", Build(args=(("PROFILE", "fast"),))),
        Step(Replace("services/Cargo.toml", "debug-assertions = false", "debug-assertions = true"), "R5"),
    ),
    case(
        "rustflags added to .cargo/config.toml",
        Step(Write("services/.cargo/config.toml", CONFIGURED, "old"), "R5"),
    ),
    case(
        "build argument read by option_env!, two values",
        Step(None, "R4", Build(args=(("GREETING", "hello"),))),
        Step(None, "R4", Build(args=(("GREETING", "hi"),))),
    ),
    case(
        "undeclared environment variable read by build.rs",
        Step(None, "R4", Build(args=(("UNTRACKED", "1"),))),
    ),
    case("irrelevant environment variable", Step(None, "R0", Build(args=(("HTTPS_PROXY", "http://127.0.0.1:9"),)))),
    case(
        "killed mid-compile; same tree rebuilt",
        Step(part("two"), "", dies=True),
        Step(None, "R*"),
        classic="?",
    ),
    case(
        "killed mid-compile; different tree built next",
        Step(part("two"), "", dies=True),
        Step(part("six", "old"), "R*"),
        classic="?",
    ),
    case(
        "sync killed before marking (symlink retargeted)",
        Step(Link(f"{COMMON}/data/link.txt", "swap2.txt"), "W", Build(script=DYING)),
        Step(None, "R4"),
        before=DECLARED,
        classic="-",
    ),
    case(
        "sync killed before marking (file deleted)",
        Step(Delete(f"{COMMON}/sql/1.sql"), "W", Build(script=DYING)),
        Step(None, "R4"),
        before=DECLARED,
        classic="-",
    ),
    case(
        "compile error; reverted with an old mtime; edit",
        Step(Write(PART, "nonsense\n"), "F"),
        Step(part("one", "old"), "R0"),
        Step(part("two"), "R3"),
    ),
    case(
        "clock skew: whole mount an hour ahead; four edits",
        Step(in_mount(AN_HOUR_AHEAD, part("two")), "R4"),
        Step(part("six"), "R3"),
        Step(main("two"), "R1"),
        Step(Replace(f"{WORKER}/src/main.rs", "worker one", "worker two"), "R1"),
        before=DECLARED,
    ),
    case(
        "clock skew: whole mount an hour ahead; common edited, one service per build",
        Step(in_mount(AN_HOUR_AHEAD, part("two")), "R3", Build("api")),
        Step(None, "R1", Build("worker")),
        before=DECLARED,
    ),
    case(
        "common edited with an older mtime, one service per build",
        Step(part("two", "old"), "R2", Build("api")),
        Step(None, "R1", Build("worker")),
    ),
    case(
        "feature enabled by one program; the other built alone",
        Step(None, "R0", Build("api")),
        Step(part("two"), "R2", Build("api")),
        before=Replace(
            f"{WORKER}/Cargo.toml", '{ path = "../common" }', '{ path = "../common", features = ["extra"] }', "old"
        ),
    ),
    case(
        "broken package that is not part of the build",
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
    case("fresh clone (all mtimes new) with one edit", Step(Several((Times(None), main("two"))), "R1")),
    case(
        "different compiler: same path, size, mtime and version string",
        Step(None, "R5", Build(image="rustc")),
        Step(None, "R0"),
    ),
    case(
        "different system library: same path, size and mtime",
        Step(None, "R5", Build(image="library")),
        Step(part("two"), "R3"),
    ),
    case(
        "compiler selected by a rust-toolchain file",
        Step(Write("services/rust-toolchain", "b\n"), "R5"),
        Step(Write("services/rust-toolchain", "a\n"), "R5"),
    ),
    case(
        "build.rs generates src/gen.rs (not in the context); two edits",
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
        "build.rs writes into another package; that package edited",
        Step(Replace(f"{WORKER}/src/main.rs", "worker one", "worker two"), "R4"),
        before=BESIDE,
        classic="?",
    ),
    case(
        "build.rs reads Cargo.lock; dependency bumped",
        Step(Replace("services/Cargo.lock", BUMPED, BUMP), "R5"),
        before=LOCK_READER,
    ),
    case("build.rs lists a directory without rerun-if-changed; file deleted", Step(Delete(f"{COMMON}/listed/b"), "R3")),
    case(
        "build.rs lists a directory without rerun-if-changed; file added",
        Step(Write(f"{COMMON}/listed/c", "c\n"), "R3"),
    ),
    case(
        "program removed from the workspace; other program built",
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
        "file names with a newline, a space, | and é; unrelated edit",
        Step(
            Several(tuple(Write(f"{COMMON}/sql/{name}", "odd", "old") for name in ("a\nb", "a b", "a|b", "é"))),
            "R3",
        ),
        Step(main("two"), "R1"),
        before=DECLARED,
    ),
    case(
        "file names with a space, | and é; unrelated edit",
        Step(Several(tuple(Write(f"{COMMON}/sql/{name}", "odd", "old") for name in ("a b", "a|b", "é"))), "R3"),
        Step(main("two"), "R1"),
        before=DECLARED,
    ),
    case(
        "README, compose file and a crate's README edited",
        Step(
            Several(tuple(Write(name, "words\n") for name in ("README.md", "docker-compose.yaml", f"{API}/README.md"))),
            "R0",
        ),
    ),
    case(
        "another workspace of the context with the same members; the first one again, edited",
        Step(None, "R4", Build(args=(("SOURCE", "services/second"),))),
        Step(main("two"), "R4"),
        before=SECOND,
        classic="-",
    ),
    case(
        "value of [workspace.package] read by a macro edited",
        Step(Replace("services/Cargo.toml", 'license = "one"', 'license = "two"'), "R4"),
        before=LEAFY,
        first="R6",
    ),
    case(
        ".rs files read as data by a macro edited: outside src; in src",
        Step(Write(f"{LEAF}/snippets/a.rs", "snippet two\n"), "R4"),
        Step(Write(f"{LEAF}/src/texts/a.rs", "text two\n"), "R4"),
        before=LEAFY,
        first="R6",
    ),
    case(
        "Cargo.lock in a package read by a macro edited",
        Step(Write(f"{LEAF}/locks/Cargo.lock", "lock two\n"), "R4"),
        before=LEAFY,
        first="R6",
    ),
    case(
        "root package: its file read by a member edited; [env] in .cargo/config.toml",
        Step(Write("services/notes.txt", "two"), "R4"),
        Step(
            Write("services/.cargo/config.toml", f'{tree.BASE["services/.cargo/config.toml"]}\n[env]\nNOTE = "1"\n'),
            "R4",
        ),
        before=ROOTED,
        classic="-",
    ),
    case(
        "library outside its package; file added to a directory read by its macro",
        Step(Write(f"{LEAF}/snippets/b.txt", "snippet two\n"), "R4"),
        before=OUTLYING,
        first="R6",
    ),
    case(
        "build.rs lists OUT_DIR; name of its file changed; build.rs edited",
        Step(Write(f"{MAC}/name", "two\n"), "R4"),
        Step(Replace(f"{MAC}/build.rs", '"file {}"', '"item {}"'), "R4"),
        before=COLLECTING,
    ),
    case(
        "symlink to the vendored crates retargeted",
        Step(Link("services/vendor", "third/v2"), "R5"),
        before=VENDOR_LINKED,
    ),
    case("sources pruned from the mount", Step(in_mount("rm -rf */src src", part("two", "old")), "R5"), classic="-"),
    case("target pruned from the mount", Step(in_mount("rm -rf */target *", part("two", "old")), "R5")),
    case("state pruned from the mount", Step(in_mount("rm -rf */state", part("two", "old")), "R5"), classic="-"),
    case("entire mount pruned", Step(in_mount("rm -rf ..?* .[!.]* *", part("two", "old")), "R5")),
)


def run(site: Site, one: Case) -> list[str]:
    """Run a case; return the cells of its judged builds, in order."""
    if one.before is not None:
        one.before.apply(site.context)
    first = site.build(PLAIN)
    assert first.programs is not None, first.log
    assert site.judge(PLAIN, first) == one.first, first.log
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
    """Return whether the cells match the expected ones; `R*` matches any number of crates."""
    patterns = wanted.split()
    return len(seen) == len(patterns) and all(
        have == want or (want.endswith("*") and have[0] == want[0]) for have, want in zip(seen, patterns, strict=True)
    )
