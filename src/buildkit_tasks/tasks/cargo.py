"""Tasks that run cargo in the project's toolchain image. Words after `--` are passed to cargo unchanged.

This file is longer than the other task files because it has fourteen signatures, each with one call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from invoke.exceptions import Exit

from buildkit_tasks.config.session import Session

from .edge import reported, task

if TYPE_CHECKING:
    from buildkit_tasks.cargo.commands import Request
    from buildkit_tasks.cargo.work import Options

CRATE = "workspace crate, for example api; repeatable (default: cargo's default)"
HOST = "run the host's own cargo instead of the toolchain image's"
ENV = "variable for the container, for example SQLX_OFFLINE=true, or NAME to pass the host's value; repeatable"
RELEASE = "compile with the release profile"
INSTALL = "install the tool, after asking, if the image does not have it"
IN_PLACE = "use the source tree itself instead of a synced copy, for tests that write to it"
YES = "answer yes to the --install prompt"
BASE = {"host": HOST, "env": ENV, "in_place": IN_PLACE}


def _ended(code: int) -> None:
    """Exit with cargo's own exit code."""
    if code:
        raise Exit(code=code)


def _options(
    name: str, *, host: bool = False, env: Sequence[str] | None = None, install: bool = False, in_place: bool = False
) -> Options:
    from buildkit_tasks.cargo import work

    return work.Options(f"cargo.{name}", host=host, env=tuple(env or ()), install=install, in_place=in_place)


def _request(session: Session, crate: Sequence[str] | None = None, *, release: bool = False) -> Request:
    from buildkit_tasks.cargo import commands, flow

    return commands.Request(flow.split(crate or ()), release, session.extra)


@task(
    name="test",
    iterable=["crate", "env"],
    help={
        "crate": CRATE,
        "integration": "start copies of the prebuilt services in the compose file for the tests, and also "
        "run ignored tests",
        "junit": "write a JUnit report to this file, for example out/junit.xml (needs cargo-nextest)",
        "release": RELEASE,
        "install": INSTALL,
        "yes": YES,
        **BASE,
    },
)
@reported
def run_tests(
    session: Session,
    crate: Sequence[str] | None = None,
    integration: bool = False,
    junit: str = "",
    release: bool = False,
    in_place: bool = False,
    install: bool = False,
    yes: bool = False,
    env: Sequence[str] | None = None,
    host: bool = False,
) -> None:
    """Run the tests, never on stale code: `cargo.test -- NAME`, `cargo.test -- -- --nocapture`."""
    from buildkit_tasks.cargo import flow

    options = _options("test", host=host, env=env, install=install, in_place=in_place)
    request = _request(session, crate, release=release)
    _ended(flow.run_tests(session, request, options, integration=integration, junit=junit))


@task(iterable=["crate", "env"], help={"crate": CRATE, "release": RELEASE, **BASE})
@reported
def check(
    session: Session,
    crate: Sequence[str] | None = None,
    release: bool = False,
    in_place: bool = False,
    env: Sequence[str] | None = None,
    host: bool = False,
) -> None:
    """Check that everything compiles, including tests and benches, without building executables."""
    from buildkit_tasks.cargo import commands, work

    request = _request(session, crate, release=release)
    _ended(work.cargo(session, commands.check(request), _options("check", host=host, env=env, in_place=in_place)))


@task(
    iterable=["crate", "env"],
    help={
        "crate": CRATE,
        "fix": "apply clippy's suggestions to the source tree",
        "install": INSTALL,
        "yes": YES,
        **BASE,
    },
)
@reported
def clippy(
    session: Session,
    crate: Sequence[str] | None = None,
    fix: bool = False,
    install: bool = False,
    yes: bool = False,
    in_place: bool = False,
    env: Sequence[str] | None = None,
    host: bool = False,
) -> None:
    """Lint the Rust code; warnings are errors. (The task `lint` checks Dockerfiles.)"""
    from buildkit_tasks.cargo import commands, work

    options = _options("clippy", host=host, env=env, in_place=in_place, install=install)
    _ended(work.cargo(session, commands.clippy(_request(session, crate), fix=fix), options))


@task(
    iterable=["crate"],
    help={
        "crate": CRATE,
        "check": "only check; fail if a file is not formatted",
        "install": INSTALL,
        "yes": YES,
        "host": HOST,
    },
)
@reported
def fmt(
    session: Session,
    crate: Sequence[str] | None = None,
    check: bool = False,
    install: bool = False,
    yes: bool = False,
    host: bool = False,
) -> None:
    """Format the workspace's Rust code."""
    from buildkit_tasks.cargo import commands, work

    options = _options("fmt", host=host, install=install)
    _ended(work.cargo(session, commands.fmt(_request(session, crate), check_only=check), options))


@task(
    iterable=["crate", "env"],
    help={
        "crate": CRATE,
        "dependencies": "also document the dependencies",
        "to": "directory for the `doc` folder, for example public (default: a directory outside the "
        "source tree, whose path is printed)",
        **BASE,
    },
)
@reported
def doc(
    session: Session,
    crate: Sequence[str] | None = None,
    dependencies: bool = False,
    to: str = "",
    in_place: bool = False,
    env: Sequence[str] | None = None,
    host: bool = False,
) -> None:
    """Build the crates' documentation."""
    from buildkit_tasks.cargo import flow

    options = _options("doc", host=host, env=env, in_place=in_place)
    _ended(flow.doc(session, _request(session, crate), options, dependencies=dependencies, to=to))


@task(iterable=["crate", "env"], help={"crate": CRATE, **BASE})
@reported
def bench(
    session: Session,
    crate: Sequence[str] | None = None,
    in_place: bool = False,
    env: Sequence[str] | None = None,
    host: bool = False,
) -> None:
    """Run the crates' benchmarks. (The task `bench` measures image builds.)"""
    from buildkit_tasks.cargo import commands, work

    _ended(
        work.cargo(
            session, commands.bench(_request(session, crate)), _options("bench", host=host, env=env, in_place=in_place)
        )
    )


@task(iterable=["crate"], help={"crate": CRATE, "host": HOST})
@reported
def tree(session: Session, crate: Sequence[str] | None = None, host: bool = False) -> None:
    """Print the dependency tree: `cargo.tree -- --duplicates`."""
    from buildkit_tasks.cargo import commands, work

    _ended(work.cargo(session, commands.tree(_request(session, crate)), _options("tree", host=host)))


@task(
    iterable=["crate"],
    help={
        "crate": "dependency to update, for example serde; repeatable (default: all)",
        "lock": "only update Cargo.lock to match the manifests",
        "host": HOST,
    },
)
@reported
def update(session: Session, crate: Sequence[str] | None = None, lock: bool = False, host: bool = False) -> None:
    """Update the dependencies in Cargo.lock."""
    from buildkit_tasks.cargo import commands, work

    request = _request(session, crate)
    _ended(
        work.cargo(session, commands.lock(request) if lock else commands.update(request), _options("update", host=host))
    )


_TOOL = {"install": INSTALL, "yes": YES, "host": HOST}


def _tool(session: Session, name: str, *, install: bool, host: bool, in_place: bool = False) -> None:
    from buildkit_tasks.cargo import commands, work

    options = _options(name, host=host, install=install, in_place=in_place)
    _ended(work.cargo(session, commands.tool(name, _request(session)), options))


@task(help=_TOOL)
@reported
def audit(session: Session, install: bool = False, yes: bool = False, host: bool = False) -> None:
    """Check Cargo.lock for known vulnerabilities, with cargo-audit."""
    _tool(session, "audit", install=install, host=host)


@task(help=_TOOL)
@reported
def deny(session: Session, install: bool = False, yes: bool = False, host: bool = False) -> None:
    """Check licenses, bans, advisories and sources of dependencies, with cargo-deny."""
    _tool(session, "deny", install=install, host=host)


@task(help={**_TOOL, "in_place": IN_PLACE})
@reported
def coverage(
    session: Session, install: bool = False, yes: bool = False, in_place: bool = False, host: bool = False
) -> None:
    """Run the tests and print their coverage, with cargo-llvm-cov."""
    _tool(session, "coverage", install=install, host=host, in_place=in_place)


@task(help=_TOOL)
@reported
def licenses(session: Session, install: bool = False, yes: bool = False, host: bool = False) -> None:
    """List the licenses of the dependencies, with cargo-license."""
    _tool(session, "licenses", install=install, host=host)


@task(
    iterable=["crate"],
    help={
        "crate": "remove only this crate's artifacts; repeatable",
        "all": "also remove downloads, installed tools, and test services left behind by a killed run",
        "host": HOST,
    },
)
@reported
def clean(session: Session, crate: Sequence[str] | None = None, all: bool = False, host: bool = False) -> None:
    """Remove everything compiled by the cargo tasks. Image builds and the host's target directory are not affected."""
    from buildkit_tasks.cargo import flow

    _ended(flow.clean(session, _request(session, crate), _options("clean", host=host), everything=all))


@task(
    iterable=["env"],
    help={
        "service": "run this service's program with its environment, on the running stack's network",
        "bin": "run this binary of the workspace",
        "release": RELEASE,
        **BASE,
    },
)
@reported
def run(
    session: Session,
    service: str = "",
    bin: str = "",
    release: bool = False,
    in_place: bool = False,
    env: Sequence[str] | None = None,
    host: bool = False,
) -> None:
    """Compile and run a program: `cargo.run --bin tool -- --flag`; Ctrl-C stops it."""
    from buildkit_tasks.cargo import flow

    request = _request(session, release=release)
    options = _options("run", host=host, env=env, in_place=in_place)
    _ended(flow.run_program(session, request, options, service=service, binary=bin))
