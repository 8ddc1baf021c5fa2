"""Tasks for builders beyond the engine's own."""

from __future__ import annotations

from collections.abc import Sequence

from invoke.tasks import task

from buildkit_tasks.core.session import Session

from .edge import told

YES = "answer every question with yes"
JSON = "print one JSON document"
NAME = "the builder's name"


@task(name="list", default=True, help={"json": JSON})
@told
def list_(session: Session, json: bool = False) -> None:
    """Show the builders, their nodes and platforms; which one is used, and which answer."""
    from buildkit_tasks.builders import show as builder_show

    builder_show.show(session)


@task(help={"name": NAME, "json": JSON})
@told
def inspect(session: Session, name: str, json: bool = False) -> None:
    """Show one builder: its nodes, and which of them holds which cache mounts."""
    from buildkit_tasks.builders import show as builder_show

    builder_show.inspect(session, name)


@task(
    iterable=["platform", "opt"],
    help={
        "name": NAME,
        "driver": "docker-container (a daemon beside the engine), remote (one that runs), kubernetes (pods)",
        "endpoint": "where it is: tcp://HOST:PORT, ssh://USER@HOST, or a docker context",
        "node": "the node's name (default: NAME0, NAME1, …)",
        "append": "one more node for a builder that is there",
        "platform": "platform that this node builds, repeatable (default: what it says itself)",
        "certificates": "directory with ca.pem, cert.pem and key.pem (invoke builder.certificates)",
        "server_name": "the name in the node's certificate, where the endpoint is called otherwise",
        "opt": "option of the driver, NAME=VALUE, repeatable (namespace=…, replicas=…, network=host)",
        "config": "a buildkitd.toml for daemons that are started here",
        "use": "make it the builder that docker uses",
        "plan": "print the commands, for kubernetes the manifest too, and stop",
        "json": JSON,
    },
)
@told
def create(
    session: Session,
    name: str,
    driver: str = "",
    endpoint: str = "",
    node: str = "",
    append: bool = False,
    platform: Sequence[str] | None = None,
    certificates: str = "",
    server_name: str = "",
    opt: Sequence[str] | None = None,
    config: str = "",
    use: bool = False,
    plan: bool = False,
    json: bool = False,
) -> None:
    """Make a builder, or add a node to one; seen to answer, and warmed from the shared cache."""
    from buildkit_tasks.builders import create as builder_create
    from buildkit_tasks.dockerfiles.platforms import named

    wanted = builder_create.NewNode(
        builder=name,
        node=node,
        driver=driver,
        endpoint=endpoint,
        platforms=named(platform or ()),
        certificates=certificates,
        server_name=server_name,
        options=tuple(opt or ()),
        config=config,
        append=append,
    )
    builder_create.create(session, wanted, plan=plan, use=use)


@task(help={"name": NAME})
@told
def use(session: Session, name: str) -> None:
    """Make a builder the one that docker uses; says how to go back."""
    from buildkit_tasks.builders import show as builder_show

    builder_show.choose(session, name)


@task(help={"name": NAME, "keep_state": "keep the caches of daemons that buildx made", "yes": YES})
@told
def remove(session: Session, name: str, keep_state: bool = False, yes: bool = False) -> None:
    """Forget a builder; daemons and caches that buildx made for it go too, after asking. Never a remote daemon."""
    from buildkit_tasks.builders import show as builder_show

    builder_show.remove(session, name, keep_state=keep_state)


@task(
    iterable=["host"],
    help={
        "host": "name or address of a node, repeatable",
        "out": "directory to write into (default: builder-certificates in the working directory)",
        "json": JSON,
    },
)
@told
def certificates(
    session: Session, host: Sequence[str] | None = None, out: str = "builder-certificates", json: bool = False
) -> None:
    """Make certificates for mutual TLS: an authority, one for each node, one for who builds."""
    from buildkit_tasks.builders import certificates as builder_certificates

    builder_certificates.make(session, tuple(host or ()), out)
