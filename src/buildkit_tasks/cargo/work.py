"""Runs cargo for a task, in the project's toolchain image or on the host."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command, Service
from buildkit_tasks.dockercli import docker, docker_run
from buildkit_tasks.dockerfiles import syntax
from buildkit_tasks.project import sources
from buildkit_tasks.project.discover import Project, discover, read_workspace

from . import commands, container, place, toolchain
from .commands import Work
from .container import Around, Site

#: docker's exit code if it fails before any program has run.
CONTAINER_FAILED = 125

#: cargo's exit code for errors in compilation, manifests or Cargo.lock.
CARGO_FAILED = 101


@dataclass(frozen=True)
class Options:
    """The options common to all tasks.

    `task`: the task's name. `service`: use its Dockerfile and workspace (default: the first compiled service).
    `host`: run the host's cargo. `install`: install the tool if it is missing.
    `in_place`: always run on the tree itself. `env`: NAME or NAME=value.
    `out`: the directory or file to copy the result to.
    """

    task: str
    service: str = ""
    host: bool = False
    install: bool = False
    in_place: bool = False
    env: tuple[str, ...] = ()
    out: Path | None = None
    quiet: Mapping[str, str] = field(default_factory=dict, repr=False)
    network: str = ""


def cargo(session: Session, work: Work, options: Options, project: Project | None = None) -> int:
    """Run cargo to completion and return its exit code. Ctrl-C stops the container.

    Problems: those of discovery and builds, cargo-no-toolchain, cargo-tool-missing, cargo-sync-failed,
    cargo-not-started.
    """
    if options.host:
        return _on_host(session, work, options)
    project = project or discover(session)
    service = toolchain.service_of(project, options.service)
    if made := sources.generated(service):
        session.report.warn(f"the container lacks the files that other stages generate: {', '.join(made)}")
    elif sources.prepared(service):
        session.report.warn("the container lacks the files that the Dockerfile generates before it runs cargo")
    if options.in_place:
        work = replace(work, in_place=True)
    given = place.variables(session, service, options.env)
    image = toolchain.ensure(session, project, service)
    site = place.site_of(session, project, service, image)
    with tempfile.TemporaryDirectory(prefix="buildkit-tasks-") as scratch:
        task = Path(scratch)
        around = Around(
            name=f"buildkit-tasks-cargo-{secrets.token_hex(6)}",
            task=task,
            sources=() if work.in_place else place.mounted(session, site, service),
            out=options.out,
            given=given,
            network=options.network,
            shared=bool(session.settings.packs.repository) and session.settings.packs.pull != "never",
        )
        around = _with_terminal(session, around, work, options)
        code, reason = _run(session, site, around, work)
        tried: set[str] = set()
        while reason and reason not in tried:
            tried.add(reason)
            if reason == "not started":
                site = place.site_of(session, project, service, toolchain.ensure(session, project, service, again=True))
            elif reason == "owner":
                run.check(session.world, docker_run.run_container(session.root, container.prepare(site, around.name)))
            elif reason == "empty":
                from . import shared  # imported late: it needs the registry client

                shared.fill(session, project, service, site)
            elif reason == "tool" and options.install and work.tool:
                image = _installed(session, project, service, image, work.tool, options)
                site = place.site_of(session, project, service, image)
            else:
                break
            code, reason = _run(session, site, around, work)
        if reason:
            raise _refused(reason, site, work, options)
    if code == CARGO_FAILED and work.locked and _lock_is_old(site) and _fits_not(session, site):
        raise Problem(
            "cargo-lock-outdated",
            "Cargo.lock does not match the manifests, and cargo tasks do not update it.",
            hint=f"run `invoke cargo.update --lock`, which changes only what is needed, then `invoke {options.task}`",
        )
    return code


def _with_terminal(session: Session, around: Around, work: Work, options: Options) -> Around:
    out = session.world.prints_to_terminal
    reads = sys.stdin is not None and sys.stdin.isatty()
    tty = out and session.world.tty and session.world.env.get("TERM") != "dumb"
    quiet = {**container.quiet_variables(session.world, tty=tty), **options.quiet}
    quiet = {name: value for name, value in quiet.items() if name not in around.given}
    # if the container's output is a terminal, so is its input
    return replace(around, tty=tty, stdin=(tty and reads) or (work.runs_on and sys.stdin is not None), quiet=quiet)


def _run(session: Session, site: Site, around: Around, work: Work) -> tuple[int, str]:
    """Run the container once. Returns the exit code, and why cargo did not run (empty if it did)."""
    for name in ("started", "reason"):
        (around.task / name).unlink(missing_ok=True)
    (around.task / "nextest.toml").write_text(commands.JUNIT_CONFIG, "utf-8")
    command = docker_run.run_container(session.root, container.make(site, around, work, _script()))
    with _removed_if_interrupted(session, around.name):
        code = run.foreground(session.world, command)
    if not (around.task / "started").exists():
        return code, "not started"
    reason = around.task / "reason"
    return code, reason.read_text("utf-8") if reason.exists() else ""


@contextmanager
def _removed_if_interrupted(session: Session, name: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        run.capture(session.world, docker.remove_container(session.root, name))
        raise


def _refused(reason: str, site: Site, work: Work, options: Options) -> Problem:
    if reason == "tool" and work.tool:
        return commands.missing(work.tool, options.task, site.image)
    if reason == "sync":
        return Problem(
            "cargo-sync-failed",
            "The sources could not be copied to the container's volume.",
            hint=f"fix the error above, or run `invoke {options.task} --in-place` to run in the source directory",
        )
    if reason == "compile":
        return Problem(
            "cargo-no-toolchain",
            "The toolchain stage of the Dockerfile does not provide /compile.",
            causes=["the Dockerfile is from an older version of buildkit-tasks, or was not written by `init`"],
            hint="run `buildkit-tasks init --upgrade`, or rerun the task with --in-place",
        )
    return Problem(
        "cargo-not-started",
        f"Docker could not start a container from {site.image}.",
        causes=[
            "see docker's output above",
            "an engine on another machine cannot see the files on this machine" if reason == "not started" else reason,
        ],
        hint="run `invoke doctor`, or rerun the task with --host",
    )


def _installed(
    session: Session,
    project: Project,
    service: Service,
    image: toolchain.Toolchain,
    tool: commands.Tool,
    options: Options,
) -> toolchain.Toolchain:
    """Install the tool in the image or the volume, if the user agrees; return the image to run."""
    if tool.component:
        if image.components or not session.report.consent("add clippy and rustfmt to the toolchain image"):
            return image
        return toolchain.ensure(session, project, service, add=True)
    what = f"run `cargo install --locked {tool.crate}`, which compiles the tool from crates.io into a project volume"
    if session.report.consent(what):
        code = cargo(session, commands.install(tool), replace(options, install=False, out=None), project)
        if code != 0:
            raise Problem(
                "cargo-tool-missing",
                f"Cannot install {tool.crate}.",
                hint="fix the error above, or install the tool in the toolchain stage of the Dockerfile",
            )
    return image


def _lock_is_old(site: Site) -> bool:
    """Return whether Cargo.lock may be outdated: missing, or older than a manifest. If so, the caller asks cargo."""
    root = site.context / site.source
    try:
        made = (root / "Cargo.lock").stat().st_mtime
    except OSError:
        return True
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in ("target", "node_modules", ".git")]
        if "Cargo.toml" in names and Path(folder, "Cargo.toml").stat().st_mtime > made:
            return True
    return False


def _fits_not(session: Session, site: Site) -> bool:
    """Ask cargo whether Cargo.lock needs an update."""
    work = Work(("metadata", "--locked", "--offline", "--format-version", "1"), in_place=True)
    with tempfile.TemporaryDirectory(prefix="buildkit-tasks-") as scratch:
        name = f"buildkit-tasks-cargo-{secrets.token_hex(6)}"
        made = container.make(site, Around(name, Path(scratch)), work, _script())
        asked = run.capture(session.world, docker_run.run_container(session.root, made))
    return asked.code != 0 and "lock file" in asked.stderr


def _script() -> str:
    return (files("buildkit_tasks") / "data" / "cargo" / "entry.sh").read_text("utf-8")


def _on_host(session: Session, work: Work, options: Options) -> int:
    """Run the host's own cargo in the workspace's directory, with cargo's own target directory."""
    env = tuple({**place.named(session, options.env), **options.quiet}.items())
    return run.foreground(session.world, Command(("cargo", *work.argv), host_directory(session), env))


def host_directory(session: Session) -> Path:
    """Return the workspace's directory, for cargo on the host. Does not query the engine."""
    workspace = read_workspace(session, looking=True)
    for service in workspace.services:
        if not service.remote and sources.compiles(service):
            values = {**syntax.defaults(sources.known(service).text), **service.args}
            return Path(os.path.normpath(service.context / (values.get("SOURCE") or ".")))
    return session.root
