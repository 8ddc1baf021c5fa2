"""What tasks do besides running cargo: start services for tests, copy results out, remove volumes."""

from __future__ import annotations

import posixpath
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from buildkit_tasks.caches import cargo_tasks
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import readfile, run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.dockercli import docker
from buildkit_tasks.project import compose
from buildkit_tasks.project.discover import discover

from . import commands
from .commands import Request, Work
from .work import Options, cargo


def run_tests(
    session: Session, request: Request, options: Options, *, integration: bool = False, junit: str = ""
) -> int:
    """Run the tests. With `integration`, include ignored tests and start a copy of the compose file's services.

    `junit`: the path for nextest's report. Problems: those of `cargo` and `services.running`.
    """
    work = commands.run_tests(request, ignored=integration, junit=bool(junit))
    if junit and options.host:
        raise Problem(
            "bad-argument",
            "--junit and --host cannot be combined.",
            hint="run `cargo nextest run` with a profile that writes JUnit",
        )
    if not integration:
        return _with_result(session, work, options, junit) if junit else cargo(session, work, options)
    if options.host:
        raise Problem(
            "bad-argument",
            "--integration and --host cannot be combined, because the services do not publish ports.",
            hint="run `invoke up`, then `invoke cargo.test --host -- -- --include-ignored`",
        )
    from . import services  # imported late: few calls need base images and compose

    project = discover(session)
    with services.running(session, project) as running:
        options = replace(options, quiet={**options.quiet, **running.env}, network=running.network)
        return _with_result(session, work, options, junit) if junit else cargo(session, work, options, project)


def _with_result(session: Session, work: Work, options: Options, file: str) -> int:
    """Run cargo, and copy the file that it creates to the user's path."""
    place = readfile.real(session.world.cwd / file)
    with tempfile.TemporaryDirectory(prefix="buildkit-tasks-") as scratch:
        code = cargo(session, work, replace(options, out=Path(scratch)))
        made = Path(scratch) / posixpath.basename(work.copy)
        if made.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made, place)
            session.report.say(f"  {place}")
    return code


def doc(session: Session, request: Request, options: Options, *, dependencies: bool = False, to: str = "") -> int:
    """Build the documentation into the given directory (default: this checkout's state directory)."""
    work = commands.doc(request, dependencies=dependencies)
    if options.host:
        return cargo(session, work, options)
    place = readfile.real(session.world.cwd / to) if to else session.state
    place.mkdir(parents=True, exist_ok=True)
    code = cargo(session, work, replace(options, out=place))
    if code == 0:
        session.report.say("documentation:")
        session.report.answer(str(place / "doc"))
    return code


def run_program(session: Session, request: Request, options: Options, *, service: str = "", binary: str = "") -> int:
    """Run one of the workspace's programs. For a service, use its environment and, if the stack is up, its network.

    Problems: bad-argument, unknown-service.
    """
    if bool(service) == bool(binary):
        raise Problem(
            "bad-argument", "cargo.run needs either --service or --bin.", hint="pass --service NAME or --bin NAME"
        )
    if binary:
        return cargo(session, commands.run(request, binary), options)
    project = discover(session, named=(service,))
    found = compose.select(project.workspace, (service,))[0]
    work = commands.run(request, found.binary)
    if options.host:
        return cargo(session, work, options, project)
    from . import services

    given = project.workspace.config["services"][found.name].get("environment") or {}
    quiet = {name: str(value) for name, value in given.items() if value is not None}
    network = services.stack_network(session, project)
    return cargo(
        session, work, replace(options, service=found.name, quiet={**quiet, **options.quiet}, network=network), project
    )


def warm(session: Session, *, others: bool = False) -> None:
    """Compile the dependencies of tests and checks, unless packs.repository has a pack for exactly these inputs.

    `others`: whether options for image builds were given. Problems: those of `cargo`, bad-argument, compile-failed if a
    crate does not compile.
    """
    if others:
        raise Problem(
            "bad-argument",
            "--cargo, which compiles for tests and checks, cannot be combined with --profile, --platform or --builder.",
            hint="invoke cache.warm --cargo",
        )
    from . import shared  # imported late: it needs the registry client

    project = discover(session)
    if session.settings.packs.repository and shared.is_stored(session, project):
        session.report.say("nothing to do: the repository already has a pack for this lock file and toolchain")
        return
    for work in (commands.check(Request()), commands.run_tests(Request(extra=("--no-run",)))):
        code = cargo(session, work, Options("cache.warm --cargo"), project)
        if code != 0:
            raise Problem(
                "compile-failed", f"`cargo {work.argv[0]}` failed.", hint="fix the errors above, then rerun the task"
            )


def clean(session: Session, request: Request, options: Options, *, everything: bool = False) -> int:
    """Remove what these tasks compiled: for some packages, or the whole volume.

    `everything`: remove all volumes, and test services left behind by a killed run.
    Never touches the host's own `target` or the cache mounts of builds.
    """
    work = commands.clean(request)
    if options.host:
        return cargo(session, Work(("clean", *request.selected, *request.extra)), options)
    if request.crates or request.extra:
        return cargo(session, work, options)
    project = discover(session, looking=True)
    if everything:
        from . import services

        services.remove_all(session, project)
    workspace = project.workspace
    listed = cargo_tasks.names(session, workspace.scope)
    going = [name for name in listed if everything or name == cargo_tasks.volume(workspace.scope, "target")]
    if not going:
        session.report.say("nothing to clean")
        return 0
    removed = run.capture(session.world, docker.remove_volumes(session.root, going))
    if removed.code != 0:
        raise Problem(
            "command-failed",
            "Another cargo task in this project is using a volume.",
            details=removed.stderr.strip(),
            hint="wait for that task or stop it, then run `invoke cargo.clean`",
        )
    session.report.say(f"removed {', '.join(going)}")
    return 0


def split(names: Sequence[str]) -> tuple[str, ...]:
    """Return the crate names, with comma-separated lists split."""
    from buildkit_tasks.core import lists

    return tuple(lists.names(names, "crate"))
