"""The two halves of a build: decide everything, then run a single bake solve."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from buildkit_tasks.builders import choice as builder_choice
from buildkit_tasks.builders import facts as builder_facts
from buildkit_tasks.builders.facts import Builder
from buildkit_tasks.config.session import Session
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildOutcome, BuildPlan, BuildRequest, Engine, Service, TargetResult, Workspace
from buildkit_tasks.core.progress import Progress
from buildkit_tasks.dockerfiles import platforms
from buildkit_tasks.dockerfiles.document import Dockerfile, Needs, lookup_name
from buildkit_tasks.images import bases as base_images
from buildkit_tasks.images import choice as image_choice
from buildkit_tasks.legacy import fallback
from buildkit_tasks.project import compose, sources
from buildkit_tasks.project.discover import Project, variables

from . import compose_target, inputs, own_images, plan, plan_words
from .solve import solve


def prepare(
    session: Session,
    project: Project,
    request: BuildRequest,
    *,
    look_only: bool = False,
    missing: list[Problem] | None = None,
) -> BuildPlan:
    """Return the plan for a request. With `look_only`, create nothing: no transfer link, no base image.

    A plan that is only printed does not need its base images, so a problem with them is added to `missing`, not raised.
    """
    space = project.workspace
    chosen = plan.with_contexts(space, compose.select(space, request.services))
    special = bool(request.platforms or request.push or request.oci)
    if request.oci:
        request = replace(request, oci=_directory(session, request.oci, make=not look_only))
    tier = fallback.tier(session, project.engine).name
    builder = builder_facts.OWN
    if tier == "full":
        builder = builder_choice.ready(session, project.engine, request)
    files = {s.name: file for s in chosen if (file := sources.read(s)) is not None}
    name = "DOCKER_DEFAULT_PLATFORM"
    default = session.world.env.get(name) or session.dotenv.get(name, "")
    compose_target.check_platforms(chosen if not request.platforms else (), default)
    places = {s.name: plan.places_of(s, request, project.engine, builder, default) for s in chosen}
    there = builder_facts.at(project.engine, builder)
    needs = {s.name: plan.needs_of(s, files.get(s.name), places[s.name], there) for s in chosen}
    linked = own_images.find(chosen, needs)
    needed = {
        s.name: [
            image
            for image in _bases(s, files.get(s.name), needs[s.name], places[s.name], there, own=builder.own)
            if image not in linked[s.name]
        ]
        for s in chosen
    }
    bases = dict.fromkeys(image for images in needed.values() for image in images)
    try:
        find = base_images.replacements if look_only else base_images.ensure
        replacements = find(session, project.engine, tuple(bases), services=needed)
    except Problem as problem:
        problem = _made_here(problem, space, chosen, bases)
        if missing is None or problem.code != "image-unavailable":
            raise problem from None
        missing.append(problem)
        replacements = {}
    files, paths, frontends = inputs.without_syntax(session, project.engine, chosen, files, look_only=look_only)
    links = {} if look_only else inputs.links(session, chosen)
    foreign = _foreign(session, project, builder, files, chosen, places, linked, look_only)
    used = [*replacements.values(), *(image for found in foreign.values() for image in found.values())]
    around = plan.Surroundings(
        dockerfiles=files,
        files={**inputs.paths(chosen, links), **paths},
        replacements={**replacements, **frontends},
        foreign=foreign,
        sources={} if builder.own else _sources(session, project, builder, used, make=not look_only),
        tier=tier if special else "full",
        builder=builder,
        transfer=links,
        ci=session.world.ci,
        proxies=plan_words.proxies(session.world.env),
        default_platform=default,
    )
    made = plan.make(session.settings, space, project.engine, request, around)
    for note in made.notes if not look_only else ():
        session.report.say(note)
    return made


def _bases(
    service: Service, file: Dockerfile | None, needs: Needs, places: Sequence[str], engine: Engine, *, own: bool
) -> tuple[str, ...]:
    """The base images of a build for the engine's own platform; `own`: the build runs on the engine's own builder."""
    needed = needs.images
    if file is None or not own or not places or platforms.own(engine) in places:
        return needed
    elsewhere = platforms.only_foreign(file, service.args, service.target, engine)
    return tuple(image for image in needed if image not in elsewhere)


def _made_here(problem: Problem, space: Workspace, chosen: Sequence[Service], bases: Iterable[str]) -> Problem:
    """Extend the problem of a missing image with the service that builds the image, if there is one."""
    names = {lookup_name(base) for base in bases}
    makers = [s for s in space.services if s not in chosen and names & set(sources.image_names(s))]
    if problem.code != "image-unavailable" or not makers:
        return problem
    return Problem(
        problem.code,
        problem.message,
        causes=[f"{s.image} is the image of service {s.name}, which has not been built yet" for s in makers],
        hint=f"run `invoke build --service {','.join(s.name for s in (*makers, *chosen))}`",
    )


def compiling(made: BuildPlan) -> BuildPlan:
    """Return the plan if it compiles in cache mounts. Raises `Problem` cache-missing otherwise."""
    if made.groups:
        return made
    raise Problem(
        "cache-missing",
        f"No step in the Dockerfiles of {', '.join(s.name for s in made.services)} compiles in a target mount.",
        hint="see docs/how-to/cache.md for the mounts that a build needs",
    )


def execute(
    session: Session,
    project: Project,
    decided: BuildPlan,
    how: str = "auto",
    progress: Progress | None = None,
    started: Callable[[], None] | None = None,
) -> BuildOutcome:
    """Run the solve and collect its progress. Passes Ctrl-C on and waits for the child, so that nothing is orphaned.

    `started` is called each time bake starts.
    """
    _check_disk(session, project)
    _check_layer_cache(session, project)
    began = session.world.clock()
    chosen = fallback.tier(session, project.engine)
    if chosen.name != "full":
        before_ids = image_choice.ids(session, [s.image for s in decided.services])
        return fallback.execute(session, decided, chosen, before_ids, how)
    if session.world.env.get("DOCKER_BUILDKIT", "").lower() in ("0", "false"):
        session.report.say("ignoring DOCKER_BUILDKIT=0; to build without BuildKit, set builders.name = legacy")
    for platform, route in decided.routes.items():
        session.report.say(f"  {platform}  {route}")
    names = (n for s in decided.services for n in compose_target.secret_variables(s, decided.workspace))
    secrets = variables(session, tuple(dict.fromkeys(names)))
    with ThreadPoolExecutor(1) as pool:
        before = pool.submit(image_choice.ids, session, [s.image for s in decided.services])
        progress, digests = solve(
            *(session, decided, decided.definition, how), variables=secrets, progress=progress, started=started
        )
        old = before.result()
    definition = decided.definition["target"]
    if foreign := [p for p in decided.routes if p != platforms.own(project.engine)]:
        from buildkit_tasks.images import start as image_start  # imported late: few builds are for another platform

        image_start.look(session, decided, foreign)
    targets = tuple(
        _target_result(s, definition[s.key], digests.get(s.key, {}), old.get(s.image, "")) for s in decided.services
    )
    return progress.outcome(session.world.clock() - began, targets, incremental=decided.incremental)


def _sources(
    session: Session, project: Project, builder: Builder, used: Sequence[str], *, make: bool
) -> dict[str, str]:
    """How to pass images that only the engine has to a builder that does not share them."""
    from buildkit_tasks.builders import images as builder_images

    return builder_images.sources(session, project.engine, builder, used, make=make)


def _foreign(
    session: Session,
    project: Project,
    builder: Builder,
    files: Mapping[str, Dockerfile],
    chosen: Sequence[Service],
    places: Mapping[str, tuple[str, ...]],
    linked: Mapping[str, Mapping[str, Service]],
    look_only: bool,
) -> dict[str, dict[str, str]]:
    """For each platform other than the node's own: base images that no registry provides, and their replacements."""
    found = {}
    for platform in dict.fromkeys(p for s in chosen for p in places[s.name]):
        there = builder_facts.at(project.engine, builder, platform)
        if platform != platforms.own(there):
            refs = (
                ref
                for s in chosen
                if s.name in files and platform in places[s.name]
                for ref in platforms.foreign_bases(
                    *(files[s.name], s.args, s.target, there, platform, (*s.contexts, *linked[s.name]))
                )
            )
            found[platform] = base_images.foreign(
                session,
                project.engine,
                tuple(dict.fromkeys(refs)),
                platform,
                build=not look_only,
                shared=builder.own,
            )
    return found


def _directory(session: Session, given: str, *, make: bool) -> str:
    """The archive directory, resolved against the working directory; not created for a plan. Problems: bad-argument."""
    place = (session.world.cwd / given).resolve()
    if "," in str(place):
        raise Problem(
            "bad-argument",
            f"buildx does not support paths with a comma: {place}",
            hint="pass another directory to --oci",
        )
    try:
        if make:
            place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Problem(
            "bad-argument", f"Cannot create {place}: {error.strerror}.", hint="pass another directory to --oci"
        ) from error
    return str(place)


def _target_result(
    service: Service, target: Mapping[str, Any], metadata: Mapping[str, str], before: str
) -> TargetResult:
    """The result for one image. Engines without the containerd store identify images by the digest of their config."""
    digest, config = (metadata.get(f"containerimage.{name}", "") for name in ("digest", "config.digest"))
    same = before in (digest, config) and before != ""
    return TargetResult(service.name, next(iter(target["tags"]), service.image), digest, not same, config)


def _check_layer_cache(session: Session, project: Project) -> None:
    """Check that the engine can export a layer cache, if one is set: the docker driver needs the containerd store."""
    wanted = [one for one in session.settings.caches.layers_to if not one.startswith("type=inline")]
    if not wanted or project.engine.containerd_store:
        return
    if builder_choice.chosen(session).own:
        raise Problem(
            "settings-invalid",
            f"This engine cannot export the layer cache {wanted[0]!r}.",
            causes=[
                "the docker driver exports layer caches only with the containerd image store, which is not enabled"
            ],
            hint='set {"features": {"containerd-snapshotter": true}} in daemon.json, or use another driver '
            "(docker buildx create --use)",
        )


def _check_disk(session: Session, project: Project) -> None:
    """If the engine's data is on this machine, fail below 1 GB of free space and warn below the setting."""
    root = Path(project.engine.root_dir or "/nonexistent")
    try:
        free = shutil.disk_usage(root).free / 1e9
    except OSError:
        return
    if free < 1:
        raise Problem(
            "disk-full",
            f"Only {free:.1f} GB free on {root}; a build needs at least 1 GB.",
            hint="run `invoke prune`, which lists everything it would delete, then asks for confirmation",
        )
    if free * 1e9 < session.settings.caches.min_free:
        session.report.warn(f"only {free:.1f} GB free on {root}; run `invoke prune` to free some space")
