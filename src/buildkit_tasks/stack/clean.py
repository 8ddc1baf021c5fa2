"""Removes this project's containers, networks and images from the engine; on request, also caches and volumes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from buildkit_tasks.caches import cargo_tasks
from buildkit_tasks.caches import mark as cache_mark
from buildkit_tasks.caches import selection as cache_selection
from buildkit_tasks.caches.delete import delete as delete_records
from buildkit_tasks.caches.look import records
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import readfile, run, shapes, units
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command, Workspace
from buildkit_tasks.dockercli import compose_cli, docker, docker_run
from buildkit_tasks.dockerfiles.document import lookup_name
from buildkit_tasks.engine.cache_records import Record
from buildkit_tasks.project.discover import Project, discover, files_found

from . import stack


def clean(session: Session, *, caches: bool, volumes: bool, confirm: str, dry_run: bool) -> None:
    """List what to remove, ask, then remove it. Never touch other projects' containers, images, caches or volumes.

    Deleting volumes requires typing the project's name, or passing it as `confirm`; `--yes` is not enough.
    Problems: consent-missing, bad-argument if another directory has a project with this name.
    """
    project = discover(session, looking=True)
    name = project.workspace.project
    containers = _containers(session, name)
    networks = _networks(session, name)
    listed = _lines(session, docker.project_images(session.root, name))
    labelled = [line.split(" ", 2) for line in listed if line.count(" ") >= 2]
    images = [image for image in labelled if "<none>" in image[1] or _ours(image[1], project.workspace)]
    _refuse_foreign(session, name, containers)
    declared = _declared_volumes(project.workspace)
    labeled_volumes = _lines(session, docker.project_volumes(session.root, name))
    found = [volume for volume in labeled_volumes if volume in declared]
    mounts = _caches(session, project) if caches else []
    objects = cargo_tasks.measured(session, cargo_tasks.names(session, project.workspace.scope)) if caches else ()
    toolchains = cargo_tasks.images(session, project.workspace.scope) if caches else []
    rows = [("container", c, "") for c in containers] + [("network", n, "") for n in networks]
    rows += [("image", image[1], image[2]) for image in images]
    rows += [("cache", r.mount_id or r.id, units.human(r.size)) for r in mounts]
    rows += [("cache", v.name, "" if v.size is None else units.human(v.size)) for v in objects]
    rows += [("image", image, "") for image in toolchains]
    rows += [("volume", v, "all its data") for v in found] if volumes else []
    if not rows:
        but = "" if volumes or not found else f"; {units.counted(len(found), 'volume')} kept"
        session.report.say(f"nothing to remove for {name}{but}")
        return
    session.report.table(("what", "name", "size"), rows)
    what = f"{units.counted(len(rows), 'item')} in the project {name} will be removed"
    if volumes and found:
        what += f", including {units.counted(len(found), 'volume')} with all their data"
        agreed = not dry_run and session.report.typed(what, name, confirm)
    else:
        agreed = not dry_run and session.report.consent(what + ("; volumes are kept" if found else ""))
    if not agreed:
        session.report.say("nothing was changed")
        return
    files = stack.files_in_force(session, project)
    run.check(session.world, compose_cli.down(session.root, files, orphans=True))
    for container in _containers(session, name):  # created by one-off commands
        run.capture(session.world, docker.remove_container(session.root, container))
    for network in _networks(session, name):  # no longer in the compose file
        run.capture(session.world, docker_run.remove_networks(session.root, [network]))
    kept = _remove(session, [*images, *(["", image, ""] for image in toolchains)])
    kept += [(name, "in use by a cargo task") for name in cargo_tasks.remove(session, [v.name for v in objects])]
    if volumes and found:
        run.check(session.world, docker.remove_volumes(session.root, found))
    if mounts:
        delete_records(session, project, mounts, "")
        cache_mark.forget(session)
    for image, why in kept:
        session.report.warn(f"kept {image}: {why}")
    session.report.say(f"cleaned {name}" + ("" if volumes or not found else "; its volumes are kept"))


def _refuse_foreign(session: Session, name: str, containers: Sequence[str]) -> None:
    """Raise `Problem` bad-argument if another directory's compose project has the same name."""
    if not containers:
        return
    ours = {readfile.real(session.root), *(readfile.real(file.parent) for file in files_found(session))}
    facts = shapes.rows(run.check(session.world, docker.container_facts(session.root, containers)), 4)
    others = sorted({place for *_, place in facts if place and readfile.real(Path(place)) not in ours})
    if others:
        raise Problem(
            "bad-argument",
            f"Another project is also named {name}: {', '.join(others)}.",
            causes=["docker identifies a project's containers, networks and volumes only by the project's name"],
            hint="give this project a different name (`name:` in the compose file), or clean the other project first",
        )


def _declared_volumes(workspace: Workspace) -> frozenset[str]:
    """Return the names of the declared volumes as created by compose, excluding external volumes."""
    declared = workspace.config.get("volumes") or {}
    return frozenset(
        str((entry or {}).get("name") or f"{workspace.project}_{key}")
        for key, entry in declared.items()
        if not (entry or {}).get("external")
    )


def _ours(image: str, workspace: Workspace) -> bool:
    """Return whether a built service uses this image name. Labels prove nothing: derived images inherit them."""
    return lookup_name(image) in {lookup_name(service.image) for service in workspace.services}


def _caches(session: Session, project: Project) -> list[Record]:
    """Return this project's mounts and layers that no build is using."""
    found = records(session, project.engine)
    scope = project.workspace.scope
    mounts = cache_selection.choose(found, cache_selection.Selection(project=scope)).records
    return [*mounts, *(r for r in cache_selection.belonging(found, scope) if not r.is_mount and r.reclaimable)]


def _remove(session: Session, images: list[list[str]]) -> list[tuple[str, str]]:
    """Remove images by name, or by id if untagged; return the images that were kept, and why."""
    kept = []
    for identity, name, _ in images:
        wanted = identity if "<none>" in name else name
        removed = run.capture(session.world, docker.remove_images(session.root, [wanted]))
        if removed.code != 0 and "No such image" not in removed.stderr:
            kept.append((name, removed.stderr.strip().splitlines()[-1] if removed.stderr.strip() else "in use"))
    return kept


def _containers(session: Session, project: str) -> list[str]:
    listed = run.check(session.world, docker.project_containers(session.root, project))
    return [name for name, _ in shapes.rows(listed, 2)]


def _networks(session: Session, project: str) -> list[str]:
    return [
        name for (name,) in shapes.rows(run.check(session.world, docker.project_networks(session.root, project)), 1)
    ]


def _lines(session: Session, command: Command) -> list[str]:
    return [line for line in run.check(session.world, command).stdout.splitlines() if line]
