"""Shares the volumes of cargo tasks as packs: the dependencies as compiled for tests, checks and clippy.

The same scripts as for image builds create and unpack the packs, but they run in a container with the volumes instead
of a build step with the mounts, because a build cannot open volumes.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from importlib.resources import as_file, files
from pathlib import Path

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Service
from buildkit_tasks.dockercli import docker_run
from buildkit_tasks.dockercli.docker_run import Mount
from buildkit_tasks.packs import auto, job, script_output
from buildkit_tasks.packs import pack as packs
from buildkit_tasks.packs import pull as pack_pull
from buildkit_tasks.packs import push as pack_push
from buildkit_tasks.packs.job import Trip
from buildkit_tasks.packs.pack import Facts, Wanted
from buildkit_tasks.project.discover import Project, discover
from buildkit_tasks.registry import remote
from buildkit_tasks.registry.names import Digest, RegistryError

from . import container, place, toolchain
from .container import Site

#: The profile of tests, checks and clippy.
PROFILE = "dev"


@dataclass(frozen=True, kw_only=True)
class Volumes(Trip):
    """A transfer between a repository and a project's volumes, instead of its mounts."""

    site: Site
    sources: tuple[Mount, ...]
    given: Mapping[str, str] = field(repr=False)

    def facts(self) -> Facts:
        """Return the facts, as in `Trip`."""
        with tempfile.TemporaryDirectory(prefix="buildkit-tasks-") as folder:
            return self._read(("probe", "/compile"), Path(folder))

    def pack(self, folder: Path) -> Facts:
        """Pack as in `Trip`, but never include crates of the workspace."""
        try:
            return self._read(("pack", "/compile", "deps"), folder)
        except Problem as problem:
            raise script_output.nothing_packed(
                problem, "invoke cargo.test, then invoke cache.push --cargo"
            ) from problem

    def unpack(self, digest: Digest, when: str, limit: int) -> tuple[bool, int]:
        """Unpack as in `Trip`, then make the user the owner of everything in the volumes."""
        reference = self.client.ref.at(digest)
        try:
            with job.workplace(self.session) as folder:
                self.download(digest, folder)
                words = ("unpack", "/compile", when, str(limit), secrets.token_hex(8))
                log = self._run(words, Mount(str(folder), packs.MOUNTED, readonly=True))
        except Problem as problem:
            raise script_output.explained(problem, reference) from problem
        prepare = container.prepare(self.site, f"buildkit-tasks-cargo-{secrets.token_hex(6)}")
        run.check(self.session.world, docker_run.run_container(self.session.root, prepare))
        return script_output.unpacked(log)

    def _read(self, words: Sequence[str], folder: Path) -> Facts:
        self.left_out(self._run(words, Mount(str(folder), packs.OUT)))
        return packs.read_facts(*((folder / name).read_text("utf-8") for name in ("facts", "packages")))

    def _run(self, words: Sequence[str], shared: Mount) -> str:
        """Run transfer.sh as root, which owns new volumes, and return its stderr."""
        script = (files("buildkit_tasks") / "data" / "cargo" / "transfer.sh").read_text("utf-8")
        with as_file(files("buildkit_tasks") / "data" / "cache") as scripts:
            mounts = (*self.sources, Mount(str(scripts), f"/run/{packs.SCRIPTS}", readonly=True), shared)
            name = f"buildkit-tasks-cargo-{secrets.token_hex(6)}"
            made = container.transfer(self.site, name, (script, *words), mounts, self.given, self.wanted.profile)
            return run.check(self.session.world, docker_run.run_container(self.session.root, made)).stderr


def prepare(session: Session, wanted: Wanted, project: Project | None = None) -> Volumes:
    """Prepare a transfer of the project's volumes, for the first compiled service.

    Problems: bad-argument, cargo-no-toolchain, and any from planning and from building the toolchain image.
    """
    if wanted.platform or wanted.scope or wanted.builder:
        raise Problem(
            "bad-argument",
            "--cargo, which uses this engine's volumes, cannot be combined with --platform, --scope or --builder.",
            hint="invoke cache.push --cargo",
        )
    project = project or discover(session)
    service = toolchain.service_of(project)
    site = place.site_of(session, project, service, toolchain.ensure(session, project, service))
    return _trip(session, project, service, site, wanted)


def _trip(
    session: Session,
    project: Project,
    service: Service,
    site: Site,
    wanted: Wanted,
    timeout: float | None = None,
    wait: float | None = None,
) -> Volumes:
    made = job.prepare(session, project, wanted, timeout=timeout, wait=wait)
    known = {one.name: getattr(made, one.name) for one in fields(Trip)}
    known["wanted"] = replace(wanted, scope=packs.CARGO, profile=wanted.profile or PROFILE)
    mounted = place.mounted(session, site, service)
    return Volumes(**known, site=site, sources=mounted, given=place.variables(session, service, ()))


def fill(session: Session, project: Project, service: Service, site: Site) -> None:
    """Pull a pack into new volumes. Like the pull before a build, print a failure in one line instead of raising it."""
    settings = session.settings.packs

    def fetch() -> pack_pull.Pulled:
        return pack_pull.fetch(_trip(session, project, service, site, Wanted(), settings.timeout, settings.wait))

    auto.attempt(session, fetch)


def pull(session: Session, wanted: Wanted, *, replace: bool = False) -> None:
    """Pull the best matching pack into the volumes; `replace`: even if they contain compiled code.

    Problems: those of `prepare` and of `packs.pull.pull`.
    """
    pack_pull.pull_into(prepare(session, wanted), replace=replace)


def push(session: Session, wanted: Wanted, *, force: bool = False) -> None:
    """Push a pack of the volumes, unless the repository has one for the same lock file, manifests and toolchain.

    `force`: push in any case. Problems: those of `prepare` and of `packs.push.push`.
    """
    pack_push.require_allowed(session, force=force)
    trip = prepare(session, wanted)
    tag = None if force else _stored(trip)
    if tag:
        session.report.say(f"not pushed: {trip.client.ref.name} already has {tag} (use --force to replace it)")
        answer: dict[str, object] = {"pushed": False, "tag": tag}
    else:
        answer = pack_push.send(trip, force=force)
    if session.report.json_only:
        session.report.envelope({"pack": answer})


def _stored(trip: Volumes) -> str | None:
    """Return the tag of the pack for exactly these inputs, or None if the repository does not have it."""
    exact, _ = trip.tags(trip.facts())
    try:
        return str(exact) if remote.bounded(trip.client.seconds, lambda: trip.client.manifest(exact)) else None
    except RegistryError as error:
        raise trip.client.problem(error) from error


def is_stored(session: Session, project: Project) -> bool:
    """Return whether packs.repository has a pack for exactly these inputs. Problems: those of `prepare`, registry-…."""
    return _stored(prepare(session, Wanted(), project)) is not None
