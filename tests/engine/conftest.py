"""A real engine, brought up by our own flow where none runs. Nothing here skips: no engine is a failure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from buildkit_tasks.errors import Problem
from buildkit_tasks.flows import engine as engines
from buildkit_tasks.flows import images
from buildkit_tasks.flows.session import Session
from buildkit_tasks.model import Engine
from buildkit_tasks.report import Report
from buildkit_tasks.world import World

REPOSITORY = Path(__file__).parents[2]

#: What the Dockerfiles and the stack of the tests start from: made together, which costs less than one by one.
BASES = ("rust:1-bookworm", "debian:bookworm-slim", "postgres:15-bookworm", "rabbitmq:3")


@pytest.fixture(scope="session")
def session() -> Session:
    """A session of this repository that consents: who runs these tests wants an engine."""
    world = World.real()
    # a clean checkout has no .env, and compose wants values to read its file; nothing is started with these
    env = {"POSTGRES_PASSWORD": "unused", "RABBITMQ_PASSWORD": "unused", **world.env}
    world = replace(world, cwd=REPOSITORY, env=env)
    return Session(world, Report(world, yes=True))


@pytest.fixture(scope="session")
def engine(session: Session) -> Engine:
    """A running engine of the full tier."""
    try:
        return engines.ensure(session)
    except Problem as problem:
        pytest.fail(problem.text(), pytrace=False)


@pytest.fixture(scope="session")
def base_images(session: Session, engine: Engine) -> Mapping[str, str]:
    """The images that Rust builds start from: public reference to the one in its place, `{}` with a registry."""
    try:
        return images.ensure(session, engine, BASES, check=True)
    except Problem as problem:
        pytest.fail(problem.text(), pytrace=False)
