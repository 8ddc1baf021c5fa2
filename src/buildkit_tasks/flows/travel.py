"""Short builds in the place of the compile step that look into the mounts, pack them, or fill them from a pack."""

from __future__ import annotations

import re
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from buildkit_tasks import caching, compile_step, registry_client, travel
from buildkit_tasks.errors import Problem
from buildkit_tasks.model import BuildPlan, BuildRequest
from buildkit_tasks.registry_client import Client, Denied, Manifest, Unreachable
from buildkit_tasks.travel import Facts

from . import building
from .project import Project
from .session import Session
from .solve import solve

#: Name of the only target in the definitions made here; the plan's own targets have services' names.
TARGET = "caches"


@dataclass(frozen=True)
class Trip:
    """One pack's journey: which project, which mounts (platform, profile, builder), which repository."""

    session: Session
    project: Project
    plan: BuildPlan
    client: Client
    platform: str
    builder: str
    nonce: str
    how: str
    timeout: float | None = None

    def facts(self) -> Facts:
        """What a pack would have to be made with to be good here, and what the mounts hold."""
        return self._facts(("probe",))

    def pack(self, scope: str) -> Facts:
        """Pack the mounts; the parts stay with the builder until `push` sends them."""
        return self._facts(("pack", scope))

    def push(self, scope: str, facts: Facts, tags: Sequence[str], labels: Mapping[str, str]) -> str:
        """Send what `pack` packed, as an image of one layer per part; returns its digest."""
        names = ",".join(f"{self.client.ref.name}:{tag}" for tag in tags)
        # zstd: half the time of gzip and a quarter less; OCI types because docker's know no zstd; not stored: an image of
        # this name in the engine would hold the pack on this machine as well
        how = "push=true,store=false,oci-mediatypes=true,compression=zstd,compression-level=3"
        output = f'type=image,"name={names}",{how}'
        extra = {"target": travel.PACK_STAGE, "labels": dict(labels), "output": [output]}
        digests, _ = self._solve(("pack", scope), tuple(facts.parts), extra)
        return str(digests.get("containerimage.digest", ""))

    def unpack(self, reference: str, when: str, limit: int) -> tuple[bool, int]:
        """Fill the mounts from a pack: whether that happened (not where they were found filled), bytes.

        Problems: pack-refused for what no pack of ours holds, disk-full, image-unavailable, build-failed.
        """
        words = ("unpack", when, str(limit), self.nonce)
        try:
            _, log = self._solve(words, (), {"output": ["type=cacheonly"]}, pack=reference)
        except Problem as problem:
            raise _told(problem, reference) from problem
        done = re.search(r"^buildkit-tasks: unpacked (\d+)$", log, re.MULTILINE)
        return bool(done), int(done[1]) if done else 0

    def _facts(self, words: Sequence[str]) -> Facts:
        with tempfile.TemporaryDirectory(prefix="buildkit-tasks-") as folder:
            extra = {"target": travel.FACTS_STAGE, "output": [f"type=local,dest={folder}"]}
            self._solve(words, (), extra)
            texts = [(Path(folder) / name).read_text("utf-8") for name in ("facts", "packages")]
        return travel.read_facts(*texts)

    def _solve(
        self, words: Sequence[str], parts: Sequence[str], extra: Mapping[str, Any], *, pack: str = ""
    ) -> tuple[Mapping[str, Any], str]:
        service = self.plan.services[0]
        target = dict(self.plan.definition["target"][service.name])
        text = service.dockerfile.read_text("utf-8")
        step = compile_step.find(text, dict(target.get("args", {})))
        shell = travel.command_for(step.command, words, self.nonce)
        text = compile_step.replace(text, step, travel.mounts(pack), shell) + travel.output_stages(step.stage, parts)
        for name in ("tags", "dockerfile", "cache-from", "cache-to"):
            target.pop(name, None)
        with as_file(files("buildkit_tasks") / "data" / "cache") as scripts:
            target |= {
                # a bake file is a template: what looks like one of its variables is a variable of the Dockerfile
                "dockerfile-inline": text.replace("${", "$${").replace("%{", "%%{"),
                "target": step.stage,
                "contexts": {**target.get("contexts", {}), travel.SCRIPTS: str(scripts)},
                **extra,
            }
            target["args"] = {k: v for k, v in target.get("args", {}).items() if k != "BINS"}
            if self.platform:
                target["platforms"] = [self.platform]
            definition = {"group": {"default": {"targets": [TARGET]}}, "target": {TARGET: target}}
            heard, digests = solve(self.session, self.plan, definition, self.how, self.builder, self.timeout)
        log = "\n".join(line for vertex in heard.vertexes.values() for line in vertex.log)
        return digests.get(TARGET, {}), log


def prepare(
    session: Session,
    project: Project,
    *,
    ref: str = "",
    platform: str = "",
    profile: str = "",
    builder: str = "",
    how: str = "auto",
    timeout: float | None = None,
) -> Trip:
    """The trip for a repository and the mounts of a platform and profile; no build of it takes over `timeout` seconds.

    Problems: bad-argument, those of planning.
    """
    place = ref or session.settings.remote_cache
    if not place:
        raise Problem(
            "bad-argument",
            "No repository for the caches was named.",
            hint='--ref HOST/PATH, or remote_cache = "HOST/PATH" under [tool.buildkit-tasks]',
        )
    client = Client(session.world, registry_client.reference(place), session.settings.ca_bundle)
    plan = building.prepare(session, project, BuildRequest(profile=profile, progress=how))
    return Trip(session, project, plan, client, caching.platform(platform), builder, secrets.token_hex(8), how, timeout)


def arch(trip: Trip) -> str:
    """The platform as a pack's tag names it."""
    return trip.platform.removeprefix("linux/") or trip.project.engine.arch.replace("x86_64", "amd64").replace(
        "aarch64", "arm64"
    )


def manifest(trip: Trip, tag: str) -> Manifest | None:
    """A manifest of the repository. Problems: registry-unreachable, registry-denied."""
    try:
        return trip.client.manifest(tag)
    except (Unreachable, Denied) as error:
        raise trip.client.problem(error) from error


def _told(problem: Problem, reference: str) -> Problem:
    """The failure of an unpack in the words of its cause; the mounts are as they were."""
    text = problem.details
    refused = re.findall(r"^buildkit-tasks: refused: (.*)$", text, re.MULTILINE)
    if refused:
        return Problem(
            "pack-refused",
            f"The pack {reference} was not unpacked: it holds what no pack of ours holds.",
            causes=refused,
            hint="find out who can push to that repository; invoke cache.push makes a new pack",
        )
    full = re.findall(r"^buildkit-tasks: error: (the pack takes .*|could not unpack .*)$", text, re.MULTILINE)
    if full:
        return Problem(
            "disk-full",
            "The pack could not be unpacked; the mounts are as they were.",
            causes=full,
            hint="invoke prune",
        )
    return problem
