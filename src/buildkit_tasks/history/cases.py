"""Kinds of builds: builds of the same kind are expected to take equally long for the same work."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .model import Build


def case_of(build: Build) -> str:
    """Return the kind of a recorded build, as used by the store."""
    inputs = build.inputs
    return case(
        services=[service.name for service in inputs.services],
        platforms=inputs.platforms,
        profile=inputs.profile,
        incremental=inputs.incremental,
        where=(inputs.engine, inputs.builder),
        command=build.command,
    )


def case(
    *,
    services: Iterable[str],
    platforms: Iterable[str],
    profile: str,
    incremental: bool,
    where: tuple[str, str],
    command: str,
) -> str:
    """Return a digest that identifies a kind of build. `where`: the engine's id and the builder."""
    flags = sorted({"--push", "--oci", "--no-cache"} & set(command.split()))
    text = json.dumps([sorted(services), sorted(platforms), profile, incremental, where, flags])
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()
