"""Recorded builds of generated projects, for tests of reports: built from Dockerfile, files and arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from buildkit_tasks.dockerfiles import cache_steps
from buildkit_tasks.dockerfiles.document import Dockerfile
from buildkit_tasks.dockerfiles.ignore import Ignore
from buildkit_tasks.explain.comparison import Kept
from buildkit_tasks.history import keys, trees
from buildkit_tasks.history.model import Build, Cargo, Inputs, ServiceRecord, TreeRecord

KEY = b"key"

DOCKERFILE = """\
ARG BASE=rust:1
FROM scratch AS choice
COPY rust-toolchain* docker/cross.sh /
FROM ${BASE} AS compile
ENV HOME=/root
RUN --mount=type=bind,from=choice,target=/choice setup
WORKDIR /out
ARG PROFILE=release
ARG FEATURES
ARG BINS
ARG REBUILD
RUN --mount=type=bind,target=/context --mount=type=cache,id=x,target=/build /compile build
FROM debian:12
ARG BIN
COPY --from=compile /out/${BIN} /usr/local/bin/
COPY config /etc/config
"""
FILES = {
    "docker/cross.sh": "x\n",
    "config/app.toml": "a = 1\n",
    "services/Cargo.toml": "[workspace]\n",
    "services/Cargo.lock": (
        '[[package]]\nname = "api"\nversion = "0.1.0"\ndependencies = ["common", "serde"]\n\n'
        '[[package]]\nname = "common"\nversion = "0.1.0"\n\n[[package]]\nname = "serde"\nversion = "1.0.1"\n'
    ),
    "services/api/Cargo.toml": '[package]\nname = "api"\n',
    "services/api/src/main.rs": "fn main() {}\n",
    "services/common/Cargo.toml": '[package]\nname = "common"\n[features]\nloud = []\n',
    "services/common/src/lib.rs": "\n",
    "services/common/words.txt": "words\n",
}
BASES = {"rust:1": "sha256:1", "debian:12": "sha256:2"}


@dataclass(frozen=True)
class Project:
    """The inputs of a build."""

    dockerfile: str = DOCKERFILE
    files: Mapping[str, str] = field(default_factory=lambda: dict(FILES))
    args: Mapping[str, str] = field(default_factory=lambda: {"BIN": "api"})
    bases: Mapping[str, str] = field(default_factory=lambda: dict(BASES))
    ignore: str = ""
    engine: str = "engine-1"
    no_cache: bool = False
    frontend: str = ""
    programs: Mapping[str, str] = field(default_factory=dict)

    def put(self, name: str, text: str | None) -> Project:
        """Return the project with another file; None removes the file."""
        files = {**self.files, name: text}
        return replace(self, files={n: t for n, t in files.items() if t is not None})

    def with_args(self, **args: str) -> Project:
        """Return the project with additional build arguments."""
        return replace(self, args={**self.args, **args})


class History:
    """Builds in order, and everything that a store would keep about them."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._listings: dict[str, trees.Listing] = {}
        self._texts: dict[str, str] = {}
        self.builds: list[Build] = []

    @property
    def kept(self) -> Kept:
        """Return what the history keeps."""
        return Kept(self._listings.get, self._texts.get)

    def build(self, project: Project, ran: str = "", cargo: Cargo | None = None, **more: object) -> Build:
        """Record a build. Steps whose line contains a word of `ran` ran; all others were cached."""
        folder = self._place / str(len(self.builds))
        for name, text in project.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            self._texts[trees.digest_of_bytes(text.encode(), KEY)] = text
        tree = trees.read(folder, Ignore.parse(project.ignore), {}, KEY)
        self._listings.update(tree.listings)
        ignore = trees.digest_of(project.ignore, KEY) if project.ignore else ""
        self._texts[ignore] = project.ignore
        found = keys.Steps(KEY, self._listings.get)
        steps = cache_steps.steps(Dockerfile.read(project.dockerfile), project.args)
        target = {"no-cache": True} if project.no_cache else {}
        at = found.add(steps, target, {"": tree.root}, dict(project.bases))
        states = tuple(
            replace(s, state="ran" if any(w in s.text for w in ran.split()) else "cached") for s in found.steps
        )
        inputs = Inputs(
            engine=project.engine,
            engine_version="1",
            builder="",
            commit="",
            platforms=(),
            profile=project.args.get("PROFILE", "release"),
            incremental=True,
            services=(ServiceRecord("api", "Dockerfile", {"": "."}, at, dict(project.programs), project.frontend),),
            steps=keys.with_keys(states, project.bases, KEY),
            trees={".": TreeRecord(".", ".dockerignore" if ignore else "", ignore, tree.root)},
            bases=dict(project.bases),
        )
        made = Build(0.0, 1.0, "build", "built", "", inputs, cargo=cargo or Cargo(), id=len(self.builds) + 1)
        self.builds.append(replace(made, **more))  # type: ignore[arg-type]
        return self.builds[-1]

    @property
    def earlier(self) -> list[Build]:
        """Return all builds except the last one, newest first."""
        return self.builds[-2::-1]
