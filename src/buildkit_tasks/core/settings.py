"""Settings, each with the place its value came from: default < pyproject < .env < environment < flag."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from .errors import Problem
from .world import World

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PREFIX = "BUILDKIT_TASKS_"


@dataclass(frozen=True)
class Settings:
    """What can be set, under `[tool.buildkit-tasks]` or as BUILDKIT_TASKS_NAME; `root` is the project's directory.

    profile: cargo profile of a build. incremental: auto, on or off. cache_scope: prefix of all mount ids, empty = the
    compose file's `name:`. cache_namespace: a set of mounts of its own (a branch, a benchmark). compose_file: as
    COMPOSE_FILE. base_registry: a mirror's host (and path) that replaces Docker Hub. ca_bundle: a PEM file handed to
    builds as a secret, empty = none. binary_arg: the build argument that names a service's program. offline_images:
    auto, always or never build base images from packages. health_timeout: seconds `up` waits. min_disk_gb: warn
    below. smoke_service: the service that `smoke` posts an action to, empty = this project has no smoke test;
    smoke_events: the one that tells what was completed. static: gnu or musl for programs without shared libraries.
    cache_budget: a size as 10GB that this project's caches may take, empty = no limit; cache_trim: what a build does
    above it, warn or trim. builder: auto (the one that docker uses), the name of another
    buildx builder, or legacy for the one before BuildKit; platform_builders: builders for single platforms, as
    `arm64=NAME`, several with blanks between; builder_registry: a repository (HOST/PATH) through which base images
    built here reach other builders, empty = handed over with the build; legacy_ca: refuse, or layer to hand
    that builder the CA bundle in a layer of the compile stage. cargo_config: a cargo config.toml for builds only (a
    mirror of crates.io, credentials), handed over as a secret. remote_cache: a registry's repository (HOST/PATH) for
    caches that travel, empty = none; remote_cache_pull: when-empty (a build with empty mounts pulls by itself) or
    never; remote_cache_push: ci-main (CI's main branch pushes by itself, nothing else in CI may), always or never;
    remote_cache_scope: all (the workspace's own crates too) or deps (what the lock file brings); remote_cache_limit:
    bytes that a pack may take, as 8GB; remote_cache_timeout: seconds after which a build stops pulling or pushing by
    itself; remote_cache_key: cosign's public key that packs must be signed with. layer_cache_from, layer_cache_to:
    BuildKit's own layer caches, as buildx spells them (type=registry,ref=...), several with blanks between.
    """

    root: Path
    profile: str = "release"
    incremental: str = "auto"
    cache_scope: str = ""
    compose_file: str = ""
    base_registry: str = ""
    ca_bundle: str = ""
    binary_arg: str = "BIN"
    cache_namespace: str = ""
    offline_images: str = "auto"
    health_timeout: int = 180
    min_disk_gb: int = 5
    smoke_service: str = ""
    smoke_events: str = ""
    static: str = ""
    cache_budget: str = ""
    cache_trim: str = "warn"
    builder: str = "auto"
    platform_builders: str = ""
    builder_registry: str = ""
    legacy_ca: str = "refuse"
    cargo_config: str = ""
    remote_cache: str = ""
    remote_cache_pull: str = "when-empty"
    remote_cache_push: str = "ci-main"
    remote_cache_scope: str = "all"
    remote_cache_limit: str = "8GB"
    remote_cache_timeout: int = 300
    remote_cache_key: str = ""
    layer_cache_from: str = ""
    layer_cache_to: str = ""


@dataclass(frozen=True)
class Origin:
    """A setting's value and where it came from."""

    name: str
    value: str
    origin: str


#: Settings that take one of a few words.
CHOICES = {
    "incremental": ("auto", "on", "off"),
    "offline_images": ("auto", "always", "never"),
    "cache_trim": ("warn", "trim"),
    "legacy_ca": ("refuse", "layer"),
    "static": ("", "gnu", "musl"),
    "remote_cache_pull": ("when-empty", "never"),
    "remote_cache_push": ("ci-main", "always", "never"),
    "remote_cache_scope": ("all", "deps"),
}


def find_root(world: World) -> Path:
    """The nearest directory at or above the working directory that holds a compose file or a pyproject section of ours.

    Raises `Problem` no-project where there is none.
    """
    for folder in (world.cwd, *world.cwd.parents):
        if compose_files(folder) or "buildkit-tasks" in _pyproject(folder):
            return folder
    raise Problem(
        "no-project",
        f"No compose file at or above {world.cwd}.",
        causes=["buildkit-tasks works inside a repository with a docker-compose.yaml or compose.yaml"],
        hint="cd into the repository, or create a compose.yaml",
    )


def compose_files(folder: Path) -> tuple[Path, ...]:
    """The compose file compose itself would pick in this folder, and its override where there is one."""
    for base in ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"):
        if (folder / base).is_file():
            stem, suffix = base.rsplit(".", 1)
            over = [folder / f"{stem}.override.{end}" for end in dict.fromkeys((suffix, "yml", "yaml"))]
            return (folder / base, *[p for p in over if p.is_file()][:1])
    return ()


def load(
    world: World, root: Path, *, dotenv: Mapping[str, str], flags: Mapping[str, str] | None = None
) -> tuple[Settings, tuple[Origin, ...]]:
    """Settings of the project at `root` and the origin of each value. Raises `Problem` settings-invalid."""
    section = _pyproject(root).get("buildkit-tasks", {})
    names = {f.name: f for f in fields(Settings) if f.name != "root"}
    for key in section.keys() - {"bench"}:  # a table that bench/run.py reads
        if key.replace("-", "_") not in names:
            raise Problem(
                "settings-invalid",
                f"pyproject.toml has an unknown setting {key!r} under [tool.buildkit-tasks].",
                hint=f"known settings: {', '.join(sorted(names))}",
            )
    ours = {k.replace("-", "_"): v for k, v in section.items() if k != "bench"}
    settings = Settings(root)
    origins = []
    for name, item in names.items():
        variable = PREFIX + name.upper()
        value: Any = item.default
        origin = "default"
        for source, where, key in (
            (ours, "pyproject.toml", name),
            (dotenv, ".env", variable),
            (world.env, "environment", variable),
            (flags or {}, "flag", name),
        ):
            if key in source and source[key] is not None:
                value, origin = source[key], f"{where} ({key})" if where in (".env", "environment") else where
        if name == "ca_bundle" and origin == "default":
            value, origin = _default_ca(world)
        settings = replace(settings, **{name: _typed(name, value, type(item.default), origin)})
        origins.append(Origin(name, str(getattr(settings, name)), origin))
    return settings, tuple(origins)


def _default_ca(world: World) -> tuple[str, str]:
    """The host's own bundle: what the host trusts (a company CA included), its builds may trust."""
    given = world.env.get("SSL_CERT_FILE", "")
    if given and Path(given).is_file():
        return given, "environment (SSL_CERT_FILE)"
    system = Path("/etc/ssl/certs/ca-certificates.crt")
    return (str(system), "default (system bundle)") if system.is_file() else ("", "default")


def _typed(name: str, value: Any, kind: type, origin: str) -> Any:
    try:
        if kind is int:
            return int(value)
        if not isinstance(value, str):
            raise ValueError
    except (TypeError, ValueError):
        raise Problem(
            "settings-invalid",
            f"The setting {name} = {value!r} from {origin} is not {'a whole number' if kind is int else 'a string'}.",
            hint="invoke settings shows every value and where it came from",
        ) from None
    if value not in CHOICES.get(name, (value,)):
        raise Problem(
            "settings-invalid",
            f"The setting {name} = {value!r} from {origin} is none of {', '.join(CHOICES[name])}.",
            hint="invoke settings shows every value and where it came from",
        )
    return value


def _pyproject(folder: Path) -> dict[str, Any]:
    path = folder / "pyproject.toml"
    try:
        return dict(tomllib.loads(path.read_text("utf-8")).get("tool", {}))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Problem("settings-invalid", f"{path} cannot be read: {error}.", hint="correct the file") from error


def bench_table(root: Path) -> dict[str, Any]:
    """The table `[tool.buildkit-tasks.bench]`: what a benchmark edits. `{}` where there is none."""
    return dict(_pyproject(root).get("buildkit-tasks", {}).get("bench", {}))


def state_dir(world: World, root: Path) -> Path:
    """This checkout's state directory: outside the tree, because a build context may be the whole tree."""
    from hashlib import sha256

    return world.state_home / f"{root.name}-{sha256(str(root).encode()).hexdigest()[:10]}"
