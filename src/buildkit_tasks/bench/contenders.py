"""The builds to compare: their compose files in the scratch tree, with separate image names and cache mounts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from buildkit_tasks.adopt import earlier
from buildkit_tasks.builds import inputs
from buildkit_tasks.config.session import Session
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Service
from buildkit_tasks.dockercli import compose_cli
from buildkit_tasks.dockerfiles import stages
from buildkit_tasks.dockerfiles.document import Dockerfile
from buildkit_tasks.existing import providers, spliced
from buildkit_tasks.images import bases as base_images
from buildkit_tasks.images import choice as image_choice
from buildkit_tasks.project import sources
from buildkit_tasks.project.discover import Project
from buildkit_tasks.samples.catalogue import BARE, BEFORE, OURS, PLAIN, WAYS, Way
from buildkit_tasks.workspaces.tree import Tree

#: The stage that our Dockerfiles compile in.
TOOLCHAIN = "toolchain"

#: Keys that plain compose needs in addition to ours.
_PASSED = ("additional_contexts", "secrets")
#: Keys of a `build:` section that do not change what is compiled, or that publish something.
_DROPPED = ("tags", "labels", "cache_from", "cache_to", "platforms", "pull", "no_cache")


@dataclass(frozen=True)
class Contenders:
    """`builds`: for each contender, the `build:` section of each service; `left_out`: why others are excluded.

    `tools`: for a contender with a stage to build before measuring, that build. The builds refer to the scratch tree of
    the contender's family.
    """

    builds: Mapping[str, Mapping[str, dict[str, Any]]]
    left_out: Mapping[str, str]
    tools: Mapping[str, dict[str, Any]]


def compiled(project: Project) -> dict[str, Service]:
    """Return the services that are built by our compile step."""
    return {s.name: s for s in project.workspace.services if sources.compiles(s)}


def find(
    session: Session, project: Project, scratch: Path, trees: Mapping[str, Path], name: str, wanted: Collection[str]
) -> Contenders:
    """Return the wanted contenders (keys) that can run. `name`: the namespace of their cache mounts.

    `trees`: the scratch tree of each family.
    """
    services = compiled(project)
    builds: dict[str, Mapping[str, dict[str, Any]]] = {}
    left_out: dict[str, str] = {}
    tools: dict[str, dict[str, Any]] = {}
    images = _replaced(session, project, [image for s in services.values() for image in sources.needed_images(s)])
    scope = project.workspace.scope

    def own(family: str) -> dict[str, dict[str, Any]]:
        return {s.name: _own(session, s, trees[family], images, scope) for s in services.values()}

    for way in (way for way in WAYS if way.key in wanted):
        try:
            if way.name == OURS:  # it replaces images and passes the CA bundle itself
                builds[OURS] = {
                    name: {k: build[k] for k in build if k not in _PASSED} for name, build in own("ours").items()
                }
            elif way.name == PLAIN:  # has the same mounts
                args = {"CARGO_INCREMENTAL": "1", "BUILDKIT_CACHE_MOUNT_NS": f"{name}-ours"}
                builds[PLAIN] = _with_args(own("ours"), args)
            elif way.name == BARE:
                builds[BARE] = own("cargo")
                tools[BARE] = {**next(iter(builds[BARE].values())), "target": TOOLCHAIN}
            elif way.name == BEFORE:
                before = _before(session, project, services, scratch, trees[way.family], f"{name}-before")
                if before:
                    builds[BEFORE] = before
            else:
                args = {**way.args, "BUILDKIT_CACHE_MOUNT_NS": f"{name}-{way.family}"}
                builds[way.name] = _with_args(_of_file(session, project, services, scratch, trees, way, name), args)
                if way.tool:
                    tools[way.name] = {**next(iter(builds[way.name].values())), "target": "tool"}
        except Problem as problem:
            if way.name == OURS:
                raise
            left_out[way.name] = problem.message
    return Contenders(builds, left_out, tools)


def write(
    session: Session, name: str, builds: Mapping[str, dict[str, Any]], image: Mapping[str, str], to: Path
) -> None:
    """Write a contender's compose file. It contains no service environment, and therefore no secrets."""
    content = {
        "name": name,
        "services": {service: {"build": build, "image": image[service]} for service, build in builds.items()},
        "secrets": {"ca": {"file": session.settings.build.ca_bundle or "/dev/null"}},
    }
    to.write_text(compose_cli.for_compose(content), "utf-8")


def _own(session: Session, service: Service, tree_copy: Path, images: Mapping[str, str], scope: str) -> dict[str, Any]:
    build: dict[str, Any] = {
        "context": str(tree_copy / service.context.relative_to(session.root)),
        "dockerfile": str(tree_copy / service.dockerfile.relative_to(session.root)),
        "additional_contexts": dict(images),
        "args": {"CACHE_SCOPE": scope, **service.args},
    }
    if service.target:
        build["target"] = service.target
    if session.settings.build.ca_bundle:
        build["secrets"] = ["ca"]
    return build


def _with_args(builds: Mapping[str, dict[str, Any]], args: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    return {name: {**build, "args": {**build["args"], **args}} for name, build in builds.items()}


def _replaced(session: Session, project: Project, references: Sequence[str]) -> dict[str, str]:
    """Return a context for every image that is replaced. Raises `Problem` image-unavailable."""
    found = base_images.ensure(session, project.engine, tuple(dict.fromkeys(references)))
    return {reference: f"docker-image://{other}" for reference, other in found.items()}


def _of_file(
    session: Session,
    project: Project,
    services: Mapping[str, Service],
    scratch: Path,
    trees: Mapping[str, Path],
    way: Way,
    name: str,
) -> dict[str, dict[str, Any]]:
    """Return builds with a Dockerfile from data/bench. It gets the name of this run, so its layers are not reused."""
    text = (resources.files("buildkit_tasks") / "data" / "bench" / f"{way.file}.Dockerfile").read_text("utf-8")
    file = scratch / f"{way.file}.Dockerfile"
    file.write_text(text.replace("bench-run", name), "utf-8")
    images = _replaced(session, project, stages.base_images(text, {}))
    secret = {"secrets": ["ca"]} if session.settings.build.ca_bundle else {}
    programs: dict[tuple[str, str], list[str]] = {}
    for service in services.values():
        programs.setdefault((str(service.context), source_of(service)), []).append(service.binary)
    return {
        name: {
            "context": str(trees[way.family] / service.context.relative_to(session.root)),
            "dockerfile": str(file),
            "additional_contexts": images,
            "args": {
                "BIN": service.binary,
                "BINS": " ".join(dict.fromkeys(programs[str(service.context), source_of(service)])),
                "SOURCE": source_of(service),
            },
            **secret,
        }
        for name, service in services.items()
    }


def source_of(service: Service) -> str:
    """Return the cargo workspace's directory in the context: the argument, the Dockerfile's default, or `.`."""
    if "SOURCE" in service.args:
        return service.args["SOURCE"]
    for item in sources.known(service).items:
        if item.keyword == "ARG" and item.rest.startswith("SOURCE="):
            return item.rest.split("=", 1)[1].strip('"')
    return "."


def _before(
    session: Session, project: Project, services: Mapping[str, Service], scratch: Path, tree_copy: Path, workspace: str
) -> dict[str, dict[str, Any]]:
    """Return how compose built the services before `init`, from init's record; empty without a record.

    Problems: image-unavailable; bad-argument for a build that needs secrets, ssh keys or another service's image.
    """
    old = earlier.read_record(session.root)
    files, found = earlier.before_init(session.world, session.root, old)
    if not found or not any(e.before is not None for path, e in old.files.items() if path in old.compose):
        return {}
    builds: dict[str, dict[str, Any]] = {}
    building = providers.read(files, found.config)
    for name, entry in (found.config.get("services") or {}).items():
        build = entry.get("build") if isinstance(entry, dict) else None
        if name not in services or not isinstance(build, dict):
            continue
        if build.get("secrets") or build.get("ssh"):
            raise Problem("bad-argument", f"{name}'s build needs secrets or SSH keys")
        user = next(one for one in building if one.name == name)
        for other in spliced.images_of(user, building).values():
            raise Problem("bad-argument", f"{name}'s build needs {other.name}'s image")
        builds[name] = _old(session, project, files, name, build, scratch, tree_copy, workspace)
    return builds if builds.keys() == services.keys() else {}


def _old(
    session: Session,
    project: Project,
    files: Tree,
    service: str,
    build: Mapping[str, Any],
    scratch: Path,
    tree_copy: Path,
    workspace: str,
) -> dict[str, Any]:
    context = providers.inside(files.root, str(build["context"])) if "://" not in str(build["context"]) else None
    if context is None:
        raise Problem("bad-argument", f"{service}'s context is outside the repository")
    path, text = providers.dockerfile_of(files, context, build)
    args = {str(k): "" if v is None else str(v) for k, v in (build.get("args") or {}).items()}
    images = _replaced(session, project, stages.base_images(text, args))
    new = {key: value for key, value in build.items() if key not in _DROPPED}
    new["context"] = str(tree_copy / context)
    new["args"] = {**args, "BUILDKIT_CACHE_MOUNT_NS": workspace}
    new["additional_contexts"] = {**(build.get("additional_contexts") or {}), **images}
    file = Dockerfile.read(text)
    decisions = image_choice.decide(session, project.engine, [file.syntax]) if file.syntax else {}
    plain = inputs.plain_text(file, decisions, service) or text
    if build.get("dockerfile_inline"):
        new["dockerfile_inline"] = plain
    elif plain != text or not (tree_copy / path).is_file():  # deleted since then; the record has its text
        kept = scratch / path.replace("/", "-")
        kept.write_text(plain, "utf-8", errors="surrogateescape")
        if files.has(f"{path}.dockerignore"):
            kept.with_name(f"{kept.name}.dockerignore").write_text(files.text(f"{path}.dockerignore"), "utf-8")
        new["dockerfile"] = str(kept)
    return new
