"""Builders as buildx reports them: nodes, their platforms, and which node builds which platform. Pure.

A builder is one or more BuildKit daemons (nodes), each with its own cache mounts. buildx builds a platform on the
first node that supports it, or else on the first node: https://docs.docker.com/build/builders/
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from buildkit_tasks.core import shapes
from buildkit_tasks.core.model import BuildRequest, Engine
from buildkit_tasks.dockerfiles import platforms

#: Drivers that `builder.create` supports; the engine's own builder has the driver `docker`.
DRIVERS = ("docker-container", "remote", "kubernetes")

#: The image that buildx's docker-container and kubernetes drivers start by default.
IMAGE = "moby/buildkit:buildx-stable-1"

#: What buildx and BuildKit print when a node denies access.
_REFUSED = re.compile(
    r"tls: |x509: |certificate|server preface|authentication handshake failed|permission denied", re.IGNORECASE
)

#: What buildx and BuildKit print when a node is down or goes down.
_LOST = re.compile(
    r"connection refused|connection reset|no route to host|i/o timeout|code = Unavailable|context deadline exceeded|"
    r"error reading from server|transport is closing|connection error|no such host|broken pipe|closing transport|"
    r"No such container|is not running|failed to find driver|\bEOF\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Node:
    """One BuildKit daemon. `status` is running, inactive or stopped; `error` is buildx's message, if any.

    buildx reports a node as inactive both if it is down and if it denies access; listing its cache shows which is the
    case.

    `platforms`: in the node's order, native platform first. `fixed`: set by the user.
    """

    name: str
    endpoint: str
    status: str
    platforms: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    buildkit: str = ""
    error: str = ""

    @property
    def running(self) -> bool:
        """Whether the node responded."""
        return self.status == "running" and not self.error


@dataclass(frozen=True)
class Builder:
    """A builder and its nodes; `nodes` is empty if buildx could not load them."""

    name: str
    driver: str
    nodes: tuple[Node, ...] = ()
    error: str = ""

    @property
    def own(self) -> bool:
        """Whether this is the engine's own builder, which shares the engine's images."""
        return self.driver == "docker"

    def node_for(self, platform: str) -> Node | None:
        """Return the node on which buildx builds a platform; an empty `platform` means the default."""
        for node in self.nodes:
            if not platform or platform in (*node.fixed, *node.platforms):
                return node
        return self.nodes[0] if self.nodes else None


#: The engine's own builder, used unless another is chosen.
OWN = Builder("", "docker")


def refused(said: str) -> bool:
    """Return whether a message means that the node does not trust us, or that we do not trust it."""
    return bool(_REFUSED.search(said))


def lost(said: str) -> bool:
    """Return whether a message suggests that the node is down or lost. Callers must query the node to be sure."""
    return bool(_LOST.search(said))


def read_inspect(text: str) -> Builder:
    """Parse `docker buildx inspect`: a header, then one paragraph per node."""
    head, _, rest = text.partition("\nNodes:")
    values = _values(head)
    nodes = [_node(_values(part)) for part in re.split(r"\n(?=Name:)", rest) if part.strip()]
    return Builder(values.get("Name", ""), values.get("Driver", ""), tuple(nodes), values.get("Error", ""))


def _values(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon and not line.startswith((" ", "\t")):
            found.setdefault(key.strip(), value.strip())
    return found


def _node(values: dict[str, str]) -> Node:
    platforms = [word.strip() for word in values.get("Platforms", "").split(",") if word.strip()]
    fixed = tuple(word.rstrip("*") for word in platforms if word.endswith("*"))
    return Node(
        name=values.get("Name", ""),
        endpoint=values.get("Endpoint", ""),
        status=values.get("Status", ""),
        platforms=tuple(word for word in platforms if not word.endswith("*")) or fixed,
        fixed=fixed,
        buildkit=values.get("BuildKit version") or values.get("Buildkit", ""),
        error=values.get("Error", ""),
    )


def read_list(text: str) -> tuple[Builder, ...]:
    """Parse `docker buildx ls --format json`: one object per line, each a builder or one of its nodes.

    Raises ValueError.
    """
    found: dict[str, Builder] = {}
    listed = "\n".join(line for line in text.splitlines() if line.startswith("{"))
    shape = {"Name": str, "Driver": str, "Nodes": [dict], "Err": str}
    for entry in shapes.objects(listed, shape, needs=("Name",)):
        nodes = tuple(_listed(item) for item in entry.get("Nodes") or ())
        name, driver, error = entry["Name"], entry.get("Driver", ""), entry.get("Err", "") or ""
        found.setdefault(name, Builder(name, driver, nodes, error))
    return tuple(found.values())


def _listed(item: dict[str, object]) -> Node:
    def words(name: str) -> tuple[str, ...]:
        given = item.get(name)
        return tuple(_platform(one) for one in given) if isinstance(given, list) else ()

    return Node(
        name=str(item.get("Name", "")),
        endpoint=str(item.get("Endpoint", "")),
        status=str(item.get("Status", "") or "inactive"),
        platforms=tuple(word.rstrip("*") for word in words("Platforms")),
        buildkit=str(item.get("Version", "") or ""),
        error=str(item.get("Err", "") or ""),
    )


def _platform(one: object) -> str:
    if isinstance(one, dict):
        return "/".join(str(one[k]) for k in ("os", "architecture", "variant") if one.get(k))
    return str(one)


def assigned(found: Builder, wanted: Sequence[str]) -> dict[str, Node]:
    """Map each platform to the node that will build it."""
    return {platform: node for platform in wanted if (node := found.node_for(platform))}


def without(found: Builder, names: Sequence[str]) -> Builder:
    """Return the builder without some of its nodes."""
    return replace(found, nodes=tuple(node for node in found.nodes if node.name not in names))


def child(builder: str, node: str) -> str:
    """Return the name of the builder that has only this node: buildx has no other way to address a node."""
    return f"{builder}.{node}"


def platforms_for(request: BuildRequest, engine: Engine, builder: Builder) -> tuple[str, ...]:
    """Return the platforms to pass to buildx; empty if the engine's own builder builds for its own platform.

    Another builder needs them, because it would default to its first node's platform.
    """
    return request.platforms or (() if builder.own else (platforms.own(engine),))


def at(engine: Engine, builder: Builder, platform: str = "") -> Engine:
    """Return the engine's facts, but with the OS and architecture of the node that builds the platform."""
    node = builder.node_for(platform)
    if builder.own or not node or not node.platforms:
        return engine
    system, _, arch = node.platforms[0].partition("/")
    return replace(engine, os=system, arch=arch.partition("/")[0])
