"""Finds files outside the crates that a compilation reads and that the build context must contain."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass

from . import tree
from .cargo import CargoWorkspace, Package
from .tree import Tree

#: Macros and attributes in Rust sources that may be followed by the path of a file that the compiler reads.
_READS = re.compile(
    r"(?:\binclude(?:_str|_bytes|_dir|_proto|_flate\w*)?!|_file\w*!|migrat\w*!|\bquery_file|"
    r"\b(?:schema_path|query_path|response_derives|folder|path|dir|directory|file|template|grammar|embed\w*|i18n|locales?|load_\w+|wit|idl|abi\w*)"
    r"\s*[!=(]|\bcompile(?:_protos|_fds)?\s*\()"
)
#: A program to start, which is not a file of the repository, whatever its name.
_STARTED = re.compile(r'\bCommand::new\s*\(\s*"[\w.-]*"')
_LITERAL = re.compile(r'"((?:[^"\\\n]|\\.){1,300})"')
_AFTER = 300  # number of characters to check after a match

#: Crates that implicitly read a directory of the crate or the workspace.
_IMPLICIT = {
    "askama": "templates",
    "askama_derive": "templates",
    "rinja": "templates",
    "sailfish": "templates",
    "diesel_migrations": "migrations",
    "refinery": "migrations",
    "sqlx": "migrations",
    "sqlx-macros": "migrations",
    "rust-i18n": "locales",
    "fluent-templates": "locales",
    "dioxus": "assets",
}

#: Files in a crate's or workspace's directory that compile-time tools read.
CONFIGURATION = (
    ".sqlx",
    "sqlx-data.json",
    "sqlx.toml",
    "askama.toml",
    "diesel.toml",
    "rinja.toml",
    "i18n.toml",
    "buf.yaml",
    "build.rs",
    "src",
    "benches",
    "examples",
    "tests",
)


@dataclass(frozen=True)
class Reach:
    """`paths`: files and directories needed in the context, in the shortest form, sorted. `offline`: sqlx's prepared
    queries exist. `database`: a macro queries a database at compile time. `git`: a macro runs git.
    """

    paths: tuple[str, ...]
    offline: bool = False
    database: bool = False
    git: bool = False


def find(files: Tree, workspace: CargoWorkspace) -> Reach:
    """Return everything that compiling a workspace reads, according to its manifests, sources and build scripts."""
    found: set[str] = {workspace.path("Cargo.toml"), workspace.path("Cargo.lock")}
    found.update(p for p in (workspace.toolchain, *workspace.config, *workspace.vendored) if p)
    found.update(workspace.path(name) for name in CONFIGURATION if files.exists(workspace.path(name)))
    crates = [*workspace.packages, *workspace.extra]
    inner = [p for p in crates if p.directory != workspace.directory]
    found.update(p.directory for p in inner)
    found.update(f"{p.directory}/Cargo.toml" for p in workspace.extra)
    found.update(root for p in workspace.extra for root in _roots(files, p))
    for p in crates:
        found.update(_implicit(files, workspace, p))
        for path in _sources(files, p, inner):
            found.update(_named(files, workspace, p, path))
    # editing a README must not rebuild every crate, unless a crate reads it
    texts = {path for path in found if path.lower().endswith(".md")}
    kept = _shortest({p for p in found if not p.startswith("../") and p not in (".", "..")} - texts)
    prepared = any(posixpath.basename(p) in (".sqlx", "sqlx-data.json") for p in found) or any(
        "/.sqlx/" in f"/{path}" for path in files.files
    )
    asks = any(p.name == "sqlx-macros" for p in workspace.locked) and _query_macros(files, crates, inner)
    return Reach(
        tuple(sorted(kept | texts)),
        offline=prepared,
        database=asks and not prepared,
        git=bool(workspace.names & {"git-version", "git-version-macro"}),
    )


def _roots(files: Tree, package: Package) -> Iterator[str]:
    """Yield the manifest of the workspace that an outside crate inherits from: the nearest one above it."""
    directory = package.directory
    while directory:
        directory = posixpath.dirname(directory)
        path = tree.join(directory or ".", "Cargo.toml")
        if re.search(r"(?m)^\s*\[workspace[\].]", files.text(path)):
            yield path
            return


def beyond(files: Tree, workspace: CargoWorkspace, package: Package) -> frozenset[str]:
    """Return files and directories outside a crate that its sources and build script refer to."""
    crates = [*workspace.packages, *workspace.extra]
    found: set[str] = set()
    for path in _sources(files, package, crates):
        text = files.text(path)
        if '"..' in text or "/../" in text or path == package.build_script:  # others stay inside the crate
            found.update(_named(files, workspace, package, path))
    inside = f"{package.directory}/"
    return frozenset(p for p in found if p != package.directory and not p.startswith(inside))


def _sources(files: Tree, package: Package, others: list[Package]) -> Iterator[str]:
    """Return a crate's Rust files, excluding nested crates."""
    deeper = tuple(f"{o.directory}/" for o in others if o.directory != package.directory)
    mine = "" if package.directory == "." else f"{package.directory}/"
    deeper = tuple(d for d in deeper if d.startswith(mine))
    return (p for p in files.below(package.directory) if p.endswith(".rs") and not p.startswith(deeper or "\0"))


def _implicit(files: Tree, workspace: CargoWorkspace, package: Package) -> Iterator[str]:
    for crate, folder in _IMPLICIT.items():
        if crate in package.dependencies:
            for directory in (package.directory, workspace.directory):
                path = tree.join(directory, folder)
                if files.is_dir(path):
                    yield path


def _named(files: Tree, workspace: CargoWorkspace, package: Package, source: str) -> Iterator[str]:
    """Yield existing paths in the strings of a source file; in a build script, every string is checked."""
    text = _STARTED.sub("", files.text(source))
    script = source == package.build_script or posixpath.basename(source) == "build.rs"
    spans = [text] if script else [text[m.start() : m.end() + _AFTER] for m in _READS.finditer(text)]
    bases = (posixpath.dirname(source), package.directory, workspace.directory)
    for span in spans:
        for literal in _LITERAL.findall(span):
            word = literal.lstrip("/").removeprefix("$CARGO_MANIFEST_DIR/")
            if not word or re.fullmatch(r"[./]*|src|target", word):
                continue
            for base in bases:
                path = tree.join(base, word)
                if path not in (".", "..") and files.exists(path) and not path.startswith(".git/"):
                    yield path
            if any(c in word for c in "*?") and "/" in word:
                folder = tree.join(package.directory, re.split(r"[*?\[{]", word, maxsplit=1)[0].rpartition("/")[0])
                if files.is_dir(folder) and folder != ".":
                    yield folder


def _query_macros(files: Tree, crates: list[Package], inner: list[Package]) -> bool:
    """Return whether a crate uses sqlx's macros, which check their queries against a database."""
    used = re.compile(r"\b(?:query|query_as|query_scalar|query_file|query_file_as)!\s*\(")
    return any(
        used.search(files.text(path)) for p in crates if "sqlx" in p.dependencies for path in _sources(files, p, inner)
    )


def _shortest(paths: set[str]) -> set[str]:
    """Drop paths that are below another path in the set."""
    return {p for p in paths if not any(p.startswith(f"{other}/") for other in paths)}
