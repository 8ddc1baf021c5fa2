"""A tiny workspace that uses everything a build can depend on, and edits of it as values.

Crates: `mac` (a proc macro that lists a directory, as sqlx::migrate! does) and `dep` (vendored, two versions) <-
`common` (build.rs that declares nothing, include_str!, symlinks, features, a system library) <- `api`, `worker`. Both
programs print everything they were built from, so stale parts show up in their output.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

OLD = 1_000_000_000  # s since the epoch: 2001, older than anything a build writes
BASE_TIME = OLD + 86_400  # of the base tree; later than OLD, so an edit with an older time changes the time
COMMON = "services/crates/common"
API = "services/crates/api"
WORKER = "services/crates/worker"

_PACKAGE = '[package]\nname = "{0}"\nversion = "0.1.0"\nedition = "2021"\n'


def package(name: str) -> str:
    """Return the start of a Cargo.toml."""
    return _PACKAGE.format(name)


_LOCK = """version = 4

[[package]]
name = "api"
version = "0.1.0"
dependencies = [
 "common",
 "mac",
]

[[package]]
name = "common"
version = "0.1.0"
dependencies = [
 "dep",
 "mac",
]

[[package]]
name = "dep"
version = "1.0.1"
source = "registry+https://github.com/rust-lang/crates.io-index"

[[package]]
name = "mac"
version = "0.1.0"

[[package]]
name = "worker"
version = "0.1.0"
dependencies = [
 "common",
 "mac",
]
"""

_MAC = """use proc_macro::TokenStream;
use std::path::Path;

/// The names and contents of a directory below (or beside) the crate that asks, as one string.
#[proc_macro]
pub fn listing(input: TokenStream) -> TokenStream {
    let asked = input.to_string();
    let dir = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join(asked.trim_matches('"'));
    let mut found = Vec::new();
    if let Ok(entries) = std::fs::read_dir(dir) {
        for entry in entries {
            let path = entry.unwrap().path();
            let content = std::fs::read_to_string(&path).unwrap_or_else(|_| "?".into());
            found.push(format!("{}={}", path.file_name().unwrap().to_string_lossy(), content.trim()));
        }
    }
    found.sort();
    format!("{:?}", found.join(" ")).parse().unwrap()
}
"""

_BUILD = """use std::{env, fs, os::unix::fs::PermissionsExt};

fn names(dir: &str) -> String {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names.join(",")
}

fn main() {
    let value = fs::read_to_string("input/value").unwrap_or_else(|_| names("input/value"));
    let mode = fs::metadata("input/tool.sh").unwrap().permissions().mode() & 0o100 != 0;
    let untracked = env::var("UNTRACKED").unwrap_or_default();
    let facts = format!("value={} exec={mode} listed={} untracked={untracked}", value.trim(), names("listed"));
    println!("cargo:rustc-env=FACTS={facts}");
    println!("cargo:rustc-link-search=native=/usr/local/lib");
    println!("cargo:rustc-link-lib=static=sys");
}
"""

_LIB = """#![allow(unexpected_cfgs)]
pub mod part;

unsafe extern "C" {
    fn sys_value() -> i32;
}

pub fn report() -> String {
    let flavor = if cfg!(flavor = "b") { "b" } else { "a" };
    [
        format!("part {}", part::TEXT),
        format!("facts {}", env!("FACTS")),
        format!("sql {}", mac::listing!("sql")),
        format!("text {}", include_str!("../data/text.txt").trim()),
        format!("link {}", include_str!("../data/link.txt").trim()),
        format!("dirlink {}", include_str!("../data/dirlink/file.txt").trim()),
        format!("outside {}", include_str!("../outside/note.txt").trim()),
        format!("greeting {}", option_env!("GREETING").unwrap_or("-")),
        format!("extra {}", cfg!(feature = "extra")),
        format!("version {}", env!("CARGO_PKG_VERSION")),
        format!("configured {}", cfg!(configured)),
        format!("asserts {}", cfg!(debug_assertions)),
        format!("dep {}", dep::TEXT),
        format!("rustc {flavor}"),
        format!("sys {}", unsafe { sys_value() }),
    ]
    .join("\\n")
}
"""

_MAIN = """fn main() {
    println!("NAME one");
    println!("other {}", mac::listing!("OTHER"));
    println!("{}", common::report());
}
"""


def _dep(version: str, text: str) -> dict[str, str]:
    top = f"services/vendor/dep-{version}"
    return {
        f"{top}/Cargo.toml": f'[package]\nname = "dep"\nversion = "{version}"\nedition = "2021"\n',
        f"{top}/src/lib.rs": f'pub const TEXT: &str = "{text}";\n',
        f"{top}/.cargo-checksum.json": '{"files":{}}\n',
    }


#: Maps paths to contents. Contents that start with "->" are symlinks; names that end in "/" are empty directories.
BASE: Mapping[str, str] = {
    "services/Cargo.toml": '[workspace]\nresolver = "2"\nmembers = ["crates/*"]\n\n'
    "[profile.release]\nopt-level = 0\ndebug-assertions = false\n\n"
    '[profile.fast]\ninherits = "release"\ndebug-assertions = true\n',
    "services/Cargo.lock": _LOCK,
    "services/.cargo/config.toml": '[source.crates-io]\nreplace-with = "vendored"\n\n'
    '[source.vendored]\ndirectory = "vendor"\n',
    **_dep("1.0.1", "dep one"),
    **_dep("1.0.2", "dep two"),
    "services/migrations/1.sql": "create",
    "services/shared/note.txt": "shared one\n",
    "services/shared2/note.txt": "shared two\n",
    "services/crates/mac/Cargo.toml": package("mac") + "\n[lib]\nproc-macro = true\n",
    "services/crates/mac/src/lib.rs": _MAC,
    f"{COMMON}/Cargo.toml": package("common") + "\n[features]\ndefault = []\nextra = []\n"
    '\n[dependencies]\nmac = { path = "../mac" }\ndep = "1.0"\n',
    f"{COMMON}/build.rs": _BUILD,
    f"{COMMON}/src/lib.rs": _LIB,
    f"{COMMON}/src/part.rs": 'pub const TEXT: &str = "part one";\n',
    f"{COMMON}/sql/1.sql": "one",
    f"{COMMON}/input/value": "value one\n",
    f"{COMMON}/input/tool.sh": "#!/bin/sh\n",
    f"{COMMON}/listed/a": "a\n",
    f"{COMMON}/listed/b": "b\n",
    f"{COMMON}/data/text.txt": "text one\n",
    f"{COMMON}/data/swap1.txt": "swap one\n",
    f"{COMMON}/data/swap2.txt": "swap two\n",
    f"{COMMON}/data/link.txt": "->swap1.txt",
    f"{COMMON}/data/d1/file.txt": "d one\n",
    f"{COMMON}/data/d2/file.txt": "d two\n",
    f"{COMMON}/data/dirlink": "->d1",
    f"{COMMON}/outside": "->../../shared",
    f"{API}/Cargo.toml": package("api")
    + '\n[dependencies]\ncommon = { path = "../common" }\nmac = { path = "../mac" }\n',
    f"{API}/src/main.rs": _MAIN.replace("NAME", "api").replace("OTHER", "../worker/notes"),
    f"{WORKER}/Cargo.toml": package("worker")
    + '\n[dependencies]\ncommon = { path = "../common" }\nmac = { path = "../mac" }\n',
    f"{WORKER}/src/main.rs": _MAIN.replace("NAME", "worker").replace("OTHER", "../../migrations"),
    f"{WORKER}/notes/a.txt": "note one",
}


def put(root: Path, path: str, content: str, time: float | None = None) -> None:
    """Create one entry of the tree. `time`: seconds since the epoch, or None for the current time."""
    target = root / path
    if path.endswith("/"):
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink() or content.startswith("->"):
        target.unlink(missing_ok=True)
    if content.startswith("->"):
        target.symlink_to(content[2:])
    else:
        target.write_text(content)
    if time is not None:
        os.utime(target, (time, time), follow_symlinks=False)


def make(root: Path, files: Mapping[str, str] = BASE, time: float | None = BASE_TIME) -> None:
    """Create a whole tree; all files get the same time unless `time` is None."""
    for path, content in files.items():
        put(root, path, content, time)


@dataclass(frozen=True)
class Change:
    """One edit of a tree on the host."""

    def apply(self, root: Path) -> None:
        """Apply the edit."""
        raise NotImplementedError


@dataclass(frozen=True)
class Write(Change):
    """Write new content. `time`: "now", "old" (before any build), or "same" (keep the file's time and size)."""

    path: str
    text: str
    time: str = "now"

    def apply(self, root: Path) -> None:
        target = root / self.path
        before = target.stat() if target.is_file() else None
        if self.time == "same":
            assert before is not None, f"{self.path} must keep its time, but does not exist"
            assert before.st_size == len(self.text.encode()), f"{self.path} must keep its size"
        if target.is_symlink():
            target.unlink()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(self.text)
        if self.time == "old":
            os.utime(target, (OLD, OLD))
        elif before is not None and self.time == "same":
            os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))


@dataclass(frozen=True)
class Replace(Change):
    """Replace part of a file; fail if the file does not contain it."""

    path: str
    old: str
    new: str
    time: str = "now"

    def apply(self, root: Path) -> None:
        text = (root / self.path).read_text()
        assert self.old in text, f"{self.old!r} is not in {self.path}"
        Write(self.path, text.replace(self.old, self.new), self.time).apply(root)


@dataclass(frozen=True)
class Delete(Change):
    """Delete a file, symlink or directory."""

    path: str

    def apply(self, root: Path) -> None:
        target = root / self.path
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink()


@dataclass(frozen=True)
class Move(Change):
    """Rename a path; like `mv`, keep its times."""

    path: str
    to: str

    def apply(self, root: Path) -> None:
        (root / self.to).parent.mkdir(parents=True, exist_ok=True)
        (root / self.path).rename(root / self.to)


@dataclass(frozen=True)
class Exchange(Change):
    """Swap two files, including their times."""

    one: str
    two: str

    def apply(self, root: Path) -> None:
        aside = root / f"{self.one}.aside"
        (root / self.one).rename(aside)
        (root / self.two).rename(root / self.one)
        aside.rename(root / self.two)


@dataclass(frozen=True)
class Link(Change):
    """Retarget a symlink."""

    path: str
    to: str

    def apply(self, root: Path) -> None:
        (root / self.path).unlink(missing_ok=True)
        (root / self.path).symlink_to(self.to)


@dataclass(frozen=True)
class Mode(Change):
    """Set the permission bits."""

    path: str
    mode: int

    def apply(self, root: Path) -> None:
        (root / self.path).chmod(self.mode)


@dataclass(frozen=True)
class Times(Change):
    """Set the time of all files (s since the epoch, or None for now), like a fresh clone or normalized mtimes."""

    time: float | None

    def apply(self, root: Path) -> None:
        for path in (root / "services").rglob("*"):
            if path.is_file() and not path.is_symlink():
                os.utime(path, None if self.time is None else (self.time, self.time))


@dataclass(frozen=True)
class Several(Change):
    """Apply several edits at once."""

    changes: tuple[Change, ...] = field(default=())

    def apply(self, root: Path) -> None:
        for change in self.changes:
            change.apply(root)
