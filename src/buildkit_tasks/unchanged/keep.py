"""Checks after a build whether all of its inputs are known, and writes the record if so."""

from __future__ import annotations

import csv
import re
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from buildkit_tasks.config.session import Session
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildOutcome, BuildPlan, Service
from buildkit_tasks.dockercli import buildx
from buildkit_tasks.dockerfiles import platforms
from buildkit_tasks.dockerfiles.document import Dockerfile
from buildkit_tasks.engine import ask, quick
from buildkit_tasks.images import names as image_names
from buildkit_tasks.project import known_files, sources
from buildkit_tasks.project.discover import Project, files_found

from . import fingerprint, inputs, record
from .fingerprint import Tree
from .inputs import Attempt

#: Keys of a bake target that affect an image only through their values and the files that we check.
_KNOWN_KEYS = frozenset(
    {
        *("args", "context", "contexts", "dockerfile", "dockerfile-inline", "extra-hosts", "labels", "network"),
        *("output", "secret", "shm-size", "tags", "target", "ulimits"),
    }
)
_LOCAL_OUTPUTS = (["type=docker"], ["type=image,compression=uncompressed"])
_PINNED = re.compile(r"@sha256:[0-9a-f]{64}$")
#: BuildKit's name for a step that downloads something itself. Base images may add such steps (ONBUILD).
_FETCHES = re.compile(r"\[[^\]]*\] ADD\b.*(?:://|@)")


class Unknown(Exception):
    """The reason why a build cannot be recorded as up to date."""


class Watch:
    """Inspects the files while BuildKit builds, and writes the record after a successful build."""

    def __init__(self, session: Session, project: Project, plan: BuildPlan, attempt: Attempt) -> None:
        self._session, self._plan, self._attempt = session, plan, attempt
        self.unknown = ""
        self._pool = ThreadPoolExecutor(1)
        self._look: Future[fingerprint.Look] | None = None
        try:
            if attempt.contents != inputs.contents(session):
                raise Unknown("the builder or a base image changed during the build")
            keys = {service.key for service in plan.services}
            for service in plan.services:
                _check(service, plan.definition["target"][service.key], keys)
            self._check_settings()
            files = files_found(session)
            if why := known_files.unsure(session, files):
                raise Unknown(why)
            if buildx.asks_for_git(session.world.env):
                raise Unknown("buildx writes git metadata into the images")
            path = ask.address(session.world)
            if path is None:
                raise Unknown("the engine is on another machine")
            # query before the build: if a base image changes during the build, the record must not match
            bases = _bases(project, plan)
            self._answer = _answer(path, bases, attempt)
            if lost := next((image for image in bases if not self._answer.images.get(image)), ""):
                raise Unknown(f"the engine does not have {lost}")
            if self._answer.engine != project.engine.id:
                raise Unknown("docker uses a different engine")
            self._compose_files = tuple(dict.fromkeys(inputs.compose_candidates(session, files)))
            self._trees = tuple(dict.fromkeys(_trees(plan.services)))
            self._places = tuple(dict.fromkeys(self._all_places()))
        except (Unknown, Problem, OSError, ValueError) as error:
            self.unknown = str(error)

    def start(self) -> None:
        """Start reading the files in a thread, unless this has started already or nothing will be recorded."""
        if not self.unknown and self._look is None:
            self._look = self._pool.submit(fingerprint.everything, self._places, self._trees, inputs.PACKAGE)

    def keep(self, outcome: BuildOutcome) -> None:
        """Record a successful build. Fails silently: without a record, the next build runs BuildKit."""
        try:
            self.start()
            if self._look is None:
                raise Unknown(self.unknown)
            self._save(outcome, self._look.result())
        except (Unknown, OSError, ValueError) as error:
            self.unknown = str(error)
            self._attempt.file.unlink(missing_ok=True)
        finally:
            self._pool.shutdown(wait=False)

    def _save(self, outcome: BuildOutcome, seen: fingerprint.Look) -> None:
        began = self._attempt.began
        written = inputs.now()
        if seen.newest >= began.wall:
            raise Unknown("a file changed while the build was starting")
        if kind := fingerprint.untrusted(seen.devices):
            raise Unknown(f"files are on a filesystem with unreliable timestamps ({kind})")
        if not inputs.forward(began, written):
            raise Unknown("the clock was set back")
        if fetched := next((s.name for s in outcome.steps if _FETCHES.match(s.name)), ""):
            raise Unknown(f"a step downloads something: {fetched}")
        harmless = inputs.harmless(file.read_bytes() for file in self._compose_files if file.is_file())
        salt = secrets.token_hex(16)
        record.save(
            self._attempt.file,
            record.Record(
                request=self._attempt.request,
                salt=salt,
                environment=inputs.digest(self._attempt.environment, harmless, salt),
                harmless=harmless,
                written=written,
                places=tuple(map(str, self._places)),
                trees=self._trees,
                look=seen.digest,
                contents=self._attempt.contents,
                engine=self._answer.engine,
                engine_version=self._answer.version,
                bases=self._answer.images,
                targets=tuple(self._targets(outcome)),
                incremental=outcome.incremental,
            ),
        )

    def _targets(self, outcome: BuildOutcome) -> Iterator[record.Target]:
        keys = {service.name: service.key for service in self._plan.services}
        for target in outcome.targets:
            tags = tuple(self._plan.definition["target"][keys[target.service]]["tags"])
            ids = tuple(filter(None, (target.digest, target.config)))
            if not ids or not tags:
                raise Unknown("the builder did not report the image ids")
            yield record.Target(target.service, target.image, target.digest, tags, ids)

    def _check_settings(self) -> None:
        packs = self._session.settings.packs
        if packs.repository and (packs.push == "always" or self._session.world.ci):
            raise Unknown("each build pushes a pack")
        if self._plan.builder:
            raise Unknown("the build does not use the engine's own builder")

    def _all_places(self) -> Iterator[Path]:
        session, build = self._session, self._session.settings.build
        yield session.root / "pyproject.toml"
        yield from self._compose_files
        yield Path("/etc/ssl/certs/ca-certificates.crt")
        given = (session.world.env.get("SSL_CERT_FILE", ""), build.ca_bundle, build.cargo_config)
        yield from (session.root / name for name in given if name)
        config = session.world.docker_config / "config.json"
        if config.is_file() and b"cliPluginsExtraDirs" in config.read_bytes():
            raise Unknown("docker searches additional plugin directories")
        yield from quick.places(session.world)
        for service in self._plan.services:
            yield service.context / ".dockerignore"
            yield service.context / "Dockerfile.dockerignore"
            if not service.inline:
                yield service.dockerfile
                yield service.dockerfile.with_name(f"{service.dockerfile.name}.dockerignore")
            for entry in self._plan.definition["target"][service.key].get("secret", ()):
                yield _secret_file(entry, session.root)


def _answer(path: Path, bases: Collection[str], attempt: Attempt) -> ask.Answer:
    """Return the answer that was requested ahead if it covers all base images; otherwise ask now."""
    try:
        if attempt.ahead and set(bases) <= {*(ahead := attempt.ahead.result()).names}:
            images = {name: identity for name, identity in ahead.answer.images.items() if name in bases}
            return replace(ahead.answer, images=images)
    except (OSError, ValueError):
        pass  # the same error occurs again below
    return ask.images(path, bases)


def _check(service: Service, target: Mapping[str, Any], built: Collection[str]) -> None:
    """Raise `Unknown` if a target's image depends on more than local files, local images and plain values."""
    for key in target.keys() - _KNOWN_KEYS:
        raise Unknown(f"{service.name} uses the key {key}")
    if service.remote or service.contexts or "x-bake" in service.build:
        raise Unknown(f"{service.name}'s image is built from more than its local build context")
    if target.get("output") not in _LOCAL_OUTPUTS:
        raise Unknown(f"{service.name}'s image is not stored in the engine")
    for value in target.get("contexts", {}).values():
        own = value.startswith(f"docker-image://{image_names.OWN}/")
        if not own and value.removeprefix("target:") not in built:  # the result of another target is part of this build
            raise Unknown(f"{service.name} is built from {value}")


def _bases(project: Project, plan: BuildPlan) -> list[str]:
    """Return the images in the engine that the build uses. Raises `Unknown` if a registry may have a newer one."""
    found: dict[str, None] = {}
    for service in plan.services:
        target = plan.definition["target"][service.key]
        file = sources.read(service) or Dockerfile.read("")
        if any(item.keyword == "ADD" and re.search(r"[$:@]", item.rest) for item in file.items):
            raise Unknown(f"{service.name}'s Dockerfile uses ADD with a URL or variable")
        args = {**platforms.arguments(project.engine, platforms.own(project.engine)), **target.get("args", {})}
        contexts: Sequence[str] = tuple(target.get("contexts", ()))
        syntax = target.get("args", {}).get("BUILDKIT_SYNTAX") or file.syntax
        for image in (*file.needs(args, service.target, contexts).images, *filter(None, [syntax])):
            if image.startswith(f"{image_names.OWN}/"):
                found[image] = None
            elif not _PINNED.search(image):
                raise Unknown(f"the registry may have a newer version of {image}")
        for value in target.get("contexts", {}).values():
            if not value.startswith("target:"):
                found[value.removeprefix("docker-image://")] = None
    return list(found)


def _trees(services: Sequence[Service]) -> Iterator[Tree]:
    for context in dict.fromkeys(service.context for service in services):
        files = [service.dockerfile for service in services if service.context == context and not service.inline]
        yield Tree(context, tuple(dict.fromkeys([*files, context / "Dockerfile"])))


def _secret_file(entry: str, root: Path) -> Path:
    """Return the file of a secret, from BuildKit's option. Raises `Unknown` if the secret is not a file."""
    fields = dict(part.partition("=")[::2] for part in next(csv.reader([entry])))
    if fields.get("type", "file") != "file" or not (fields.get("src") or fields.get("source")):
        raise Unknown("a build secret is not a file")
    return root / (fields.get("src") or fields["source"])
