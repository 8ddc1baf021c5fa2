"""Computes the plan of a build, with all decisions. `building` runs it as a single bake solve."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from buildkit_tasks.builders import facts as builder_facts
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import readfile
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildPlan, BuildRequest, Service, Workspace
from buildkit_tasks.dockerfiles import platforms
from buildkit_tasks.dockerfiles.document import lookup_name
from buildkit_tasks.images import bases as base_images
from buildkit_tasks.project import sources
from buildkit_tasks.project.discover import Project

from . import inputs, plan, plan_words
from .targets import Targets, choose


def plan_build(
    session: Session,
    project: Project,
    request: BuildRequest,
    *,
    look_only: bool = False,
    missing: list[Problem] | None = None,
) -> BuildPlan:
    """Return the plan for a request. With `look_only`, create nothing: no transfer link, no base image.

    Printing a plan does not require the base images, so problems with them are added to `missing`, not raised.
    """
    workspace, engine = project.workspace, project.engine
    if request.oci:
        request = replace(request, oci=_directory(session, request.oci, make=not look_only))
    targets = choose(session, project, request)
    try:
        replacements = _replacements(session, project, targets, look_only=look_only)
    except Problem as problem:
        if missing is None or problem.code != "image-unavailable":
            raise
        missing.append(problem)
        replacements = {}
    dockerfiles, paths, frontends = inputs.without_syntax(
        session, engine, targets.services, targets.dockerfiles, look_only=look_only
    )
    targets = replace(targets, dockerfiles=dockerfiles)
    links = {} if look_only else inputs.links(session, targets.services)
    foreign = _foreign(session, project, targets, look_only=look_only)
    used = [*replacements.values(), *(image for found in foreign.values() for image in found.values())]
    surroundings = plan.Surroundings(
        files={**inputs.paths(targets.services, links), **paths},
        replacements={**replacements, **frontends},
        foreign=foreign,
        sources={} if targets.builder.own else _sources(session, project, targets, used, make=not look_only),
        transfer=links,
        ci=session.world.ci,
        proxies=plan_words.proxies(session.world.env),
    )
    made = plan.make(session.settings, workspace, engine, targets, surroundings)
    for note in made.notes if not look_only else ():
        session.report.say(note)
    return made


def compiling(made: BuildPlan) -> BuildPlan:
    """Return the plan if it compiles in cache mounts. Raises `Problem` cache-missing otherwise."""
    if made.groups:
        return made
    raise Problem(
        "cache-missing",
        f"No step in the Dockerfiles of {', '.join(s.name for s in made.services)} compiles into a cache mount.",
        hint="see docs/how-to/cache.md for the mounts that a build needs",
    )


def _replacements(session: Session, project: Project, targets: Targets, *, look_only: bool) -> dict[str, str]:
    """Return the replacements for base images that no registry provides. Problems: image-unavailable."""
    needed = {
        s.name: [image for image in _base_images(s, targets) if image not in targets.linked[s.name]]
        for s in targets.services
    }
    bases = dict.fromkeys(image for images in needed.values() for image in images)
    find = base_images.planned if look_only else base_images.ensure
    try:
        return find(session, project.engine, tuple(bases), services=needed)
    except Problem as problem:
        raise _made_here(problem, project.workspace, targets.services, bases) from None


def _base_images(service: Service, targets: Targets) -> tuple[str, ...]:
    """Return the base images of a build for the node's own platform."""
    images, places = targets.needs[service.name].images, targets.platforms[service.name]
    file = targets.dockerfiles.get(service.name)
    if file is None or not targets.builder.own or not places or platforms.own(targets.node) in places:
        return images
    elsewhere = platforms.only_foreign(file, service.args, service.target, targets.node)
    return tuple(image for image in images if image not in elsewhere)


def _made_here(problem: Problem, workspace: Workspace, services: Sequence[Service], bases: Iterable[str]) -> Problem:
    """Add the service that builds a missing image, if there is one, to the problem."""
    names = {lookup_name(base) for base in bases}
    makers = [s for s in workspace.services if s not in services and names & set(sources.image_names(s))]
    if problem.code != "image-unavailable" or not makers:
        return problem
    return Problem(
        problem.code,
        problem.message,
        causes=[f"{s.image} is the image of service {s.name}, which has not been built yet" for s in makers],
        hint=f"run `invoke build --service {','.join(s.name for s in (*makers, *services))}`",
    )


def _sources(
    session: Session, project: Project, targets: Targets, used: Sequence[str], *, make: bool
) -> dict[str, str]:
    """Return named contexts for images that only the engine has, for a builder that does not share them."""
    from buildkit_tasks.builders import images as builder_images  # imported late: most builds use the engine's builder

    return builder_images.sources(session, project.engine, targets.builder, used, make=make)


def _foreign(session: Session, project: Project, targets: Targets, *, look_only: bool) -> dict[str, dict[str, str]]:
    """Map each platform other than the node's own to replacements for base images that no registry provides."""
    found = {}
    for platform in dict.fromkeys(p for s in targets.services for p in targets.platforms[s.name]):
        node = builder_facts.at(project.engine, targets.builder, platform)
        if platform == platforms.own(node):
            continue
        images = (
            image
            for s in targets.services
            if s.name in targets.dockerfiles and platform in targets.platforms[s.name]
            for image in platforms.foreign_bases(
                *(targets.dockerfiles[s.name], s.args, s.target, node, platform),
                (*s.contexts, *targets.linked[s.name]),
            )
        )
        found[platform] = base_images.foreign(
            session,
            project.engine,
            tuple(dict.fromkeys(images)),
            platform,
            build=not look_only,
            shared=targets.builder.own,
        )
    return found


def _directory(session: Session, given: str, *, make: bool) -> str:
    """Return the absolute path of the archive directory. `make`: create the directory. Problems: bad-argument."""
    place = readfile.real(session.world.cwd / given)
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
