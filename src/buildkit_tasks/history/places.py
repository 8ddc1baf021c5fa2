"""The directories that a build sends, each with the ignore file that applies to it, and their state."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from buildkit_tasks.core import readfile
from buildkit_tasks.core.model import Service
from buildkit_tasks.dockerfiles.ignore import Ignore

from . import trees
from .model import TreeRecord
from .store import Store

#: Small files whose text is kept, to explain what changed: a feature, a version, the toolchain.
TEXTS = frozenset({"Cargo.toml", "Cargo.lock", "rust-toolchain", "rust-toolchain.toml"})
_LONGEST_TEXT = 2_000_000


class Places:
    """Trees by name: the directory's path in the project, plus the ignore file if the directory is used with two."""

    def __init__(self, root: Path, store: Store) -> None:
        self._root, self._store = root, store
        self._by_place: dict[tuple[Path, Path | None], str] = {}
        self.records: dict[str, TreeRecord] = {}
        self.trees: dict[str, trees.Tree] = {}
        self.texts: dict[str, str] = {}

    def context(self, service: Service) -> str:
        """Return the name of a service's context. Raises `OSError`, and `ValueError` for an invalid ignore file."""
        inside = not service.inline and service.dockerfile.is_relative_to(service.context)
        return self._name(service.context, service.dockerfile if inside else service.context / "Dockerfile")

    def directories(self, service: Service) -> Iterator[tuple[str, str]]:
        """Yield the additional contexts that are directories: (name of the context, name of the tree)."""
        for name, value in service.contexts.items():
            if value.startswith("/") and Path(value).is_dir():
                yield name, self._name(Path(value), Path(value) / "Dockerfile")

    def find(self, digest: str) -> trees.Listing | None:
        """Return a listing of one of the trees."""
        return next((tree.listings[digest] for tree in self.trees.values() if digest in tree.listings), None)

    def _name(self, context: Path, dockerfile: Path) -> str:
        own = dockerfile.with_name(f"{dockerfile.name}.dockerignore")
        given = next((file for file in (own, context / ".dockerignore") if file.is_file()), None)
        if (context, given) not in self._by_place:
            name = relative(context, self._root)
            if name in self.trees:
                name = f"{name} ({relative(given, self._root) if given else 'without an ignore file'})"
            self._by_place[context, given] = name
            self._read(name, context, given)
        return self._by_place[context, given]

    def _read(self, name: str, context: Path, given: Path | None) -> None:
        key = self._store.key
        text = readfile.text(given, "surrogateescape") if given else ""
        tree = trees.read(context, Ignore.parse(text), self._store.files(name), key)
        ignore = trees.digest_of(text, key) if given else ""
        self.trees[name] = tree
        self.records[name] = TreeRecord(name, relative(given, self._root) if given else "", ignore, tree.root)
        if ignore:
            self.texts[ignore] = text
        for path, read in {**tree.fresh, **tree.young}.items():
            if path.rpartition("/")[2] in TEXTS and not self._store.has(read.digest):
                self._keep(context / path, read)

    def _keep(self, file: Path, known: trees.Known) -> None:
        if known.size <= _LONGEST_TEXT:
            data = file.read_bytes()
            if trees.digest_of_bytes(data, self._store.key) == known.digest:
                self.texts[known.digest] = data.decode("utf-8", "surrogateescape")


def relative(path: Path, root: Path) -> str:
    """Return a path below the project's root, relative to it; other paths are returned unchanged."""
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
