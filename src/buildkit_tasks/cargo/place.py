"""Where cargo runs for a service: the container's fixed settings, the mounts of the sources, the variables."""

from __future__ import annotations

import os
from collections.abc import Sequence

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Service
from buildkit_tasks.dockercli import docker
from buildkit_tasks.dockercli.docker_run import Mount
from buildkit_tasks.dockerfiles import syntax
from buildkit_tasks.dockerfiles.ignore import Ignore
from buildkit_tasks.project import sources
from buildkit_tasks.project.discover import Project

from . import container, toolchain, view
from .container import Site


def site_of(session: Session, project: Project, service: Service, image: toolchain.Toolchain) -> Site:
    """Return where cargo runs for a service, in this toolchain image."""
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


def mounted(session: Session, site: Site, service: Service) -> tuple[Mount, ...]:
    """Return the mounts for the sources. Raises `Problem` context-unreadable."""
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


def variables(session: Session, service: Service, words: Sequence[str]) -> dict[str, str]:
    """Return variables that may change what is compiled: from the Dockerfile, the setting and `--env`.

    Problems: those of `named`.
    """
    found = toolchain.environment(sources.known(service), service.args)
    return found | named(session, (*session.settings.cargo.env, *words))


def named(session: Session, words: Sequence[str]) -> dict[str, str]:
    """Parse variables given as NAME or NAME=value. Raises `Problem` bad-argument."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not container.NAME.fullmatch(name) or name.startswith("BT_"):
            raise Problem("bad-argument", f"--env {name!r} is not a valid variable name.", hint="use --env NAME=value")
        if equals or name in session.world.env:
            found[name] = value if equals else session.world.env[name]
    return found
