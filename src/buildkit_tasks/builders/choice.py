"""Decides which builder a build uses, checks its nodes, and switches away from a node that is down."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import readfile, run, shapes
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildRequest, Engine
from buildkit_tasks.dockercli import buildx

from . import facts as builder_facts
from .facts import Builder, Node

#: Seconds to wait for a node. buildx itself waits 20 s per node, so 40 s for a build on two hung nodes.
PATIENCE = 5.0

#: How many times to ask a node why it denies access if it closes the connection without giving a reason.
ASKED = 5
_HUNG_UP = re.compile(r"broken pipe|connection reset|\bEOF\b")


def named(session: Session) -> str:
    """Return the builder set by the settings, BUILDX_BUILDER or `docker buildx use`; empty for the engine's own."""
    _ = session.settings  # loads the builder from the settings into the environment
    if given := session.world.env.get("BUILDX_BUILDER", ""):
        return "" if given == session.world.env.get("DOCKER_CONTEXT", "default") else given
    # read the file: running docker would add 0.1 s to every build, usually for nothing
    return str(readfile.state(session.world.buildx_config / "current").get("Name") or "")


def chosen(session: Session) -> Builder:
    """Return the builder that a build would use, with its nodes unless it is the engine's own builder.

    Raises `Problem` builder-missing.
    """
    name = named(session)
    return look(session, name) if name else builder_facts.OWN


def ready(session: Session, engine: Engine, request: BuildRequest) -> Builder:
    """Return the same as `chosen`, but avoid nodes that do not respond. Problems: builder-missing, builder-refused."""
    found = chosen(session)
    if found.driver != "remote":  # stopped containers and pods are fine: buildx starts them
        return found
    dead = _silent(session, found)
    return use_another(session, engine, found, dead, request) if dead else found


def use_another(
    session: Session, engine: Engine, found: Builder, dead: Sequence[Node], request: BuildRequest
) -> Builder:
    """Switch the session to another node of the builder, or else to the engine's own builder, with a warning."""
    other, words = engine.context, "this machine's engine"
    left = builder_facts.without(found, [node.name for node in dead])
    node = left.node_for(builder_facts.platforms_for(request, engine, found)[0])
    if node and there(session, single := builder_facts.child(found.name, node.name)):
        other, words = single, f"the node {node.name} ({node.endpoint})"
    lost = ", ".join(f"{node.name} ({node.endpoint})" for node in dead)
    session.report.warn(
        f"builder {found.name}: {lost} {'is' if len(dead) == 1 else 'are'} down; building on {words} instead"
    )
    session.use_builder(other)
    return look(session, other)


def after_failure(session: Session, engine: Engine, name: str, request: BuildRequest, problem: Problem) -> bool:
    """Return whether to retry a failed build on the session's new builder.

    Queries the nodes instead of parsing the error. Raises `Problem` builder-refused.
    """
    if problem.code not in ("build-failed", "image-unavailable", "build-killed"):
        return False
    found = look(session, name)
    if dead := _silent(session, found):
        use_another(session, engine, found, dead, request)
        return True
    if builder_facts.lost("\n".join((*problem.causes, problem.details))):
        session.report.warn(f"lost the connection to the builder {name}; retrying the build")
        return True
    return False


def look(session: Session, name: str) -> Builder:
    """Return a builder and the state of its nodes. Raises `Problem` builder-missing."""
    result = run.capture(session.world, buildx.builder_details(session.root, name), timeout=PATIENCE)
    found = builder_facts.read_inspect(result.stdout)
    if found.name:
        return found
    if result.code == 124:
        return _hung(session, name)
    raise Problem(
        "builder-missing",
        f"The builder {name!r} does not exist.",
        causes=[line for line in result.stderr.strip().splitlines()[-1:] if line],
        hint="run `invoke builder` to list the builders; create the missing builder, or unset builders.name",
    )


def _hung(session: Session, name: str) -> Builder:
    """Describe a builder that did not respond in time. If it has several nodes, query each one in parallel.

    buildx reports nothing until its own timeout, so the nodes are read from its file.
    """
    try:
        kept = readfile.state(session.world.buildx_config / "instances" / name)
        nodes = [(str(item["Name"]), str(item["Endpoint"])) for item in kept["Nodes"]]
        driver = str(kept["Driver"])
    except (KeyError, TypeError):
        nodes, driver = [(name, "")], "remote"
    silent = tuple(Node(node, endpoint, "inactive", error="no response") for node, endpoint in nodes)
    if len(nodes) < 2:
        return Builder(name, driver, silent)

    def ask(node: Node) -> Node:
        details = buildx.builder_details(session.root, builder_facts.child(name, node.name))
        found = builder_facts.read_inspect(run.capture(session.world, details, timeout=PATIENCE).stdout)
        return found.nodes[0] if found.nodes else node

    with ThreadPoolExecutor(len(silent)) as pool:
        return Builder(name, driver, tuple(pool.map(ask, silent)))


def there(session: Session, name: str) -> bool:
    """Return whether buildx has a builder with this name. Does not query its nodes."""
    return (session.world.buildx_config / "instances" / name).is_file()


def for_platforms(session: Session, platforms: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Map each builder to its platforms in the builders.platforms setting; "" maps to platforms without a builder.

    Raises `Problem` settings-invalid.
    """
    wanted: dict[str, str] = {}
    for word in session.settings.builders.platforms:
        platform, equals, name = word.partition("=")
        if not equals or not name or not platform:
            raise Problem(
                "settings-invalid",
                f"The entry {word!r} in builders.platforms has no builder name.",
                hint='set platforms = ["arm64=NAME"] under [tool.buildkit-tasks.builders]; see `invoke builder`',
            )
        wanted[platform if "/" in platform else f"linux/{platform}"] = name
    found: dict[str, tuple[str, ...]] = {}
    for platform in platforms:
        name = wanted.get(platform, "")
        found[name] = (*found.get(name, ()), platform)
    return found


def _silent(session: Session, found: Builder) -> list[Node]:
    """Return the nodes that do not respond. Raises `Problem` builder-refused if one is up but denies access.

    This includes nodes that the build does not need: buildx fails every build on a builder with a dead node.
    """
    dead = [node for node in found.nodes if not node.running]
    for node in dead:
        demand_entry(session, found, node)
    return dead


def demand_entry(session: Session, found: Builder, node: Node) -> str:
    """Return why a node does not respond, in BuildKit's words. Raises `Problem` builder-refused if it denies access.

    `docker buildx inspect` reports a node as inactive both if it is down and if it denies access, and a build waits 20
    s in either case, but listing the node's cache fails immediately.
    """
    if node.error and not builder_facts.refused(node.error):
        return node.error
    single = builder_facts.child(found.name, node.name)
    name = single if there(session, single) else found.name
    said = ""
    for _ in range(ASKED):
        asked = run.capture(session.world, buildx.cache_records(session.root, name), timeout=PATIENCE)
        said = asked.stderr.strip() or node.error
        if not _HUNG_UP.search(said):
            break
        # the node is up, but closed the connection before buildx could read its reason
        from . import handshake as builder_handshake

        if own := builder_handshake.reason(session.world.buildx_config / "instances" / name, node.name, PATIENCE):
            said = own
            break
    why = (re.findall(r'desc = "?(.*?)"?$', said, re.MULTILINE) or said.splitlines()[-1:] or [""])[-1]
    if builder_facts.refused(why):
        raise Problem(
            "builder-refused",
            f"The node {node.name} ({node.endpoint}) denied access.",
            causes=[why, "each side's certificate must be signed by a CA that the other side trusts"],
            hint="run `invoke builder.create NAME --certificates DIR` with a client certificate from the node's CA "
            "(to replace an existing builder, run `invoke builder.remove NAME` first)",
        )
    return why


def listed(session: Session) -> tuple[Builder, ...]:
    """Return all builders. A hung node delays this by buildx's own timeout, 20 s. Raises `Problem` command-failed."""
    listed = run.check(session.world, buildx.builder_list(session.root))
    try:
        return builder_facts.read_list(listed.stdout)
    except ValueError as error:
        raise shapes.invalid(listed, error) from None


def node_builder(session: Session, found: Builder, node: Node) -> str:
    """Return the builder to use for one node: its own builder, if it exists and the builder has multiple nodes."""
    single = builder_facts.child(found.name, node.name)
    return single if len(found.nodes) > 1 and there(session, single) else found.name
