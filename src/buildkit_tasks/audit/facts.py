"""The facts found in an image, before any rule evaluates them. Values only."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

#: Maximum number of facts of one kind to keep per layer, and of files with the same secret; the rest is only counted.
MOST, MOST_ALIKE = 1000, 100


@dataclass(frozen=True)
class Hit:
    """A secret in a file. `code`: the rule; `what`: the variable or the kind of key, never the value."""

    code: str
    path: str
    what: str


@dataclass(frozen=True)
class Mode:
    """A file or directory with unusual permissions. `capable`: it has capabilities, setcap(8)."""

    path: str
    mode: int
    directory: bool = False
    capable: bool = False


def _numbers() -> array[int]:
    return array("q")


@dataclass
class Paths:
    """The paths that a layer contains, replaces and deletes, as hashes of eight bytes each."""

    entries: array[int] = field(default_factory=_numbers)
    leaves: array[int] = field(default_factory=_numbers)
    removed: array[int] = field(default_factory=_numbers)
    emptied: array[int] = field(default_factory=_numbers)

    def among(self, wanted: Set[int]) -> Few:
        """Return the same for a few paths, given as hashes of the paths and of their parent directories."""
        every = (self.entries, self.leaves, self.removed, self.emptied)
        return Few(*(frozenset(number for number in numbers if number in wanted) for numbers in every))


@dataclass(frozen=True)
class Few:
    """Some paths of a layer, as in `Paths`."""

    entries: frozenset[int]
    leaves: frozenset[int]
    removed: frozenset[int]
    emptied: frozenset[int]

    def hides(self, path: str) -> bool:
        """Return whether this layer replaces or deletes a path of an earlier layer."""
        own, *parents = _above(path)
        return (
            own in self.entries
            or not self.removed.isdisjoint((own, *parents))
            or not self.emptied.isdisjoint(parents)
            or not self.leaves.isdisjoint(parents)
        )


def owned_hash(path: str) -> int:
    """Return the hash of a path in a package's list. Lists may have `/lib/x` for `/usr/lib/x`."""
    return hash(path.removeprefix("/usr"))


def _above(path: str) -> list[int]:
    """Return the hashes of a path and of the directories above it, without the root."""
    parts = path.split("/")
    return [hash("/".join(parts[:n])) for n in range(len(parts), 1, -1)]


@dataclass
class Layer:
    """One layer. `name`: its name in the archive; `texts`: files that are read whole; `programs`: SHA-256 by path.

    `owned`: hashes of the paths that its package databases list. `more`: how many facts were found beyond those kept,
    by kind; `alike`: how many files have the same secret. `unread`: why it was not read to its end, if so.
    """

    name: str
    files: int = 0
    size: int = 0
    hits: list[Hit] = field(default_factory=list)
    modes: list[Mode] = field(default_factory=list)
    texts: dict[str, bytes] = field(default_factory=dict)
    programs: dict[str, str] = field(default_factory=dict)
    paths: Paths = field(default_factory=Paths)
    owned: array[int] = field(default_factory=_numbers)
    more: dict[str, int] = field(default_factory=dict)
    alike: dict[tuple[str, str], int] = field(default_factory=dict)
    unread: str = ""


@dataclass(frozen=True)
class Image:
    """An image for one platform. `steps`: the step that created each layer, with values removed, "" if unknown.

    `base`: how many of the first layers come from the base image, None if unknown.
    """

    name: str
    id: str
    platform: str
    config: Mapping[str, Any]
    history: Sequence[str]
    layers: Sequence[Layer]
    steps: Sequence[str]
    base: int | None = None

    def hidden(self, number: int, paths: Iterable[str]) -> frozenset[str]:
        """Return which of these paths of the layer `number` (from 0) a later layer replaces or deletes."""
        later = self._few[number + 1 :]
        return frozenset(path for path in paths if any(few.hides(path) for few in later))

    @cached_property
    def _few(self) -> list[Few]:
        """The paths of each layer that any fact refers to."""
        paths: set[str] = set()
        for layer in self.layers:
            paths.update(layer.texts, layer.programs, (h.path for h in layer.hits), (m.path for m in layer.modes))
        wanted = {number for path in paths for number in _above(path)}
        return [layer.paths.among(wanted) for layer in self.layers]

    def owned(self, paths: Iterable[str]) -> frozenset[str]:
        """Return which of these paths a package of the distribution installed."""
        wanted = {owned_hash(path): path for path in paths}
        if not wanted:
            return frozenset()
        return frozenset(wanted[number] for layer in self.layers for number in layer.owned if number in wanted)

    @property
    def texts(self) -> dict[str, bytes]:
        """The files that were read whole, as they are in the final image."""
        return self._last([layer.texts for layer in self.layers])

    @property
    def programs(self) -> dict[str, str]:
        """SHA-256 of the executable files, as they are in the final image."""
        return self._last([layer.programs for layer in self.layers])

    def _last(self, kept: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for number, values in enumerate(kept):
            hidden = self.hidden(number, values)
            found |= {path: value for path, value in values.items() if path not in hidden}
        return found
