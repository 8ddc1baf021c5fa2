"""The record of one build as values, and as JSON. Values of build arguments are kept as keyed digests only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from buildkit_tasks.core import shapes

#: The version of the format. Builds recorded in a different version are skipped.
VERSION = 1


@dataclass(frozen=True)
class Read:
    """The files a step reads: files in a tree (by name) that match the patterns, or files in an image."""

    place: str
    patterns: tuple[str, ...]
    digest: str


@dataclass(frozen=True)
class StepRecord:
    """One step and what it depends on.

    `variables`: digest per argument; `options`: digest of the target's options that affect processes; `unsure`: inputs
    that we cannot see; `key`: digest of all inputs and of the steps below; `state`: ran, cached, failed, or ""
    if BuildKit did not report it. The other fields: see `CacheStep`.
    """

    stage: str
    number: int
    line: int
    keyword: str
    text: str
    variables: Mapping[str, str]
    surroundings: tuple[str, ...]
    reads: tuple[Read, ...]
    base: str
    after: int | None
    needs: tuple[int, ...]
    options: str
    unsure: str
    no_cache: bool
    key: str = ""
    state: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class ServiceRecord:
    """A service of a build: its Dockerfile, and the positions of its steps.

    `trees`: the tree behind each context that is a directory, "" being the build context; `shown`: arguments that are
    not secret; `frontend`: the image that parses the Dockerfile, if the Dockerfile specifies one.
    """

    name: str
    dockerfile: str
    trees: Mapping[str, str]
    steps: tuple[int, ...]
    shown: Mapping[str, str]
    frontend: str = ""


@dataclass(frozen=True)
class TreeRecord:
    """A directory that a build sent: the tree's name, the ignore file that applied, its digest, the root's digest."""

    name: str
    ignore_file: str
    ignore: str
    root: str


@dataclass(frozen=True)
class Inputs:
    """The inputs of a build. `bases`: image id per reference, "" if unknown."""

    engine: str
    engine_version: str
    builder: str
    commit: str
    platforms: tuple[str, ...]
    profile: str
    incremental: bool
    services: tuple[ServiceRecord, ...]
    steps: tuple[StepRecord, ...]
    trees: Mapping[str, TreeRecord]
    bases: Mapping[str, str]


@dataclass(frozen=True)
class ImageRecord:
    """One image of a build; `size` in bytes, 0 if unknown."""

    service: str
    image: str
    digest: str
    changed: bool
    size: int


#: Maximum length of a stored step name, in characters.
CUT = 300


@dataclass(frozen=True)
class Seen:
    """A step as BuildKit reported it; `began` in seconds after the build's first step.

    `internal`: BuildKit's own work, such as loading the context; `at`: the step's position in the inputs, if known;
    `error`: failed, canceled, or ""; `finished`: when cargo reported that it had finished, if the step ran cargo.
    """

    name: str
    cached: bool
    seconds: float | None
    began: float
    internal: bool = False
    at: int | None = None
    error: str = ""
    finished: float | None = None


@dataclass(frozen=True)
class Crate:
    """A crate that cargo compiled: its directory in the context (None if from a registry), and when it began.

    `step`: its position among the recorded steps, if known.
    """

    name: str
    version: str
    place: str | None
    began: float
    step: int | None = None


@dataclass(frozen=True)
class Cargo:
    """What the compile step reported. `tree`: the path of its objects in the mount, which identifies the toolchain.

    `total`: the number of crates, reported if the target mount had no objects; `downloaded`: crates that cargo
    downloaded.
    """

    crates: tuple[Crate, ...] = ()
    fresh: int | None = None
    total: int | None = None
    marked: tuple[str, ...] = ()
    tree: str = ""
    downloaded: int = 0


@dataclass(frozen=True)
class Build:
    """A recorded build. `began`: seconds since the epoch. `outcome`: built or failed, with the problem's code.

    `pulled`: a pack filled the mounts; `disturbed`: files changed while they were read, so the inputs may be wrong.
    """

    began: float
    seconds: float
    command: str
    outcome: str
    problem: str
    inputs: Inputs
    images: tuple[ImageRecord, ...] = ()
    seen: tuple[Seen, ...] = ()
    cargo: Cargo = field(default_factory=Cargo)
    pulled: bool = False
    disturbed: bool = False
    id: int = 0

    def service(self, name: str) -> ServiceRecord | None:
        """Return the service with this name, if the build had it."""
        return next((service for service in self.inputs.services if service.name == name), None)


@dataclass(frozen=True)
class Sizes:
    """The sizes of a project's caches, in bytes, as the builder listed them. `taken`: seconds since the epoch.

    `engine`: the engine's id; `builder`: "" for the engine's own; `parts`: cache mounts by kind, and `layers`;
    `total`: the whole build cache, including that of other projects.
    """

    taken: float
    engine: str
    builder: str
    parts: Mapping[str, int]
    total: int


def dump(build: Build) -> str:
    """Return a build as JSON text."""
    return json.dumps({"version": VERSION, **asdict(build)}, separators=(",", ":"))


def load(text: str, number: int) -> Build | None:
    """Parse a build from JSON. Return None if it has a different version of the format."""
    try:
        content = shapes.loads(text, dict)
        if content.pop("version") != VERSION:
            return None
        inputs = content.pop("inputs")
        cargo = content.pop("cargo")
        return Build(
            **{
                **content,
                "id": number,
                "inputs": _inputs(inputs),
                "images": tuple(ImageRecord(**image) for image in content["images"]),
                "seen": tuple(Seen(**seen) for seen in content["seen"]),
                "cargo": Cargo(
                    **{
                        **cargo,
                        "crates": tuple(Crate(**crate) for crate in cargo["crates"]),
                        "marked": tuple(cargo["marked"]),
                    }
                ),
            }
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _inputs(content: dict[str, Any]) -> Inputs:
    return Inputs(
        **{
            **content,
            "platforms": tuple(content["platforms"]),
            "services": tuple(
                ServiceRecord(**{**service, "steps": tuple(map(int, service["steps"]))})
                for service in content["services"]
            ),
            "steps": tuple(map(_step, content["steps"])),
            "trees": {name: TreeRecord(**tree) for name, tree in content["trees"].items()},
        }
    )


def _step(content: dict[str, Any]) -> StepRecord:
    return StepRecord(
        **{
            **content,
            "surroundings": tuple(content["surroundings"]),
            "reads": tuple(Read(r["place"], tuple(r["patterns"]), r["digest"]) for r in content["reads"]),
            "needs": tuple(map(int, content["needs"])),
        }
    )
