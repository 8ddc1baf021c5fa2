"""Where a benchmark runs: scratch trees, their edits, compose files, images and mounts, all under a name of its own."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.dockercli import buildx, docker, docker_run
from buildkit_tasks.engine import cache_records
from buildkit_tasks.project.discover import Project
from buildkit_tasks.samples import checked
from buildkit_tasks.samples.catalogue import BARE, BY_NAME, OURS, Way

from . import contenders, copies, inside, source_text
from .contenders import Contenders
from .edits import Dependency, Edit

#: Number of passes that remove cache records: a record can be removed once no other builds on it.
_PASSES = 3


@dataclass
class Arena:
    """One run. `name`: the cache namespace and the prefix of images, volumes and layers.

    `trees`: the scratch tree of each family; `markers`: the edits that each contains now. `found`: the contenders.
    `hidden`: for each contender, the edits whose text its programs do not show, for example because they are packed.
    """

    session: Session
    project: Project
    folder: Path
    name: str
    service: str
    trees: dict[str, Path]
    found: Contenders = field(default_factory=lambda: Contenders({}, {}, {}))
    markers: dict[str, dict[Edit, str]] = field(default_factory=dict)
    hidden: dict[str, tuple[Edit, ...]] = field(default_factory=dict)

    @property
    def platform(self) -> str:
        """The engine's own platform."""
        return f"{self.project.engine.os}/{self.project.engine.arch}"

    def say(self, line: str) -> None:
        """Print a line of progress."""
        self.session.report.say(f"  {line}")

    def image(self, contender: str, service: str) -> str:
        """Return the name of a contender's image of a service."""
        return f"{self.name}/{list(self.found.builds).index(contender)}-{service.lower()}"

    def tool(self, contender: str) -> str:
        """Return the name of the image with a contender's tool."""
        return f"{self.name}/tool-{list(self.found.builds).index(contender)}"

    def volume(self, kind: str) -> str:
        """Return the name of a volume of the contender that runs cargo itself."""
        return f"{self.name}-{kind}"

    def file(self, contender: str) -> Path:
        """Return a contender's compose file."""
        return self.folder / f"{list(self.found.builds).index(contender)}.json"

    # ---- trees

    def copy(self, family: str) -> None:
        """Copy the repository to a new tree of a family. All files get new modification times, as in a clone.

        Problems: bench-failed.
        """
        old = self.trees.get(family)
        new = self.folder / f"{family}-{secrets.token_hex(3)}" / self.session.root.name
        copies.copy(old or self.session.root, new, whole=bool(old))
        self.trees[family] = new
        if old:
            shutil.rmtree(old.parent, ignore_errors=True)

    def write(self, old: Path | None = None, new: Path | None = None) -> None:
        """Write the contenders' compose files. With `old` and `new`, a tree has moved."""
        if old and new:
            self.found = Contenders(_moved(self.found.builds, old, new), self.found.left_out, self.found.tools)
        for contender, builds in self.found.builds.items():
            images = {service: self.image(contender, service) for service in builds}
            contenders.write(self.session, self.name, builds, images, self.file(contender))

    def clone(self, family: str) -> None:
        """Move the family to a fresh clone of its tree, at another path."""
        old = self.trees[family]
        self.copy(family)
        self.write(old, self.trees[family])

    # ---- edits

    def edit(self, way: Way, what: Edit) -> None:
        """Write a new marker into the text. No earlier build can contain it."""
        marker = _marker()
        path = self.trees[way.family] / what.file
        path.write_text(source_text.edit_literal(path.read_text("utf-8"), what.text, marker), "utf-8")
        self.markers.setdefault(way.family, {})[what] = marker

    def comment(self, way: Way, what: Edit) -> None:
        """Write a new comment into the file of an edit; the program must not change."""
        path = self.trees[way.family] / what.file
        path.write_text(source_text.comment(path.read_text("utf-8"), _marker()), "utf-8")

    def text(self, way: Way, what: Edit) -> tuple[str, str]:
        """Return the text of an edited file and its marker, to put them back later."""
        text = (self.trees[way.family] / what.file).read_text("utf-8")
        return text, self.markers.get(way.family, {}).get(what, "")

    def restore(self, way: Way, what: Edit, before: tuple[str, str]) -> None:
        """Write an earlier text back, as `git switch` does."""
        (self.trees[way.family] / what.file).write_text(before[0], "utf-8")
        self.markers.setdefault(way.family, {})[what] = before[1]

    def depend(self, way: Way, what: Dependency, change: Callable[..., tuple[str, str]], *words: Any) -> None:
        """Change the manifest and the lock file of a dependency. Problems: bench-failed."""
        manifest = self.trees[way.family] / what.manifest
        lock = next((p / "Cargo.lock" for p in manifest.parents if (p / "Cargo.lock").is_file()), None)
        if lock is None:
            raise Problem("bench-failed", f"There is no Cargo.lock above {what.manifest}.")
        try:
            new = change(manifest.read_text("utf-8"), lock.read_text("utf-8"), *words)
        except ValueError as error:
            raise Problem("bench-failed", f"Cannot change the dependency: {error}.") from None
        manifest.write_text(new[0], "utf-8")
        lock.write_text(new[1], "utf-8")

    def contained(self, candidates: Sequence[Edit]) -> Edit | None:
        """Return the first edit with a text that our built program contains."""
        found = self._inside(BY_NAME[OURS], {edit.text for edit in candidates}, self.platform)
        if found is None:
            raise Problem("bench-failed", f"Cannot read the image {self.image(OURS, self.service)}.")
        return next((edit for edit in candidates if edit.text in found), None)

    def look(self, way: Way, edits: Sequence[Edit]) -> None:
        """Look for the texts of the edits in an unedited program. `right` does not check those that it lacks."""
        found = self._inside(way, {edit.text for edit in edits}, self.platform)
        self.hidden[way.name] = () if found is None else tuple(edit for edit in edits if edit.text not in found)
        for edit in self.hidden[way.name]:
            self.say(f"the program of {way.name} does not show {edit.text!r}: this edit cannot be checked")

    def _inside(self, way: Way, texts: Collection[str], platform: str) -> set[str] | None:
        if way.name == BARE:
            tool, volume = self.tool(BARE), self.volume("target")
            return inside.compiled(self.session, self.name, tool, volume, self.program, texts)
        return inside.containing(self.session, self.name, self.image(way.name, self.service), platform, texts)

    def right(self, way: Way, lacking: Collection[str] = (), *, platform: str = "") -> bool | None:
        """Return whether the edited service's program contains the current edits, and none of the `lacking` ones.

        None if nothing was edited yet, and if the program cannot be read or does not show these texts.
        """
        hidden, edited = self.hidden.get(way.name, ()), self.markers.get(way.family, {})
        wanted = {marker for edit, marker in edited.items() if marker and edit not in hidden}
        if not wanted and (not lacking or set(edited) <= set(hidden)):
            return None
        found = self._inside(way, {*wanted, *lacking}, platform or self.platform)
        if found is None:
            return None
        return wanted <= found and not found & set(lacking)

    @property
    def program(self) -> str:
        """The program of the edited service."""
        return contenders.compiled(self.project)[self.service].binary

    # ---- the end

    def clean(self) -> None:
        """Remove this run's scratch trees, images, volumes, mounts and layers. No other run uses these names."""
        remove(self.session, self.name)
        shutil.rmtree(self.folder, ignore_errors=True)


def remove(session: Session, name: str) -> None:
    """Remove the containers, images, volumes, mounts and layers of a run. Raises ValueError for another name."""
    checked.name(name)  # a part of it would match everything that others have
    left = run.capture(session.world, docker_run.containers_named(session.root, f"{name}-")).stdout.split()
    if left:  # the run was killed
        run.capture(session.world, docker_run.remove_containers(session.root, left))
    images = run.capture(session.world, docker_run.image_tags(session.root, f"{name}/*")).stdout.split()
    if images:
        run.capture(session.world, docker.remove_images(session.root, images))
    run.capture(session.world, docker.remove_volumes(session.root, [f"{name}-target", f"{name}-cargo"]))
    for _ in range(_PASSES):
        ids = [record.id for record in records(session, name)]
        if not ids:
            return
        run.capture(session.world, buildx.remove_cache_record(session.root, *ids))


def records(session: Session, name: str) -> list[cache_records.Record]:
    """Return the engine's cache records of a run: its mounts, and the layers that name it."""
    listed = cache_records.read(run.capture(session.world, buildx.cache_records(session.root)))
    return [r for r in listed if r.mount_namespace.startswith(f"{name}-") or name in r.description]


def _moved(builds: Any, old: Path, new: Path) -> Any:
    """Return the builds with paths in `new` instead of `old`."""
    if isinstance(builds, dict):
        return {key: _moved(value, old, new) for key, value in builds.items()}
    if isinstance(builds, str) and (builds == str(old) or builds.startswith(f"{old}/")):
        return f"{new}{builds[len(str(old)) :]}"
    return builds


def _marker() -> str:
    return f"bench-{secrets.token_hex(6)}"
