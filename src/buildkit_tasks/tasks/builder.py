"""Tasks for buildx builders other than the engine's own."""

from __future__ import annotations

from collections.abc import Sequence

from buildkit_tasks.config.session import Session

from .edge import reported, task

YES = "answer yes to all prompts"
JSON = "print a single JSON document"
NAME = "name of the builder"


@task(name="list", default=True, help={"json": JSON})
@reported
def list_(session: Session, json: bool = False) -> None:
    """List the builders with their nodes and platforms, the builder in use, and the nodes that respond."""
    from buildkit_tasks.builders import show as builder_show

    builder_show.show(session)


@task(help={"name": NAME, "json": JSON})
@reported
def inspect(session: Session, name: str, json: bool = False) -> None:
    """Show a builder's nodes and the cache mounts on each node."""
    from buildkit_tasks.builders import show as builder_show

    builder_show.inspect(session, name)


@task(
    iterable=["platform", "opt"],
    help={
        "name": NAME,
        "driver": "docker-container (starts a daemon), remote (uses a running daemon) or kubernetes (starts pods)",
        "endpoint": "address, for example tcp://HOST:PORT or ssh://USER@HOST, or a docker context",
        "node": "name of the node (default: NAME0, NAME1, …)",
        "append": "add a node to an existing builder",
        "platform": "target platform of this node, for example arm64; repeatable (default: as reported by the node)",
        "certificates": "directory with ca.pem, cert.pem and key.pem, created by builder.certificates",
        "server_name": "name in the node's certificate, if it differs from the endpoint",
        "opt": "driver option, for example network=host or replicas=3; repeatable",
        "config": "buildkitd.toml for daemons that buildx starts",
        "use": "also switch docker to this builder",
        "plan": "print the commands (and the Kubernetes manifest) without running them",
        "json": JSON,
    },
)
@reported
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
    """Create a builder or add a node to an existing one, check that it responds, and warm it from the shared cache."""
    from buildkit_tasks.builders import create as builder_create
    from buildkit_tasks.pipeline import new_node
    from buildkit_tasks.platforms.names import named

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
    new_node.add(session, wanted, plan=plan, use=use)


@task(help={"name": NAME})
@reported
def use(session: Session, name: str) -> None:
    """Switch docker to a builder and print how to switch back."""
    from buildkit_tasks.builders import show as builder_show

    builder_show.choose(session, name)


@task(help={"name": NAME, "keep_state": "keep the state of daemons that buildx started", "yes": YES})
@reported
def remove(session: Session, name: str, keep_state: bool = False, yes: bool = False) -> None:
    """Remove a builder; asks before deleting daemons and caches that buildx created. Never stops a remote daemon."""
    from buildkit_tasks.builders import show as builder_show

    builder_show.remove(session, name, keep_state=keep_state)


@task(
    iterable=["host"],
    help={
        "host": "host name or address of a node, for example 10.0.0.1; repeatable",
        "out": "output directory (default: builder-certificates in the working directory)",
        "json": JSON,
    },
)
@reported
def certificates(
    session: Session, host: Sequence[str] | None = None, out: str = "builder-certificates", json: bool = False
) -> None:
    """Create certificates for mutual TLS: a CA, one certificate per node and one for clients."""
    from buildkit_tasks.builders import certificates as builder_certificates

    builder_certificates.make(session, tuple(host or ()), out)
