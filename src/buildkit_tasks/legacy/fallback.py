"""Builds on tiers below `full`: service by service, with BuildKit or with the legacy builder."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import tomli

from buildkit_tasks.buildlog import failure as build_failure
from buildkit_tasks.buildlog import plain_log
from buildkit_tasks.buildlog import view as build_view
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import readfile, run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildOutcome, BuildPlan, Engine, TargetResult
from buildkit_tasks.core.progress import Progress
from buildkit_tasks.dockercli import docker
from buildkit_tasks.dockerfiles import mounts, syntax
from buildkit_tasks.dockerfiles.document import Dockerfile
from buildkit_tasks.engine import facts as engine_facts
from buildkit_tasks.images import choice as image_choice
from buildkit_tasks.project import sources

from . import plain_service, tiers
from .tiers import LegacyBuild, Tier

#: Directories that never contain a package of the workspace.
_SKIP = {"target", "node_modules", ".git"}


def tier(session: Session, found: Engine) -> Tier:
    """Return the tier for this engine. The full tier needs no query; lower tiers need up to two."""
    full = not engine_facts.lacking(found)
    if full and session.settings.builders.name == "auto":
        return Tier("full")
    here = session.root
    client = engine_facts.version(run.capture(session.world, docker.client_version(here), timeout=5).stdout)
    old = found.version < engine_facts.MINIMUM["engine"]
    parts = run.capture(session.world, docker.server_components(here), timeout=5).stdout if old else ""
    return tiers.choose(found, client, session.settings.builders.name, podman="podman" in parts.lower())


def execute(
    session: Session, plan: BuildPlan, chosen: Tier, before: Mapping[str, str], how: str = "auto"
) -> BuildOutcome:
    """Build every target of the plan separately. `before`: the images' ids before the build.

    Problems: compile-failed, build-failed, disk-full; consent-missing if a CA cannot be passed as a secret.
    """

    began = session.world.clock()
    session.report.say(chosen.sentence)
    progress = Progress()
    targets: dict[str, Any] = dict(plan.definition["target"])
    prepared = None
    _check_keys(plan, targets, chosen)
    if chosen.name == "legacy" and plan.groups:
        prepared = _prepare(session, plan, targets)
        why = {**plan.reasons, "incremental": "each build starts from the dependency layer"}
        plan = replace(plan, incremental=False, reasons=why)
        # Arguments that differ between two builds would invalidate the dependency layer.
        same = ("BINS", "CARGO_INCREMENTAL")
        targets = {n: {**t, "args": _without(t.get("args", {}), same)} for n, t in targets.items()}
    with build_view.building(session.report, plan, progress, how) as view:
        for service in plain_service.in_order(plan.services, targets):
            target = targets[service.key]
            file = sources.read(service) or Dockerfile.read("")  # a remote context is refused above
            replaced = plain_service.images(target, targets)
            text: str | Path
            if prepared and service in plan.compiled:
                text = tiers.legacy(file.text, target["args"], replaced, prepared)
            elif chosen.name == "legacy":
                text, args = plain_service.without_buildkit(service, file, target, replaced, _platform(session))
                target = {**target, "args": args}
            else:
                text = plain_service.dockerfile(service, file, target, replaced, _platform(session))
            one = docker.build_one(session.root, target["context"], target, text, buildkit=chosen.name == "each")
            log = plain_log.PlainLog(service.name, time.time)

            def hear(chunk: bytes, log: plain_log.PlainLog = log) -> None:
                for status in log.feed(chunk):
                    view.update(progress.update(status))

            result = run.stream(session.world, one, hear)
            for status in log.close(result.code):
                view.update(progress.update(status))
            if result.code != 0:
                raise build_failure.explain(progress, "\n".join(log.lines[-30:]), result.code, plan)
    after = image_choice.ids(session, [s.image for s in plan.services])
    results = tuple(
        TargetResult(
            service=s.name,
            image=s.image,
            digest=_id(after, s.image),
            changed=_id(before, s.image) != _id(after, s.image),
        )
        for s in plan.services
    )
    return progress.outcome(session.world.clock() - began, results, incremental=plan.incremental)


def _check_keys(plan: BuildPlan, targets: Mapping[str, Any], chosen: Tier) -> None:
    """Reject keys that only bake or only BuildKit supports. Raises `Problem` compose-key-unsupported."""
    never = {"entitlements", "attest", "cache-to", "no-cache-filter"}
    never |= {"ssh", "platforms"} if chosen.name == "legacy" else set()
    for service in plan.services:
        target = targets[service.key]
        keys = [key for key in target if key in never]
        known = ("docker-image://", "target:")
        keys += [f"contexts {n}" for n, v in target.get("contexts", {}).items() if not v.startswith(known)]
        if chosen.name == "legacy" and service.build.get("secrets"):
            keys.append("secrets")
        if service.remote:
            keys.append("context")
        if keys:
            raise Problem(
                "compose-key-unsupported",
                f"The service {service.name!r} uses compose keys that this builder does not support: "
                f"{', '.join(keys)}.",
                causes=[chosen.reason],
                hint=f"{tiers.GET_BUILDKIT}, or use --service to build only services that do not need BuildKit",
            )


def _without(args: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    return {name: value for name, value in args.items() if name not in names}


def _id(ids: Mapping[str, str], image: str) -> str:
    """Look up an image's id; podman lists images under their fully qualified names."""
    return next((ids[n] for n in (image, f"docker.io/{image}", f"docker.io/library/{image}") if n in ids), "")


def _platform(session: Session) -> dict[str, str]:
    """Return values for variables in mount options, which an old frontend may not expand."""
    found = engine_facts.client(session.world, session.root)
    return {"TARGETARCH": found.arch, "TARGETOS": found.os}


# ---- without BuildKit


def _prepare(session: Session, plan: BuildPlan, targets: Mapping[str, Any]) -> LegacyBuild:
    """Put manifests and stub sources (and, with consent, the CA) into an image that the build copies from.

    This is an image rather than a list of COPY lines: the legacy builder limits the number of layers, and compares
    copies between images by content, so editing code does not invalidate the dependency layer.
    """
    service = plan.groups[0][0]
    target = targets[service.key]
    text = sources.known(service).text
    source = target["args"].get("SOURCE") or _default(text, "SOURCE") or "."
    root = readfile.real(service.context / source)
    folder = session.state / "legacy"
    shutil.rmtree(folder, ignore_errors=True)
    members = _copy_manifests(root, folder / "manifests")
    ca = _ca(session, text)
    content = "FROM scratch\nCOPY manifests/ /manifests/\n"
    if ca:
        shutil.copyfile(ca, folder / "ca.pem")
        content += "COPY ca.pem /ca.pem\n"
    image = f"{tiers.PREPARED}:{plan.workspace.scope}"
    made = docker.build_one(session.root, folder, {"tags": [image]}, content, buildkit=False)
    run.check(session.world, made)
    return LegacyBuild(
        source=source,
        binaries=tuple(dict.fromkeys(s.binary for s in plan.workspace.services if sources.same_build(s, service))),
        members=members,
        profile=plan.profile,
        prepared=image,
        out=_out(text, target["args"]),
        ca=bool(ca),
    )


def _default(text: str, name: str) -> str:
    for item in syntax.instructions(text):
        if item.keyword == "ARG" and item.rest.startswith(f"{name}="):
            return item.rest.partition("=")[2].strip("\"'")
    return ""


def _out(text: str, args: Mapping[str, str]) -> str:
    """Return the directory of the programs that the last stage copies from: the part of the path before `${BIN}`."""
    for item in syntax.instructions(text):
        if item.keyword == "COPY" and "--from=" in item.rest and "${BIN" in item.rest:
            place = item.rest.split()[1].partition("${BIN")[0]
            return syntax.expand(place, args).rstrip("/")
    return "/out"


def _copy_manifests(root: Path, to: Path) -> tuple[str, ...]:
    """Copy the files that define dependencies and write stub sources. Return the names of the workspace's packages."""
    names = []
    for manifest in sorted(root.rglob("Cargo.toml")):
        package = manifest.parent
        inside = package.relative_to(root)
        if _SKIP.intersection(inside.parts):
            continue
        try:
            content = tomli.loads(readfile.text(manifest))
        except (tomli.TOMLDecodeError, UnicodeDecodeError) as error:
            raise Problem("compile-failed", f"{manifest} is not valid TOML: {error}.", hint="fix the file") from error
        place = to / inside
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(manifest, place / "Cargo.toml")
        files = [
            p.relative_to(package).as_posix()
            for pattern in ("build.rs", "src/*.rs", "src/bin/*.rs", "src/bin/*/main.rs")
            for p in package.glob(pattern)
        ]
        for path, text in tiers.stubs(content, files).items():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_text(text, "utf-8")
        if isinstance(content.get("package"), dict):
            names.append(str(content["package"]["name"]))
    for extra in ("Cargo.lock", "rust-toolchain.toml", "rust-toolchain", ".cargo/config.toml", ".cargo/config"):
        if (root / extra).is_file():
            (to / extra).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / extra, to / extra)
    return tuple(names)


def _ca(session: Session, text: str) -> Path | None:
    """Return the CA bundle if the build needs one and the user accepts a layer: the legacy builder has no secrets.

    The system's default bundle is skipped with a message. A bundle set explicitly requires consent.
    """
    bundle = session.settings.build.ca_bundle
    if not bundle or not any(m.options.get("id") == "ca" for m in mounts.mounts(text)):
        return None
    if session.settings.builders.legacy_ca == "layer":
        return Path(bundle)
    origin = next((o.origin for o in session.origins if o.name == "build.ca_bundle"), "")
    if origin.startswith(("default", "environment (SSL")):
        session.report.say(
            f"  {bundle} is not used, because this builder does not support secrets; to add it to a layer of the "
            "compile stage (never to a shipped image), set builders.legacy_ca = layer"
        )
        return None
    what = (
        f"{bundle} will be stored in a layer of the compile stage and of {tiers.PREPARED}, but not in the "
        "shipped images"
    )
    try:
        agreed = session.report.consent(what)
    except Problem as problem:
        raise Problem(
            "consent-missing",
            "Without BuildKit, a CA bundle cannot be passed as a secret.",
            causes=[what],
            hint="set builders.legacy_ca = layer (BUILDKIT_TASKS_BUILDERS_LEGACY_CA=layer), or " + tiers.GET_BUILDKIT,
        ) from problem
    return Path(bundle) if agreed else None
