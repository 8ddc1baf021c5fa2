"""Find a repository's root and compose files and let compose resolve them, before anything is set up."""

from __future__ import annotations

import os
import posixpath
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from buildkit_tasks.config import root as project_root
from buildkit_tasks.core import run, shapes
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command, Result
from buildkit_tasks.core.world import World
from buildkit_tasks.dockercli import compose_cli
from buildkit_tasks.dotenv import disk as dotenv_disk
from buildkit_tasks.dotenv import text as dotenv_text
from buildkit_tasks.workspaces.tree import Tree

from . import composed, propose

#: Levels below the root in which to look for a compose file if the root has none.
DEPTH = 3
#: Files that compose reads only if they are listed.
_VARIANT = re.compile(
    r"(?:^|/)(?:(?:docker-)?compose[.-][^/]+|(?!process-)[^/]+[.-](?:docker-)?compose)\.ya?ml$|(?:^|/)(?:docker-)?compose\.ya?ml$"
)
_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")


@dataclass(frozen=True)
class Model:
    """The resolved compose model. `wanted`: variables without a value; `env_files`: missing files."""

    files: tuple[str, ...]
    listed: bool
    config: Mapping[str, Any]
    wanted: tuple[str, ...] = ()
    env_files: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


def root(world: World) -> Path:
    """Return the repository root: git's, else the nearest parent with a compose file, else the working directory."""
    above = (world.cwd, *world.cwd.parents)
    for place in above:
        if (place / ".git").exists():
            return place
    for place in above:
        if project_root.compose_files(place):
            return place
    return world.cwd


def _dotenv(files: Tree) -> dict[str, str]:
    """Return the values in .env. Raises `Problem` dotenv-invalid where compose would fail."""
    try:
        return dotenv_text.values(files.text(".env"))
    except dotenv_text.Refused as refused:
        raise dotenv_disk.invalid(files.root / ".env", refused) from None


def compose_files(world: World, files: Tree) -> tuple[tuple[str, ...], bool, tuple[str, ...]]:
    """Return the effective compose files, whether they must be listed explicitly, and other files that were ignored."""
    given = _setting(files.root) or world.env.get("COMPOSE_FILE", "")
    if not given and files.has(".env"):
        given = _dotenv(files).get("COMPOSE_FILE", "")
    if given:
        return tuple(part for part in given.split(":") if files.has(part)), True, ()
    own = tuple(p.name for p in project_root.compose_files(files.root))
    found = [p for n in _NAMES for p in files.named(n) if 0 < p.count("/") <= DEPTH and not propose.ASIDE.search(p)]
    found = [p for p in found if composed.builds(files.text(p))]
    variants = [p for p in files.files if "/" not in p and _VARIANT.search(p) and p not in own]
    if own:
        return own, False, (*variants, *found)
    found.sort(key=lambda p: (p.count("/"), p))
    nearest = _nearest(world, files)
    # do not add Rust services to a compose file for another part of the repository
    related = composed.building_rust(files, found) if nearest is None else ""
    folder = nearest or (Path(related).parent if related else None)
    if folder is None:
        named = [p for p in files.files if _VARIANT.search(p) and 0 < p.count("/") <= DEPTH]
        below = [p for p in named if not propose.ASIDE.search(p)]
        starts_ours = composed.starting_ours(files)
        below = [p for p in below if composed.builds(files.text(p)) or starts_ours(p)]
        return (), False, tuple(dict.fromkeys((*variants, *below, *found)))
    own = tuple((folder / p.name).as_posix() for p in project_root.compose_files(files.root / folder))
    return own, True, (*variants, *(p for p in found if p not in own))


def _nearest(world: World, files: Tree) -> Path | None:
    """Return the folder below the root that compose would use, searching from the working directory up.

    None if its compose files build nothing, for example if they only start a test database.
    """
    here = Path(os.path.realpath(world.cwd))
    root = Path(os.path.realpath(files.root))
    for place in (here, *here.parents):
        if place == root or root not in place.parents:
            return None
        found = [(place / p.name).relative_to(root).as_posix() for p in project_root.compose_files(place)]
        if found:
            return place.relative_to(root) if any(composed.builds(files.text(p)) for p in found) else None
    return None


def _setting(root: Path) -> str:
    """Return the project.compose_file setting, which is needed before settings can be loaded."""
    section = project_root.pyproject(root).get("buildkit-tasks", {})
    inner = section.get("project") if isinstance(section, dict) else None
    return str(inner.get("compose_file", "")) if isinstance(inner, dict) else ""


def resolve(world: World, files: Tree, names: Sequence[str], texts: Mapping[str, str] | None = None) -> Model:
    """Let compose resolve the files. `texts` replaces their contents with those of an earlier state of the repository.

    Problems: engine-missing, compose-missing, compose-invalid.
    """
    contents = {name: (texts or {}).get(name, files.text(name)) for name in names}
    wanted = _required(contents, world, files)
    # enable every profile: services that are not started by default are built, too
    env = {**world.env, "COMPOSE_PROFILES": "*", **dict.fromkeys(wanted, "1")}
    missing = _env_files(files, names, contents)
    with tempfile.TemporaryDirectory(prefix="buildkit-tasks-") as folder:
        paths = _written(Path(folder), contents) if texts else [files.root / name for name in names]
        override = Path(folder, "without-env-files.yaml")
        place = str((files.root / names[0]).parent) if texts and names else ""

        def ask(command: Command) -> Result:
            return run.capture(replace(world, env=env), compose_cli.elsewhere(command, place) if place else command)

        for _ in range(20):
            result = ask(compose_cli.config(files.root, paths))
            said = result.stderr.strip()
            if result.code == 0:
                break
            variable = re.search(r"required variable (\w+) is missing a value", said)
            lost = compose_cli.MISSING_ENV_FILE.search(said)
            unset = [name for name in compose_cli.unset_variables(said) if name not in env]
            if variable and variable[1] not in env:
                env[variable[1]] = "1"
                wanted.append(variable[1])
            elif lost and override not in paths:
                missing.append(Path(os.path.relpath(lost[1], files.root)).as_posix())
                listed = ask(compose_cli.services(files.root, paths))
                override.write_text(compose_cli.without_env_files(listed.stdout.split()), "utf-8")
                paths.append(override)
            elif unset:  # compose cannot read the files while these are empty, for example a port
                env |= dict.fromkeys(unset, "1")
                wanted += unset
            else:
                raise _refused(names, said)
    model = shapes.answer(result, dict, {"services": {"*": dict}}) if result.stdout else {}
    return Model(tuple(names), False, model, tuple(wanted), tuple(dict.fromkeys(missing)))


def _written(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    paths = []
    for number, text in enumerate(texts.values()):
        path = folder / f"{number}.yaml"
        path.write_text(text, "utf-8")
        paths.append(path)
    return paths


def _required(texts: Mapping[str, str], world: World, files: Tree) -> list[str]:
    """Return the names of required variables without a value; compose would fail on each one."""
    known = {**_dotenv(files), **world.env}
    found = [n for text in texts.values() for n in re.findall(r"(?<!\$)\$\{(\w+):?\?", text)]
    return [name for name in dict.fromkeys(found) if not known.get(name)]


def _env_files(files: Tree, names: Sequence[str], texts: Mapping[str, str]) -> list[str]:
    """Return missing env files of services, except in included files."""
    from . import yaml_text

    found = []
    for name in names:
        try:
            document = yaml_text.load(name, texts[name], plain=True)
        except Problem:  # compose reports this better
            continue
        services = document.get("services") if isinstance(document, dict) else None
        for entry in services.values() if isinstance(services, dict) else ():
            given = entry.get("env_file") if isinstance(entry, dict) else None
            for one in given if isinstance(given, list) else [given]:
                path = one.get("path") if isinstance(one, dict) and one.get("required") is not False else one
                if isinstance(path, str) and "$" not in path:
                    found.append(os.path.normpath(Path(name).parent / path))
    return [path for path in found if not path.startswith("..") and not files.exists(path)]


def _refused(names: Sequence[str], said: str) -> Problem:
    if "unknown command" in said or "is not a docker command" in said or "unknown shorthand flag: 'f'" in said:
        return Problem(
            "compose-missing",
            "The compose plugin is not installed; `init` needs it to read the compose file.",
            causes=[said.split("\n", maxsplit=1)[0]],
            hint="buildkit-tasks engine.install    (Debian and Ubuntu: apt install docker-compose-plugin)",
        )
    line = re.search(r"line (\d+)", said)
    error = "\n".join(line for line in said.splitlines() if "level=warning" not in line)
    if unset := compose_cli.unset_variables(said):
        env = posixpath.join(posixpath.dirname(names[0]), ".env")
        return Problem(
            "compose-invalid",
            f"Compose cannot read {', '.join(names)}; variables without a value: {', '.join(unset)}.",
            details=error,
            hint=f"set them in {env} or in the environment, then rerun this command",
        )
    return Problem(
        "compose-invalid",
        f"Compose cannot read {', '.join(names)}{f', line {line[1]}' if line else ''}.",
        details=error or said,
        hint="install a newer version of compose, or remove the unsupported key"
        if "dditional property" in said
        else "fix the file (check it with `docker compose config`)",
    )
