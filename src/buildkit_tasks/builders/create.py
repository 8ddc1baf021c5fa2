"""Make a builder, or give one another node: seen to answer before it stays, and warm from the start."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from buildkit_tasks.builds import builder_choice, builder_facts
from buildkit_tasks.builds.builder_choice import listed, look
from buildkit_tasks.builds.builder_facts import Builder
from buildkit_tasks.core import docker, run, units
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command
from buildkit_tasks.core.session import Session
from buildkit_tasks.engine import facts as engine_facts
from buildkit_tasks.images import bases as base_images

from . import kubernetes
from .show import choose, inspect

#: What a client shows to a node and knows it by, in a directory that `builder.certificates` made: option to file.
PEM = {"cacert": "ca.pem", "cert": "cert.pem", "key": "key.pem"}

_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]*")


@dataclass(frozen=True)
class NewNode:
    """What `builder.create` was asked for. `endpoint`: tcp://HOST:PORT, ssh://USER@HOST, or a docker context.

    `certificates`: a directory of `builder.certificates`; `server_name`: the name in the node's certificate, where
    the endpoint is called otherwise; `options` of the driver, NAME=VALUE; `config`: a buildkitd.toml.
    """

    builder: str
    node: str = ""
    driver: str = ""
    endpoint: str = ""
    platforms: tuple[str, ...] = ()
    certificates: str = ""
    server_name: str = ""
    options: tuple[str, ...] = ()
    config: str = ""
    append: bool = False


def create(session: Session, wanted: NewNode, *, plan: bool = False, use: bool = False) -> None:
    """Make a builder, or give one another node; see that it answers; fill its mounts from the shared cache.

    A node that cannot be reached or does not let us in leaves everything as it was. Problems: bad-argument,
    builder-missing, builder-refused, builder-unreachable, image-unavailable.
    """
    wanted = _completed(wanted)
    every = {} if plan else {b.name: b for b in listed(session)}
    before = every.get(wanted.builder)
    if not plan:
        _check_name(wanted, before)
        wanted = replace(wanted, node=wanted.node or _free(wanted.builder, before))
        wanted = _with_image(session, wanted)
    node = wanted.node or f"{wanted.builder}0"
    commands = _commands(session, replace(wanted, node=node))
    if plan:
        _tell_plan(session, wanted, node, commands)
        return
    try:
        for one in commands:
            run.check(session.world, one)
        _demand_answer(session, wanted, node)
    except BaseException:
        _undo(session, wanted, node, before)
        raise
    session.report.say(f"the builder {wanted.builder} has the node {node}")
    _warm(session, wanted, node)
    if use:
        choose(session, wanted.builder)
    inspect(session, wanted.builder)


def _completed(wanted: NewNode) -> NewNode:
    """What follows from what was asked for. Raises `Problem` bad-argument."""
    driver = wanted.driver or ("remote" if wanted.endpoint.startswith(("tcp://", "unix://")) else "docker-container")
    if driver not in builder_facts.DRIVERS:
        raise Problem(
            "bad-argument", f"There is no driver {driver!r}.", hint=f"one of: {', '.join(builder_facts.DRIVERS)}"
        )
    for name in filter(None, (wanted.builder, wanted.node)):
        if not _NAME.fullmatch(name):
            raise Problem("bad-argument", f"{name!r} is no name for a builder.", hint="letters, digits, - and _")
    if driver == "remote" and not wanted.endpoint:
        raise Problem("bad-argument", "A remote node has an address.", hint="--endpoint tcp://HOST:PORT")
    options = kubernetes.options(wanted.options)
    if wanted.certificates:
        if driver != "remote":
            raise Problem("bad-argument", f"The driver {driver} takes no certificates.", hint="--driver remote")
        options |= _certificates(Path(wanted.certificates).expanduser().resolve())
    if wanted.server_name:
        options["servername"] = wanted.server_name
    if wanted.config and not Path(wanted.config).is_file():
        raise Problem("bad-argument", f"There is no file {wanted.config}.", hint="--config buildkitd.toml")
    return replace(wanted, driver=driver, options=tuple(f"{n}={v}" for n, v in options.items()))


def _certificates(folder: Path) -> dict[str, str]:
    missing = [name for name in PEM.values() if not (folder / name).is_file()]
    if missing:
        raise Problem(
            "bad-argument",
            f"{folder} has no {', '.join(missing)}.",
            causes=["a client needs the authority's certificate, its own, and its key"],
            hint="invoke builder.certificates --host HOST --out DIRECTORY    (the client's are in DIRECTORY/client)",
        )
    return {option: str(folder / name) for option, name in PEM.items()}


def _check_name(wanted: NewNode, before: Builder | None) -> None:
    if before and not wanted.append:
        raise Problem(
            "bad-argument",
            f"There is a builder {wanted.builder!r} already.",
            hint=f"--append gives it another node; or: invoke builder.remove {wanted.builder}",
        )
    if wanted.append and not before:
        raise Problem(
            "builder-missing", f"There is no builder {wanted.builder!r} to append to.", hint="leave --append away"
        )
    # buildx would exchange the node that has the name
    if before and wanted.node in [node.name for node in before.nodes]:
        raise Problem("bad-argument", f"{wanted.builder} has a node {wanted.node!r} already.", hint="--node OTHER")


def _free(name: str, before: Builder | None) -> str:
    taken = {node.name for node in before.nodes} if before else set()
    return next(f"{name}{n}" for n in range(len(taken) + 1) if f"{name}{n}" not in taken)


def _with_image(session: Session, wanted: NewNode) -> NewNode:
    """On this machine's engine the daemon's image may have to be built from packages; elsewhere it is pulled there."""
    here = wanted.driver == "docker-container" and not wanted.endpoint
    if not here or any(option.startswith("image=") for option in wanted.options):
        return wanted
    found = base_images.ensure(session, engine_facts.facts(session.world, session.root), (builder_facts.IMAGE,))
    use = found.get(builder_facts.IMAGE)
    return replace(wanted, options=(*wanted.options, f"image={use}")) if use else wanted


def _commands(session: Session, wanted: NewNode) -> list[Command]:
    """The node in its builder, and a builder of the node alone, so that it can be meant: to warm it, to look inside."""
    config = str(Path(wanted.config).resolve()) if wanted.config else ""

    def making(name: str, platforms: Sequence[str], *, append: bool) -> Command:
        return docker.builder_create(
            *(session.root, name, wanted.node),
            driver=wanted.driver,
            endpoint=wanted.endpoint,
            platforms=platforms,
            options=wanted.options,
            config=config,
            append=append,
        )

    return [
        making(wanted.builder, wanted.platforms, append=wanted.append),
        making(builder_facts.child(wanted.builder, wanted.node), (), append=False),
    ]


def _tell_plan(session: Session, wanted: NewNode, node: str, commands: list[Command]) -> None:
    manifest = kubernetes.deployment(node, wanted.options) if wanted.driver == "kubernetes" else None
    if session.report.json_only:
        argv = [list(one.argv) for one in commands]
        session.report.envelope({"plan": {"commands": argv, "manifest": manifest}})
        return
    if manifest:
        session.report.answer(json.dumps(manifest, indent=2))
    for one in commands:
        session.report.say(run.show(one))


def _demand_answer(session: Session, wanted: NewNode, node: str) -> None:
    """Start the daemon where buildx can, and see that it answers. Problems: builder-refused, builder-unreachable."""
    single = builder_facts.child(wanted.builder, node)
    if wanted.driver != "remote":
        session.report.say(f"  starting {node}")
        run.check(session.world, docker.builder_start(session.root, single))
        return
    found = look(session, single)
    if not found.nodes[0].running:
        why = builder_choice.demand_entry(session, found, found.nodes[0])
        raise Problem(
            "builder-unreachable",
            f"No BuildKit answers at {wanted.endpoint}.",
            causes=[why] if why else [],
            hint="start buildkitd there (docs/how-to/builders.md), then run the same command again",
        )


def _undo(session: Session, wanted: NewNode, node: str, before: Builder | None) -> None:
    """Back to what was there. Nothing is raised: the reason for it is what matters."""
    with contextlib.suppress(Problem):
        single = builder_facts.child(wanted.builder, node)
        run.capture(session.world, docker.builder_remove(session.root, single))
        if before:
            run.capture(session.world, docker.builder_leave(session.root, wanted.builder, node))
        else:
            run.capture(session.world, docker.builder_remove(session.root, wanted.builder))


def _warm(session: Session, wanted: NewNode, node: str) -> None:
    """A node that joins starts with the shared cache, where there is one. It joins without it as well."""
    if not session.settings.packs.repository:
        return
    from buildkit_tasks.packs import job as pack_job
    from buildkit_tasks.packs import pull as pack_pull
    from buildkit_tasks.packs.pack import Wanted
    from buildkit_tasks.project import discover

    own = Session(session.world, session.report, session.flags)
    try:
        found = discover.discover(own)
        for platform in wanted.platforms or ("",):
            needed = Wanted(platform=platform, builder=builder_facts.child(wanted.builder, node))
            done = pack_pull.fetch(pack_job.prepare(own, found, needed))
            told = f"{units.human(done.bytes)} in {done.seconds:.1f} s" if done.unpacked else "; ".join(done.why_not)
            session.report.say(f"  warmed{f' for {platform}' if platform else ''}: {told or 'nothing'}")
    except Problem as problem:
        session.report.warn(f"{node} was not warmed: {'; '.join((problem.message, *problem.causes[:1]))}")
