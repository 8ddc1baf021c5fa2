"""Log in to a job's registries with a temporary docker configuration."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import readfile, run, shapes
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.dockercli import docker
from buildkit_tasks.registry import names

from .context import HOST, PASSWORD, USER, Context, credentials


@contextlib.contextmanager
def logged_in(session: Session, context: Context, places: Sequence[str]) -> Iterator[tuple[tuple[str, str], ...]]:
    """Yield environment variables for programs that need to be logged in to the registries of these repositories.

    Does nothing without credentials in the environment or for pull requests from forks. Contexts, plugins and
    builders still come from the user's configuration. Problems: registry-denied, settings-invalid.
    """
    hosts = dict.fromkeys(names.reference(place).host for place in places if place)
    env = session.world.env
    if len(hosts) > 1 and env.get(PASSWORD) and not env.get(HOST) and context.trusted:
        raise Problem(
            "settings-invalid",
            f"It is unclear which registry {USER} and {PASSWORD} belong to: {' or '.join(hosts)}.",
            hint=f"set {HOST} to one of these hosts",
        )
    given = {host: credentials(env, host) for host in hosts}
    known = {host: pair for host, pair in given.items() if pair and context.trusted}
    if not known:
        yield ()
        return
    own = session.world.docker_config
    with tempfile.TemporaryDirectory(prefix="buildkit-tasks-login-") as folder:
        place = Path(folder)
        for entry in own.iterdir() if own.is_dir() else ():
            if entry.name != "config.json":
                (place / entry.name).symlink_to(entry)
        (place / "config.json").write_text(_configuration(own / "config.json", known))
        more = (("DOCKER_CONFIG", folder), ("BUILDX_CONFIG", str(session.world.buildx_config)))
        within = session.within({**session.world.env, **dict(more)})
        for host, pair in known.items():
            done = run.capture(within.world, docker.login(session.world.cwd, host, *pair))
            if done.code != 0:
                raise Problem(
                    "registry-denied",
                    f"The registry {host} rejected the login for {names.printable(pair[0])}.",
                    details=done.stderr.strip().replace(pair[1], "***"),
                    hint="check the job's user and token",
                )
            session.report.say(f"logged in to {host}")
        yield more


def _configuration(own: Path, hosts: Iterable[str]) -> str:
    """Return the user's docker configuration, but store the passwords for these hosts in the file, not a keychain."""
    found: object = {}
    with contextlib.suppress(OSError, ValueError):
        found = shapes.loads(readfile.content(own), dict)
    settings = found if isinstance(found, dict) else {}
    helpers = settings.get("credHelpers")
    helpers = helpers if isinstance(helpers, dict) else {}
    called = (names.HUB_LOGIN if host in names.HUB_NAMES else host for host in hosts)
    return json.dumps({**settings, "credHelpers": {**helpers, **dict.fromkeys(called, "")}})
