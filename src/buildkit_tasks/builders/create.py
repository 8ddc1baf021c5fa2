"""Creates a builder or adds a node to one, and checks that it responds."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from buildkit_tasks.builders import choice as builder_choice
from buildkit_tasks.builders import facts as builder_facts
from buildkit_tasks.builders.choice import listed, look
from buildkit_tasks.builders.facts import Builder
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import readfile, run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command
from buildkit_tasks.dockercli import buildx
from buildkit_tasks.engine import facts as engine_facts
from buildkit_tasks.images import bases as base_images

from . import kubernetes

#: Driver options, and their files in a directory written by `builder.certificates`.
PEM = {"cacert": "ca.pem", "cert": "cert.pem", "key": "key.pem"}

_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]*")


@dataclass(frozen=True)
class NewNode:
    """The arguments of `builder.create`. `endpoint`: tcp://HOST:PORT, ssh://USER@HOST, or a docker context.

    `certificates`: a directory written by `builder.certificates`; `server_name`: the name in the node's certificate, if
    it differs from the endpoint; `options`: driver options as NAME=VALUE; `config`: a buildkitd.toml.
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


def create(session: Session, wanted: NewNode, *, plan: bool = False) -> NewNode | None:
    """Create a builder or add a node, and check that it responds. Returns the request with the defaults filled in.

    `plan`: only print the commands and return None. Changes nothing if the node is unreachable or denies access.
    Problems: bad-argument, builder-missing, builder-refused, builder-unreachable, image-unavailable.
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
        _show_plan(session, wanted, node, commands)
        return None
    try:
        for one in commands:
            run.check(session.world, one)
        _demand_answer(session, wanted, node)
    except BaseException:
        _undo(session, wanted, node, before)
        raise
    session.report.say(f"added node {node} to builder {wanted.builder}")
    return replace(wanted, node=node)


def _completed(wanted: NewNode) -> NewNode:
    """Fill in the defaults and check the request. Raises `Problem` bad-argument."""
    driver = wanted.driver or ("remote" if wanted.endpoint.startswith(("tcp://", "unix://")) else "docker-container")
    if driver not in builder_facts.DRIVERS:
        raise Problem(
            "bad-argument", f"Unknown driver {driver!r}.", hint=f"use one of: {', '.join(builder_facts.DRIVERS)}"
        )
    for name in filter(None, (wanted.builder, wanted.node)):
        if not _NAME.fullmatch(name):
            raise Problem("bad-argument", f"{name!r} is not a valid builder name.", hint="use letters, digits, - and _")
    if driver == "remote" and not wanted.endpoint:
        raise Problem("bad-argument", "A remote node needs an endpoint.", hint="pass --endpoint tcp://HOST:PORT")
    options = kubernetes.options(wanted.options)
    if wanted.certificates:
        if driver != "remote":
            raise Problem("bad-argument", f"The driver {driver} does not use certificates.", hint="use --driver remote")
        options |= _certificates(readfile.real(Path(wanted.certificates).expanduser()))
    if wanted.server_name:
        options["servername"] = wanted.server_name
    if wanted.config and not Path(wanted.config).is_file():
        raise Problem(
            "bad-argument",
            f"The file {wanted.config} does not exist.",
            hint="pass an existing file, for example --config buildkitd.toml",
        )
    return replace(wanted, driver=driver, options=tuple(f"{n}={v}" for n, v in options.items()))


def _certificates(folder: Path) -> dict[str, str]:
    missing = [name for name in PEM.values() if not (folder / name).is_file()]
    if missing:
        raise Problem(
            "bad-argument",
            f"{folder} does not contain {', '.join(missing)}.",
            causes=["a client needs the CA certificate, a client certificate and its key"],
            hint="run `invoke builder.certificates --host HOST --out DIRECTORY`, then use DIRECTORY/client",
        )
    return {option: str(folder / name) for option, name in PEM.items()}


def _check_name(wanted: NewNode, before: Builder | None) -> None:
    if before and not wanted.append:
        raise Problem(
            "bad-argument",
            f"The builder {wanted.builder!r} already exists.",
            hint=f"pass --append to add a node, or remove the builder with `invoke builder.remove {wanted.builder}`",
        )
    if wanted.append and not before:
        raise Problem("builder-missing", f"The builder {wanted.builder!r} does not exist.", hint="omit --append")
    # buildx would silently replace an existing node of that name
    if before and wanted.node in [node.name for node in before.nodes]:
        raise Problem(
            "bad-argument",
            f"The builder {wanted.builder} already has a node named {wanted.node!r}.",
            hint="pass another name to --node",
        )


def _free(name: str, before: Builder | None) -> str:
    taken = {node.name for node in before.nodes} if before else set()
    return next(f"{name}{n}" for n in range(len(taken) + 1) if f"{name}{n}" not in taken)


def _with_image(session: Session, wanted: NewNode) -> NewNode:
    """Build the daemon's image from packages if necessary, but only on this machine's engine: other nodes pull it."""
    here = wanted.driver == "docker-container" and not wanted.endpoint
    if not here or any(option.startswith("image=") for option in wanted.options):
        return wanted
    found = base_images.ensure(session, engine_facts.facts(session.world, session.root), (builder_facts.IMAGE,))
    use = found.get(builder_facts.IMAGE)
    return replace(wanted, options=(*wanted.options, f"image={use}")) if use else wanted


def _commands(session: Session, wanted: NewNode) -> list[Command]:
    """Return the commands that add the node and create a one-node builder to warm and inspect it."""
    config = str(readfile.real(Path(wanted.config))) if wanted.config else ""

    def making(name: str, platforms: Sequence[str], *, append: bool) -> Command:
        return buildx.builder_create(
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


def _show_plan(session: Session, wanted: NewNode, node: str, commands: list[Command]) -> None:
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
    """Let buildx start the daemon if it can, then check it. Problems: builder-refused, builder-unreachable."""
    single = builder_facts.child(wanted.builder, node)
    if wanted.driver != "remote":
        session.report.say(f"  starting {node}")
        run.check(session.world, buildx.builder_start(session.root, single))
        return
    found = look(session, single)
    if not found.nodes[0].running:
        why = builder_choice.demand_entry(session, found, found.nodes[0])
        raise Problem(
            "builder-unreachable",
            f"No BuildKit daemon responds at {wanted.endpoint}.",
            causes=[why] if why else [],
            hint="start buildkitd at this address (see docs/how-to/builders.md), then rerun this command",
        )


def _undo(session: Session, wanted: NewNode, node: str, before: Builder | None) -> None:
    """Undo the change. Never raises: the original error matters more."""
    with contextlib.suppress(Problem):
        single = builder_facts.child(wanted.builder, node)
        run.capture(session.world, buildx.builder_remove(session.root, single))
        if before:
            run.capture(session.world, buildx.builder_leave(session.root, wanted.builder, node))
        else:
            run.capture(session.world, buildx.builder_remove(session.root, wanted.builder))
