"""Short builds that run instead of the compile step, to inspect the mounts, pack them, or fill them from a pack."""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from buildkit_tasks.builds.fetching import Fetching
from buildkit_tasks.builds.prepare import compiling, plan_build
from buildkit_tasks.builds.solve import solve, stand_in
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import files
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildPlan, BuildRequest
from buildkit_tasks.core.progress import Progress
from buildkit_tasks.dockerfiles import compile_step
from buildkit_tasks.dockerfiles.compile_step import CompileStep
from buildkit_tasks.packs import steps
from buildkit_tasks.platforms.names import long_form
from buildkit_tasks.project import sources
from buildkit_tasks.project.discover import Project
from buildkit_tasks.registry import reader as registry_reader
from buildkit_tasks.registry import remote
from buildkit_tasks.registry.client import Client
from buildkit_tasks.registry.names import Blob, Digest, RegistryError, Tag

from . import image as pack_image
from . import keys, mounts, script_output
from . import pack as packs
from .mounts import Carried, Packed
from .pack import Facts, Wanted

#: Name of the only target in these definitions; the plan's own targets are named after services.
TARGET = "caches"

#: Creates the Dockerfile of a short build from the service's Dockerfile and its compile step.
Make = Callable[[str, CompileStep], str]

#: Number of parts to send to the registry in parallel.
AT_ONCE = 4


@dataclass(frozen=True)
class Sent:
    """The result of a push: digest, bytes of the layers, and bytes of those missing from the registry."""

    digest: str
    stored: int
    sent: int


@dataclass(frozen=True)
class Trip:
    """The transfer of one pack between mounts and a repository. All of its builds must end by `end` (clock time)."""

    session: Session
    project: Project
    plan: BuildPlan
    client: Client
    wanted: Wanted
    nonce: str
    end: float | None = None

    @property
    def platform(self) -> str:
        """The platform, such as linux/arm64; empty for the builder's own."""
        return long_form(self.wanted.platform)

    @property
    def arch(self) -> str:
        """The platform in the form used in a pack's tag."""
        return self.platform.removeprefix("linux/") or self.project.engine.arch

    def tags(self, facts: Facts) -> tuple[Tag, Tag]:
        """Return the tag for exactly these mount contents, and the moving tag for their toolchain."""
        scope = self.wanted.scope
        return keys.cargo_exact(scope, self.arch, facts), keys.cargo_newest(scope, self.arch, facts)

    def facts(self) -> Facts:
        """Return the facts that a pack must match to be useful here, and the contents of the mounts."""
        with tempfile.TemporaryDirectory(prefix="buildkit-tasks-") as folder:
            return self._facts(("probe",), Path(folder))

    def pack(self, folder: Path) -> Facts:
        """Pack the mounts. Write the parts to an empty directory, under the names in the facts.

        Problems: pack-empty, and any from the build.
        """
        try:
            return self._facts(("pack", self.wanted.scope), folder)
        except Problem as problem:
            raise script_output.nothing_packed(problem, "run `invoke build`, then `invoke cache.push`") from problem

    def pack_mount(self, folder: Path, one: Carried) -> Packed:
        """Like `pack`, but for another tool's mount. Problems: any from the build."""
        make = partial(steps.mount_dockerfile, flag=one.flag, words=("pack",), nonce=_nonce())
        output = {"target": packs.LEFT_STAGE, "output": [f"type=local,dest={folder}"]}
        self.left_out(self._solve(f"packing the cache mount {one.id}", make, output))
        return mounts.read_facts((folder / "facts").read_text("utf-8"))

    def push(self, folder: Path, parts: Iterable[str], tags: Sequence[Tag], labels: Mapping[str, str]) -> Sent:
        """Send the output of a pack as an image with one layer per part. Skips layers that the registry already has.

        Problems: registry-unreachable, registry-denied, registry-malformed, timed-out.
        """
        over = threading.Event()

        def look() -> None:
            self._left()
            if over.is_set():
                raise Problem("interrupted", "Another part of the pack could not be sent.")

        def send(part: str) -> tuple[Blob, int]:
            look()
            layer = pack_image.layer(folder / part)
            return layer, layer.size if self.client.send(pack_image.watched(layer, look)) else 0

        try:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                try:
                    done = list(pool.map(send, parts))
                except BaseException:
                    over.set()  # do not wait for the remaining gigabytes after Ctrl-C
                    raise
            layers = [layer for layer, _ in done]
            about = pack_image.config(self.arch, layers, labels)
            self.client.send(about)
            made = pack_image.manifest(about, layers)
            for tag in tags:
                self.client.tag(tag, made, registry_reader.OCI_MANIFEST)
        except RegistryError as error:
            raise self.client.problem(error) from error
        return Sent(made.digest, sum(layer.size for layer in layers), sum(sent for _, sent in done))

    def unpack(self, digest: Digest, when: str, limit: int) -> tuple[bool, int]:
        """Fill the mounts from a pack. Returns whether it was unpacked (False if they were not empty), and its bytes.

        Problems: pack-refused for unexpected content, disk-full, image-unavailable, registry-unreachable, build-failed.
        """
        make = partial(steps.dockerfile, words=("unpack", when, str(limit), self.nonce), nonce=self.nonce, pack=True)
        return self._unpack("unpacking the shared cache", make, digest)

    def unpack_mount(self, digest: Digest, one: Carried, when: str, limit: int) -> tuple[bool, int]:
        """Like `unpack`, but for another tool's mount."""
        nonce = _nonce()
        words = ("unpack", when, str(limit), nonce)
        make = partial(steps.mount_dockerfile, flag=one.flag, words=words, nonce=nonce, pack=True)
        return self._unpack(f"unpacking into the cache mount {one.id}", make, digest)

    def _unpack(self, title: str, make: Make, digest: Digest) -> tuple[bool, int]:
        reference = self.client.ref.at(digest)
        try:
            contexts = {packs.PACK: f"docker-image://{reference}"}
            log = self._solve(title, make, {"output": ["type=cacheonly"]}, contexts, reference)
        except Problem as problem:
            raise script_output.explained(problem, reference) from problem
        return script_output.unpacked(log)

    def download(self, digest: Digest, folder: Path) -> None:
        """Write the parts of a pack to an empty directory. Problems: image-unavailable, build-failed, timed-out."""
        reference = self.client.ref.at(digest)
        whole = {
            "dockerfile-inline": f"FROM {packs.PACK}\n",
            "contexts": {packs.PACK: f"docker-image://{reference}"},
            "output": [f"type=local,dest={folder}"],
        }
        self._bake("fetching the shared cache", whole, reference)

    def _facts(self, words: Sequence[str], folder: Path) -> Facts:
        make = partial(steps.dockerfile, words=words, nonce=self.nonce)
        title = "packing the cache mounts" if words[0] == "pack" else "inspecting the cache mounts"
        output = {"target": packs.LEFT_STAGE, "output": [f"type=local,dest={folder}"]}
        self.left_out(self._solve(title, make, output))
        return packs.read_facts(*((folder / name).read_text("utf-8") for name in ("facts", "packages")))

    def left_out(self, log: str) -> None:
        """Warn about what a pack left out."""
        for said in re.findall(r"^buildkit-tasks: (left out .*)$", log, re.MULTILINE):
            self.session.report.warn(said)

    def _left(self) -> float | None:
        """Return the remaining seconds. Raises `Problem` timed-out if there are none."""
        if self.end is None:
            return None
        left = self.end - self.session.world.clock()
        if left <= 0:
            raise Problem("timed-out", "The time limit for the shared cache was reached.", hint="try again later")
        return left

    def _solve(
        self,
        title: str,
        make: Make,
        extra: Mapping[str, Any],
        contexts: Mapping[str, str] | None = None,
        fetched: str = "",
    ) -> str:
        service = self.plan.groups[0][0]
        target = self.plan.definition["target"][service.key]
        text = sources.known(service).text
        step = compile_step.without_secrets(compile_step.find(text, dict(target.get("args", {}))))
        text = make(text, step)
        with resources.as_file(resources.files("buildkit_tasks") / "data" / "cache") as scripts:
            more = {packs.SCRIPTS: str(scripts), **(contexts or {})}
            caches = {**stand_in(target, text, step.stage, more, self.platform), **extra}
            heard = self._bake(title, caches, fetched)
        return "\n".join(line for vertex in heard.vertexes.values() for line in vertex.log)

    def _bake(self, title: str, target: Mapping[str, Any], fetched: str = "") -> Progress:
        """Run one target. `fetched`: the pack that it fetches, whose registry may stall."""
        fetching = Fetching(fetched, self.session.world.clock) if fetched else None
        definition = {"group": {"default": {"targets": [TARGET]}}, "target": {TARGET: target}}
        how, builder = self.wanted.progress, self.wanted.builder
        left = self._left()
        return solve(self.session, self.plan, definition, how, builder, left, title=title, fetching=fetching)[0]


def prepare(
    session: Session,
    project: Project,
    wanted: Wanted,
    *,
    plan: BuildPlan | None = None,
    timeout: float | None = None,
    wait: float | None = None,
) -> Trip:
    """Prepare a transfer, with the plan of the build before or after it, or with a new plan.

    The transfer takes at most `timeout` seconds, and the queries to the registry at most `wait`.
    Problems: bad-argument, and any from planning.
    """
    wanted = replace(wanted, scope=wanted.scope or session.settings.packs.scope)
    if wanted.scope not in packs.SCOPES:
        raise Problem(
            "bad-argument",
            f"The scope {wanted.scope!r} does not exist.",
            hint=f"use --scope {' or '.join(packs.SCOPES)}",
        )
    client = remote.client(session, wanted.ref, seconds=wait)
    if plan is None:
        if wanted.builder:
            session.use_builder(wanted.builder)
        request = BuildRequest(profile=wanted.profile, progress=wanted.progress)
        plan = plan_build(session, project, request)
    end = session.world.clock() + timeout if timeout else None
    return Trip(session, project, compiling(plan), client, wanted, _nonce(), end)


def _nonce() -> str:
    """Return unique text for a step, because the step's cache key does not contain the ids of its mounts."""
    return secrets.token_hex(8)


@contextlib.contextmanager
def workplace(session: Session) -> Iterator[Path]:
    """Provide an empty directory in the state directory for a pack's parts, which may be large.

    Only one run per checkout uses it at a time; others wait. Leftovers of a killed run are removed.
    """
    place = session.state / "pack"
    waiting = "waiting: another run of this checkout is packing or unpacking"
    with files.locked(session.state / "pack.lock", lambda: session.report.say(waiting)):
        shutil.rmtree(place, ignore_errors=True)  # left by a killed run
        place.mkdir(mode=0o700)
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)
