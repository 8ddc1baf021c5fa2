"""The samples of an unfinished run, written as they come, so that a killed run can be resumed."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from buildkit_tasks.core import files, readfile, shapes
from buildkit_tasks.core.errors import Problem

from . import checked
from .figures import Sample

FILE = "samples.jsonl"


@dataclass
class Store:
    """The record of a run: its `name` and options first, then a line per sample or excluded contender or case."""

    path: Path
    name: str
    options: dict[str, Any]
    samples: list[Sample] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @classmethod
    def start(cls, folder: Path, name: str, options: Mapping[str, Any]) -> Store:
        """Begin a run, replacing the record of an earlier one."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        store = cls(folder / FILE, name, dict(options))
        files.replace(store.path, json.dumps({"name": name, "options": store.options}) + "\n", mode=0o600)
        return store

    def add(self, sample: Sample) -> None:
        """Record a sample."""
        self.samples.append(sample)
        self._write({"sample": dataclasses.asdict(sample)})

    def leave_out(self, what: str, why: str) -> None:
        """Record why a contender or case is missing."""
        self.left_out[what] = why
        self._write({"left_out": what, "why": why})

    def spent(self, seconds: float) -> None:
        """Record how long a part of the run took."""
        self.seconds += seconds
        self._write({"seconds": seconds})

    def rename(self, name: str) -> None:
        """Continue under another name, with empty mounts."""
        self.name = name
        self._write({"name": name})

    def has(self, contender: str, case: str, number: int) -> bool:
        """Return whether this sample exists already."""
        return any((s.contender, s.case, s.round) == (contender, case, number) for s in self.samples)

    def remove(self) -> None:
        """Remove the record of a finished run."""
        self.path.unlink(missing_ok=True)

    def _write(self, line: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())


def load(folder: Path) -> Store | None:
    """Return the record of an unfinished run, None if there is none. A half-written last line is ignored.

    Raises `Problem` bench-failed if the record cannot be read.
    """
    path = folder / FILE
    try:
        head, *lines = readfile.text(path).splitlines() or [""]
        first = shapes.loads(head, dict)
        shapes.check(first, {"name": str, "options": dict})
        store = Store(path, checked.name(first["name"]), first["options"])
        for number, line in enumerate(lines):
            try:
                entry = shapes.loads(line, dict)
            except ValueError:
                if number < len(lines) - 1:
                    raise
                files.replace(path, "\n".join([head, *lines[:-1]]) + "\n", mode=0o600)
                break
            _apply(store, entry)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Problem(
            "bench-failed",
            f"Cannot read the unfinished benchmark in {path}: {error}.",
            hint=f"delete {path}, then run the benchmark again",
        ) from None
    return store


def _apply(store: Store, entry: Mapping[str, Any]) -> None:
    if "sample" in entry:
        checked.sample(entry["sample"], "sample")
        store.samples.append(Sample(**entry["sample"]))
    elif "left_out" in entry:
        store.left_out[str(entry["left_out"])] = str(entry["why"])
    elif "name" in entry:
        store.name = checked.name(entry["name"])
    elif "seconds" in entry:
        shapes.check(entry, {"seconds": (int, float)})
        checked.finite(entry, "the duration")
        store.seconds += float(entry["seconds"])
