"""Refuses builds for platforms (`--platform`, compose files) that should not be attempted.

`names` checks the names of the platforms before.
"""

from __future__ import annotations

from collections.abc import Sequence

from buildkit_tasks.builders.facts import Builder, assigned
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildRequest, Engine
from buildkit_tasks.dockerfiles import platforms


def check(engine: Engine, tier: str, driver: str, request: BuildRequest, routes: Sequence[platforms.Route]) -> None:
    """Refuse builds that should not be attempted. `driver`: the current builder's driver, queried only if it matters.

    Problems: bad-argument; platform-unsupported if the result cannot be stored anywhere; emulation-refused if cargo
    would run under emulation without an explicit request.
    """
    several = len(request.platforms) > 1
    if request.push and request.oci:
        raise Problem("bad-argument", "--push and --oci cannot be combined.", hint="choose one")
    if (request.platforms or request.push or request.oci) and tier != "full":
        raise Problem(
            "platform-unsupported",
            "This engine can build only for its own platform, and only into its own image store.",
            causes=["--platform, --push and --oci require BuildKit and buildx"],
            hint="run `invoke engine.install`",
        )
    if driver == "docker" and not engine.containerd_store and (several or request.oci):
        what = f"one image for {' and '.join(request.platforms)}" if several else "OCI archives"
        raise Problem(
            "platform-unsupported",
            f"This engine cannot build {what}.",
            causes=["multi-platform images and OCI archives require the containerd image store, which is not enabled"],
            hint='set {"features": {"containerd-snapshotter": true}} in daemon.json, build one platform at a time, '
            "or create a builder with another driver (docker buildx create --use) and pass --push",
        )
    if driver != "docker" and several and not (request.push or request.oci):
        raise Problem(
            "platform-unsupported",
            f"The builder in use ({driver}) cannot load a multi-platform image into the engine.",
            hint="pass --push HOST/PATH, --oci DIRECTORY or --builder default, or build one platform at a time",
        )
    slow = [r for r in routes if r.how == "emulated"]
    if slow and not request.allow_emulation:
        raise Problem(
            "emulation-refused",
            f"cargo would run under emulation for {slow[0].platform}.",
            causes=[slow[0].why, f"emulation takes {platforms.EMULATION_PRICE}"],
            hint="use FROM --platform=$BUILDPLATFORM (docs/how-to/platforms.md), or pass --allow-emulation",
        )


def check_nodes(builder: Builder, request: BuildRequest) -> None:
    """Refuse an OCI archive of images from several nodes. Raises `Problem` platform-unsupported."""
    nodes = {node.name: platform for platform, node in assigned(builder, request.platforms).items()}
    if request.oci and len(nodes) > 1:
        raise Problem(
            "platform-unsupported",
            f"buildx can join images from multiple nodes ({', '.join(nodes)}) only in a registry.",
            hint="use --push HOST/PATH, or build one platform at a time",
        )
