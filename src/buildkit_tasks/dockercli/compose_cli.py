"""The docker compose commands, and the text that compose reads and prints. Pure: nothing runs here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from buildkit_tasks.core import shapes
from buildkit_tasks.core.model import Command

from .docker import ANSWER, docker

#: The fields that we read of each container in the output of `compose ps`.
CONTAINER: shapes.Shape = {
    **dict.fromkeys(("Service", "Name", "ID", "State", "Health"), str),
    "Publishers": [{"URL": str, "Protocol": str, "TargetPort": int, "PublishedPort": int}],
}

#: The fields that we read of a resolved model: https://github.com/compose-spec/compose-spec/blob/main/spec.md
_NAMED: shapes.Shape = {"*": {"name": str}}
_MODEL: shapes.Shape = {
    "name": str,
    "services": {
        "*": {
            "build": {
                **dict.fromkeys(("context", "dockerfile", "dockerfile_inline", "target", "network"), str),
                **{name: {"*": (str, int, float)} for name in ("args", "labels", "additional_contexts")},
                "platforms": [str],
                "tags": [str],
                "secrets": [(str, dict)],
                "x-bake": dict,
            },
            "image": str,
            "platform": str,
            "environment": {"*": (str, int, float)},
            "ports": [{"target": int, "published": (str, int), "host_ip": str, "protocol": str}],
            "volumes": [{"type": str, "source": str, "target": str}],
            "healthcheck": dict,
            "deploy": dict,
        }
    },
    **dict.fromkeys(("volumes", "networks", "secrets", "configs"), _NAMED),
}


def command(cwd: Path, files: Iterable[Path], *args: str) -> Command:
    """Return a compose command for these files; none = the files that compose finds by default."""
    return docker(cwd, "compose", *[part for f in files for part in ("-f", str(f))], *args)


def elsewhere(given: Command, directory: str) -> Command:
    """Return the same command for copies of the compose files, with paths relative to `directory`."""
    at = given.argv.index("compose") + 1
    return replace(given, argv=(*given.argv[:at], "--project-directory", directory, *given.argv[at:]))


#: Seconds allowed for resolving the model: compose may have to fetch included files.
RESOLVE = 120.0


def question(cwd: Path, files: Iterable[Path], *args: str, patience: float = RESOLVE) -> Command:
    """Return a compose command that only queries."""
    return replace(command(cwd, files, *args), patience=patience)


def config(cwd: Path, files: Iterable[Path], *, profiles: Sequence[str] = (), link: bool = False) -> Command:
    """Print the resolved compose model as JSON. Profile `*` = all; `link`: name the project after the symlink `cwd`."""
    found = question(cwd, files, *(f"--profile={name}" for name in profiles), "config", "--format", "json")
    return replace(found, env=(*found.env, ("PWD", str(cwd)))) if link else found


def config_yaml(cwd: Path, files: Iterable[Path], *, profiles: Sequence[str] = ()) -> Command:
    """Print the resolved compose model as YAML, which, unlike the JSON, includes extensions."""
    return question(cwd, files, *(f"--profile={name}" for name in profiles), "config")


def services(cwd: Path, files: Iterable[Path], *, profiles: Sequence[str] = (), link: bool = False) -> Command:
    """List the names of the active services, one per line. compose does not read their env files for this.

    `profiles` and `link` as for `config`.
    """
    found = question(cwd, files, *(f"--profile={name}" for name in profiles), "config", "--services")
    return replace(found, env=(*found.env, ("PWD", str(cwd)))) if link else found


#: Compose's error for a missing `env_file` when printing its model; its own builds do not need the file.
MISSING_ENV_FILE = re.compile(r"env file (\S.*?) not found: ")


def unset_variables(said: str) -> list[str]:
    """Return the variables that compose reports as not set, in its output or in its log format."""
    return list(dict.fromkeys(re.findall(r'\\?"(\w+)\\?" variable is not set', said)))


def without_env_files(services: Iterable[str]) -> str:
    """Return an override file that removes the `env_file` of these services; compose older than 2.18 rejects it."""
    return "services:\n" + "".join(f"  {json.dumps(name)}: {{env_file: !reset []}}\n" for name in services)


def environment(cwd: Path, files: Iterable[Path]) -> Command:
    """Print the variables that compose substitutes, as `NAME=value` lines (compose >= 2.31)."""
    return question(cwd, files, "config", "--environment")


def read_model(text: str, *, yaml: bool = False) -> dict[str, Any]:
    """Parse the output of `compose config`. compose escapes every `$` as `$$`, which is undone exactly once.

    Raises ValueError for text that is not a resolved model.
    """
    text = text.replace("$$", "$")
    if yaml:
        from ruamel.yaml import YAML  # imported late: only needed for the few models that JSON cannot represent
        from ruamel.yaml.error import YAMLError

        try:
            content = shapes.guarded(YAML(typ="safe", pure=True).load, text)
        except YAMLError as error:
            raise ValueError(str(error)) from None
        shapes.check(content, {})
    else:
        content = shapes.loads(text, dict)
    shapes.check(content, _MODEL)
    for name, entry in (content.get("services") or {}).items():
        if entry is None:
            raise ValueError(f"services.{name}: expected an object, found null")
    return dict(content)


def for_compose(content: Any) -> str:
    """Format a compose file as JSON, which is also YAML. Escapes `$`, which compose would read as a variable."""
    return json.dumps(content, indent=2).replace("$", "$$")


def up(
    cwd: Path,
    files: Iterable[Path],
    services: Sequence[str],
    *,
    recreate: bool = False,
    orphans: bool = False,
    dependencies: bool = True,
) -> Command:
    """Start existing images in dependency order. compose itself waits for `depends_on: condition`.

    `orphans`: remove containers of services that are no longer in the compose files. Without `dependencies`, start or
    replace only the named services.
    """
    how = [*("--force-recreate" for _ in range(recreate)), *("--remove-orphans" for _ in range(orphans))]
    how += [] if dependencies else ["--no-deps"]
    return command(cwd, files, "up", "--detach", "--no-build", "--quiet-pull", *how, *services)


def containers(cwd: Path, files: Iterable[Path]) -> Command:
    """List the project's containers, including stopped ones: one JSON object per line (compose >= 2.21) or an array."""
    return question(cwd, files, "ps", "--all", "--format", "json", patience=ANSWER)


def logs(
    cwd: Path,
    files: Iterable[Path],
    services: Sequence[str],
    *,
    tail: str = "all",
    follow: bool = False,
    since: str = "",
) -> Command:
    """Show the logs of services. `since`: a time, or a duration such as 10m."""
    how = ("logs", "--tail", tail, *(("--follow",) if follow else ()), *(("--since", since) if since else ()))
    return command(cwd, files, *how, *services)


def down(cwd: Path, files: Iterable[Path], *, volumes: bool = False, orphans: bool = False) -> Command:
    """Stop and remove the project's containers and networks; volumes and orphans only on request."""
    how = [*("--volumes" for _ in range(volumes)), *("--remove-orphans" for _ in range(orphans))]
    return command(cwd, files, "down", *how)


def by_name(cwd: Path, project: str, *args: str) -> Command:
    """Return a compose command for a project's existing resources. Does not read compose files."""
    return docker(cwd, "compose", "--project-name", project, *args)


def remove(cwd: Path, files: Iterable[Path], services: Sequence[str]) -> Command:
    """Stop and remove the containers of some services, but keep networks and volumes."""
    return command(cwd, files, "rm", "--stop", "--force", *services)


def restart(cwd: Path, files: Iterable[Path], services: Sequence[str]) -> Command:
    """Restart containers, including exited ones, and services that `depends_on` them with `restart: true`."""
    return command(cwd, files, "restart", *services)


def execute(cwd: Path, files: Iterable[Path], service: str, argv: Sequence[str], *, tty: bool) -> Command:
    """Run a program inside a running service."""
    return command(cwd, files, "exec", *(() if tty else ("--no-TTY",)), service, *argv)


def run_once(
    cwd: Path, files: Iterable[Path], service: str, argv: Sequence[str], *, tty: bool, dependencies: bool = True
) -> Command:
    """Run a program in a new container of a service, then remove it. compose starts the service's dependencies.

    Without `argv`, the service's own command runs.
    """
    how = [*(() if tty else ("--no-TTY",)), *(() if dependencies else ("--no-deps",))]
    return command(cwd, files, "run", "--rm", "--quiet-pull", *how, service, *argv)


def raw_config(cwd: Path, files: Iterable[Path]) -> Command:
    """Print the compose model with unresolved variables, to find which variable sets a value."""
    return question(cwd, files, "config", "--no-interpolate", "--format", "json")


def alone(cwd: Path, name: str, model: Any, *args: str) -> Command:
    """Return a compose command for our own model, in a separate project. Does not read the user's compose files."""
    how = ("--project-name", name, "--project-directory", str(cwd), "-f", "-")
    return docker(cwd, "compose", *how, *args, stdin=for_compose(model))


def up_alone(cwd: Path, name: str, model: Any, timeout: int) -> Command:
    """Start our own model and wait until all services are healthy, for at most `timeout` seconds."""
    how = ("--detach", "--wait", "--wait-timeout", str(timeout), "--quiet-pull")
    return alone(cwd, name, model, "up", *how)


def down_alone(cwd: Path, name: str, model: Any) -> Command:
    """Remove our own model's resources, including volumes, which contain only test data."""
    return alone(cwd, name, model, "down", "--volumes", "--remove-orphans", "--timeout", "1")
