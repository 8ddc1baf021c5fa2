"""Runs cargo for a task, in the project's toolchain image or on the host."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import docker, docker_run, run
from buildkit_tasks.core.docker_run import Mount
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command, Service
from buildkit_tasks.dockerfiles import syntax
from buildkit_tasks.dockerfiles.ignore import Ignore
from buildkit_tasks.project import sources
from buildkit_tasks.project.discover import Project, discover, read_workspace

from . import commands, container, toolchain, view
from .commands import Work
from .container import Around, Site

#: docker's exit code if it fails before any program has run.
CONTAINER_FAILED = 125

#: cargo's exit code for its own errors: in compilation, manifests or Cargo.lock.
CARGO_FAILED = 101


@dataclass(frozen=True)
class Options:
    """The options common to all tasks.

    `task`: the task's name. `service`: whose Dockerfile and workspace to use (default: the first compiled service).
    `host`: run the host's cargo. `install`: install the tool if it is missing.
    `in_place`: always run on the tree itself. `env`: NAME or NAME=value.
    `out`: the directory or file to which the result is copied.
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
        session.report.warn(f"{', '.join(made)}: missing in the container, because other stages generate it")
    if options.in_place:
        work = replace(work, in_place=True)
    given = toolchain.environment(sources.known(service), service.args)
    given |= _given(session, (*session.settings.cargo.env, *options.env))
    image = toolchain.ensure(session, project, service)
    if options.install and work.tool:
        image = _installed(session, project, service, image, work.tool, options)
    site = _site(session, project, service, image)
    with tempfile.TemporaryDirectory(prefix="buildkit-tasks-") as scratch:
        task = Path(scratch)
        around = Around(
            name=f"buildkit-tasks-cargo-{secrets.token_hex(6)}",
            task=task,
            sources=() if work.in_place else _sources(session, site, service),
            out=options.out,
            given=given,
            network=options.network,
        )
        around = _with_terminal(session, around, work, options)
        code, reason = _run(session, site, around, work)
        if reason == "not started":
            image = toolchain.ensure(session, project, service, again=True)
            site = replace(site, image=image.image, cargo_home=image.cargo_home)
            code, reason = _run(session, site, around, work)
        if reason == "owner":
            run.check(session.world, docker_run.run_container(session.root, container.prepare(site, around.name)))
            code, reason = _run(session, site, around, work)
        if reason:
            raise _refused(reason, site, work, options)
    if code == CARGO_FAILED and work.locked and _lock_is_old(site) and _fits_not(session, site):
        raise Problem(
            "cargo-lock-outdated",
            "Cargo.lock does not match the manifests, and cargo tasks do not update it.",
            hint=f"run `invoke cargo.update --lock`, which changes only what it must, then `invoke {options.task}`",
        )
    return code


def _site(session: Session, project: Project, service: Service, image: toolchain.Toolchain) -> Site:
    settings = session.settings
    engine = project.engine
    incremental = settings.build.incremental == "on" or (settings.build.incremental == "auto" and not session.world.ci)
    values = {**syntax.defaults(sources.known(service).text), **service.args}
    source = os.path.normpath(values.get("SOURCE") or ".")
    return Site(
        scope=project.workspace.scope,
        context=service.context,
        source="" if source == "." else source,
        image=image.image,
        cargo_home=image.cargo_home,
        user="" if engine.rootless or os.getuid() == 0 else f"{os.getuid()}:{os.getgid()}",
        secrets=container.secrets(settings.build.ca_bundle, settings.build.cargo_config, image.cargo_home),
        incremental=incremental,
        strict_toolchain=settings.build.toolchain == "error",
    )


def _sources(session: Session, site: Site, service: Service) -> tuple[Mount, ...]:
    """The mounts for the sources. Raises `Problem` context-unreadable."""
    nothing = session.state / "nothing"
    (nothing / "directory").mkdir(parents=True, exist_ok=True)
    (nothing / "file").touch()
    asked = docker.git(site.context, "ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory")
    try:
        listed = run.capture(session.world, asked)
        by_git = {name.rstrip("/") for name in listed.stdout.split("\0")} if listed.code == 0 else None
    except Problem:  # git is not installed
        by_git = None
    try:
        ignore = Ignore.of(site.context, None if service.inline else service.dockerfile)
        found = view.shown(site.context, ignore, site.source, by_git)
    except (OSError, ValueError) as error:
        raise Problem(
            "context-unreadable",
            f"The build context of {service.name} cannot be read: {error}.",
            hint="fix the file or directory, then rerun the task",
        ) from error
    return view.mounts(site.context, found, nothing)


def _with_terminal(session: Session, around: Around, work: Work, options: Options) -> Around:
    out = session.world.prints_to_terminal
    reads = sys.stdin is not None and sys.stdin.isatty()
    tty = out and session.world.tty and session.world.env.get("TERM") != "dumb"
    quiet = {**container.quiet_variables(session.world, tty=tty), **options.quiet}
    quiet = {name: value for name, value in quiet.items() if name not in around.given}
    # a terminal for the container's output is also one for its input
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
            hint=f"fix the error above, or run `invoke {options.task} --in-place` to use the tree itself",
        )
    if reason == "compile":
        return Problem(
            "cargo-no-toolchain",
            "The toolchain stage of the Dockerfile does not provide /compile.",
            causes=["it is older than these tasks, or was not written by `init`"],
            hint="run `buildkit-tasks init --upgrade`, or rerun the task with --in-place",
        )
    return Problem(
        "cargo-not-started",
        f"Docker could not start a container from {site.image}.",
        causes=[
            "see docker's output above",
            "an engine on another machine cannot see the files on this one" if reason == "not started" else reason,
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
    """The image to run, after installing the tool in it or in the volume, if the user agrees."""
    if tool.component:
        if image.components or not session.report.consent("add clippy and rustfmt to the toolchain image"):
            return image
        return toolchain.ensure(session, project, service, add=True)
    what = f"run `cargo install --locked {tool.crate}`, which compiles it from crates.io into a volume of this project"
    if session.report.consent(what):
        code = cargo(session, commands.install(tool), replace(options, install=False, out=None), project)
        if code != 0:
            raise Problem(
                "cargo-tool-missing",
                f"Cannot install {tool.crate}.",
                hint="fix the error above, or install it in the toolchain stage of the Dockerfile",
            )
    return image


def _given(session: Session, words: Sequence[str]) -> dict[str, str]:
    """The variables from `--env`. Raises `Problem` bad-argument."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not container.NAME.fullmatch(name) or name.startswith("BT_"):
            raise Problem("bad-argument", f"--env {name!r} is not a valid variable name.", hint="use --env NAME=value")
        if equals or name in session.world.env:
            found[name] = value if equals else session.world.env[name]
    return found


def _lock_is_old(site: Site) -> bool:
    """Whether Cargo.lock may be outdated: missing, or older than a manifest. Only decides whether to ask cargo."""
    root = site.context / site.source
    try:
        made = (root / "Cargo.lock").stat().st_mtime
    except OSError:
        return True
    for place, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in ("target", "node_modules", ".git")]
        if "Cargo.toml" in names and Path(place, "Cargo.toml").stat().st_mtime > made:
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
    env = tuple({**_given(session, options.env), **options.quiet}.items())
    return run.foreground(session.world, Command(("cargo", *work.argv), host_directory(session), env))


def host_directory(session: Session) -> Path:
    """The workspace's directory, for cargo on the host. Does not query the engine."""
    space = read_workspace(session, looking=True)
    for service in space.services:
        if not service.remote and sources.compiles(service):
            values = {**syntax.defaults(sources.known(service).text), **service.args}
            return Path(os.path.normpath(service.context / (values.get("SOURCE") or ".")))
    return session.root
