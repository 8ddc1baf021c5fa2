"""Start a real engine with our own tasks if none is running. Tests are never skipped: a missing engine is a failure."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Set
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from buildkit_tasks.caches.look import records
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Engine
from buildkit_tasks.core.report import Report
from buildkit_tasks.core.world import World
from buildkit_tasks.dockercli import buildx
from buildkit_tasks.engine import ensure as engines
from buildkit_tasks.images import bases as image_bases
from buildkit_tasks.images import names as recipes
from buildkit_tasks.images import offline as image_offline
from buildkit_tasks.project.discover import discover
from tests.support import beside, process

REPOSITORY = Path(__file__).parents[2]

#: Locked by every session that uses this user's engine.
LOCK = Path.home() / ".cache/buildkit-tasks-tests/engine.lock"

#: How many build cache records an engine may keep after the tests.
MANY_RECORDS = int(os.environ.get("BT_MANY_RECORDS", "2000"))

#: Time limit for deleting them, in seconds: after the whole never-stale matrix, it would take half an hour.
TIDYING = 15.0

#: How many records one call deletes. Small, so that cleaning up ends soon after its time limit.
A_FEW = 40

#: Files whose tests share nothing with other files and delete nothing from the engine, so they run in parallel. On
#: Docker 26 with containerd's image store, deleting any record makes BuildKit forget results of all other builds.
BESIDE = (
    *("test_adopt.py", "test_adopt_remedies.py", "test_audit.py", "test_company_ca.py", "test_compose.py"),
    *("test_compose_env_files.py", "test_compose_files.py", "test_compose_generated.py", "test_compose_print.py"),
    *("test_compose_shapes.py", "test_database.py", "test_dotenv_oracle.py", "test_fresh_checkout.py"),
    *(
        "test_image_references.py",
        "test_images.py",
        "test_legacy_plain.py",
        "test_old_engine.py",
        "test_toolchain_image.py",
    ),
    "test_travel_unpack.py",
)

#: Base images of the Dockerfiles and the stack: building them together is faster than one at a time.
BASES = ("rust:1-bookworm", "debian:bookworm-slim", "postgres:15-bookworm", "rabbitmq:3")


class Groups(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Three groups of tests, one for each process of `nox -s engine`. Each group keeps the order of the files."""

    def _split_scope(self, nodeid: str) -> str:
        path = PurePosixPath(nodeid.partition("::")[0])
        if path.parent.name == "staleness":
            return "staleness"
        return "beside" if path.name in BESIDE else "engine"


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Groups:
    return Groups(config, log)


@pytest.fixture(scope="session")
def session() -> Session:
    """Return a session of this repository that answers yes to all questions: these tests need an engine."""
    world = World.real()
    # a clean checkout has no .env, and compose needs these values to read its file; nothing is started with them
    env = {"POSTGRES_PASSWORD": "unused", "RABBITMQ_PASSWORD": "unused", **world.env}
    world = replace(world, cwd=REPOSITORY, env=env)
    return Session(world, Report(world, yes=True))


@pytest.fixture(scope="session", autouse=True)
def engine(session: Session) -> Iterator[Engine]:
    """Return a running engine of the full tier. The tests' mounts are deleted at the end; the sample's are kept."""
    try:
        with beside.one_at_a_time(LOCK):
            found = engines.ensure(session)
    except Problem as problem:
        pytest.fail(problem.text(), pytrace=False)
    with beside.others(LOCK) as alone:
        before = {record.id for record in records(session, found)}
        yield found
        if alone():
            _tidy(session, found, before)


def _tidy(session: Session, engine: Engine, before: Set[str]) -> None:
    """Delete the records created since then: the daemon reads all of them at startup, and 26.1.5 allows ten seconds.

    Deleting is slow (at least 20 ms each), so layers are kept until there are many, and anything that takes too long is
    left for the next run.
    """
    until = time.monotonic() + TIDYING
    made = [r for r in records(session, engine) if r.id not in before and r.reclaimable]
    ours = discover(session).workspace.scope
    going = [m for m in made if m.is_mount and not m.mount_id.startswith(f"{ours}-")]
    if len(before) + len(made) > MANY_RECORDS:
        going += [r for r in made if not r.is_mount]
    for at in range(0, len(going), A_FEW):
        if time.monotonic() > until:
            return
        ids = [record.id for record in going[at : at + A_FEW]]
        run.capture(session.world, buildx.remove_cache_record(REPOSITORY, *ids))


@pytest.fixture(scope="session")
def base_images(session: Session, engine: Engine) -> Mapping[str, str]:
    """Return the images that Rust builds use: public name to replacement; `{}` if a registry is reachable.

    Images from an older recipe are replaced before any test. Later, this would invalidate other tests' caches.
    """
    try:
        with beside.one_at_a_time(LOCK):
            found = image_bases.ensure(session, engine, BASES, check=True)
            if found:
                image_offline.renew(session, engine, image_bases.recipes(sorted(found.values())))
            return found
    except Problem as problem:
        pytest.fail(problem.text(), pytrace=False)


@pytest.fixture(scope="session")
def buildkit_image(base_images: Mapping[str, str]) -> str:
    """Return the name of BuildKit's image. The real task builds it if necessary, which takes over a minute."""
    only = ("--only", "debian", "--only", "buildkit")
    process.ok([process.BIN / "invoke", "images.build", *only, "--yes"], REPOSITORY, timeout=1800)
    recipe = recipes.named("buildkit")
    assert recipe is not None
    return recipe.image
