"""All settings, each with one line of documentation, type, default and example. Pure; `settings_load` loads them.

A setting is called GROUP.NAME. Set it as NAME under `[tool.buildkit-tasks.GROUP]` in pyproject.toml, or as the
variable BUILDKIT_TASKS_GROUP_NAME in `.env` or the environment. `docs/reference/settings.md` and
`docs/reference/settings.schema.json` are generated from here: `nox -s reference`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

#: Kinds of values, each with the form that the user writes.
KINDS = {
    "text": "a string",
    "choice": "one of a few words",
    "size": "a size such as 10GB or 512MiB; an integer is bytes",
    "duration": "a duration such as 90s, 3m or 1h; an integer is seconds",
    "list": "a list of strings, or one string separated by blanks",
}


@dataclass(frozen=True)
class Doc:
    """The documentation of a setting.

    `was`: its name in 0.1, if it had one; `unit`: the unit of a bare integer under that name.
    """

    text: str
    kind: str = "text"
    choices: tuple[str, ...] = ()
    example: str = ""
    was: str = ""
    unit: str = ""


def _setting(default: Any, text: str, kind: str = "text", **more: Any) -> Any:
    return field(default=default, metadata={"doc": Doc(text, kind, **more)})


def _choice(default: str, choices: tuple[str, ...], text: str, **more: Any) -> Any:
    return _setting(default, text, "choice", choices=choices, **more)


@dataclass(frozen=True)
class Project:
    """Which compose files to use."""

    compose_file: str = _setting(
        "",
        "Compose files to use instead of the default ones, separated as in COMPOSE_FILE.",
        example="compose.yaml:compose.dev.yaml",
        was="compose_file",
    )


@dataclass(frozen=True)
class Build:
    """How Rust code is compiled."""

    profile: str = _setting("release", "The cargo profile to build with.", example="release", was="profile")
    incremental: str = _choice(
        "auto",
        ("auto", "on", "off"),
        "Incremental compilation. `auto`: on for local builds, off in CI and for release images.",
        was="incremental",
    )
    static: str = _choice("", ("", "gnu", "musl"), "Link programs statically against this C library.", was="static")
    toolchain: str = _choice(
        "warn",
        ("warn", "error"),
        "What to do if a `rust-toolchain` file cannot be followed because the toolchain image has no rustup.",
    )
    binary_arg: str = _setting("BIN", "The build argument with the name of a service's program.", was="binary_arg")
    ca_bundle: str = _setting(
        "",
        "A PEM file passed to builds as a secret. Default: SSL_CERT_FILE or the system's bundle.",
        example="/etc/ssl/company.pem",
        was="ca_bundle",
    )
    cargo_config: str = _setting(
        "",
        "A cargo config.toml passed to builds as a secret, for a crates.io mirror or registry tokens.",
        example="/home/me/mirror.toml",
        was="cargo_config",
    )
    provenance: str = _choice(
        "off",
        ("off", "min", "max"),
        "Provenance attached to images that are pushed; `max` holds the build arguments too.",
    )
    sbom: str = _choice(
        "off", ("off", "on"), "Whether a list of packages (SBOM) is attached to images that are pushed."
    )


@dataclass(frozen=True)
class Images:
    """Where base images come from."""

    registry: str = _setting(
        "", "A mirror (host and path) that replaces Docker Hub.", example="mirror.example.com/hub", was="base_registry"
    )
    offline: str = _choice(
        "auto",
        ("auto", "always", "never"),
        "Build base images from Debian packages. `auto`: if the registry is unreachable.",
        was="offline_images",
    )


@dataclass(frozen=True)
class Caches:
    """Cache mounts and layer caches on this machine."""

    scope: str = _setting(
        "", "Prefix of all cache mount ids. Default: the compose file's `name:`.", example="shop", was="cache_scope"
    )
    namespace: str = _setting(
        "",
        "Use a separate set of cache mounts, for example for a branch or a benchmark.",
        example="branch-7",
        was="cache_namespace",
    )
    budget: int = _setting(
        0, "Maximum disk usage of this project's caches; 0 means no limit.", "size", example="20GB", was="cache_budget"
    )
    over_budget: str = _choice(
        "warn", ("warn", "trim"), "What to do when the caches exceed the budget.", was="cache_trim"
    )
    min_free: int = _setting(
        5 * 10**9,
        "Warn before a build if less disk space is free.",
        "size",
        example="5GB",
        was="min_disk_gb",
        unit="GB",
    )
    layers_from: tuple[str, ...] = _setting(
        (),
        "BuildKit layer caches to import, as in `buildx build --cache-from`.",
        "list",
        example="type=registry,ref=HOST/PATH:layers",
        was="layer_cache_from",
    )
    layers_to: tuple[str, ...] = _setting(
        (),
        "BuildKit layer caches to export, as in `buildx build --cache-to`.",
        "list",
        example="type=registry,ref=HOST/PATH:layers,mode=max",
        was="layer_cache_to",
    )


@dataclass(frozen=True)
class Packs:
    """Compiled dependencies, shared through a registry."""

    repository: str = _setting(
        "",
        "The repository for packs (HOST/PATH). Empty: packs are not used.",
        example="ghcr.io/OWNER/PROJECT-cache",
        was="remote_cache",
    )
    pull: str = _choice(
        "when-empty",
        ("when-empty", "never"),
        "When to pull a pack. `when-empty`: before a build with empty cache mounts.",
        was="remote_cache_pull",
    )
    push: str = _choice(
        "ci-main",
        ("ci-main", "always", "never"),
        "When to push. `ci-main`: automatically after CI builds of the main branch; other CI builds never push.",
        was="remote_cache_push",
    )
    scope: str = _choice(
        "all",
        ("all", "deps"),
        "What to include in a pack. `all`: also the workspace's own crates; `deps`: only the crates in Cargo.lock.",
        was="remote_cache_scope",
    )
    limit: int = _setting(
        8 * 10**9,
        "Reject packs that are larger than this when unpacked.",
        "size",
        example="8GB",
        was="remote_cache_limit",
    )
    timeout: float = _setting(
        300.0,
        "How long a build may spend pulling or pushing a pack before it continues without one.",
        "duration",
        example="5m",
        was="remote_cache_timeout",
    )
    wait: float = _setting(
        30.0,
        "How long a build waits for the registry's list of packs before it continues without one.",
        "duration",
        example="10s",
    )
    key: str = _setting(
        "",
        "The cosign public key that verifies the signatures of packs. If set, unsigned packs are rejected.",
        example="cosign.pub",
        was="remote_cache_key",
    )


@dataclass(frozen=True)
class Builders:
    """Which BuildKit runs the builds."""

    name: str = _setting(
        "auto",
        "`auto`: docker's current builder; `legacy`: the builder from before BuildKit; else a buildx builder's name.",
        example="farm",
        was="builder",
    )
    platforms: tuple[str, ...] = _setting(
        (), "Builders to use for specific platforms.", "list", example="arm64=mac-mini", was="platform_builders"
    )
    repository: str = _setting(
        "",
        "A repository (HOST/PATH) from which other builders pull base images. Empty: send them with each build.",
        example="registry.example.com/bases",
        was="builder_registry",
    )
    legacy_ca: str = _choice(
        "refuse",
        ("refuse", "layer"),
        "`layer`: pass the CA bundle to the legacy builder in a layer of the compile stage.",
        was="legacy_ca",
    )


@dataclass(frozen=True)
class Stack:
    """The running stack."""

    health_timeout: float = _setting(
        180.0, "How long `up` waits for services to become healthy.", "duration", example="3m", was="health_timeout"
    )
    smoke: tuple[str, ...] = _setting(
        (),
        "What `smoke` asks: a list of `SERVICE[:PORT] [METHOD] /PATH [FIELD=VALUE ...]`.",
        "list",
        example="api /health status=ok",
    )
    smoke_command: tuple[str, ...] = _setting(
        (),
        "A program of the project that `smoke` runs, with API_URL for a service `api` and so on.",
        "list",
        example="python3 smoke.py",
    )


@dataclass(frozen=True)
class Database:
    """The project's database and its migrations."""

    service: str = _setting(
        "", "The service that runs the database. Default: the only one that does.", example="postgres"
    )
    url: str = _setting(
        "",
        "A SQLite file of the project. Default: DATABASE_URL, where it names one.",
        example="sqlite:app.db",
    )
    migrations: str = _setting(
        "", "The directory of migrations. Default: the only one called `migrations`.", example="crates/db/migrations"
    )
    tool: str = _choice(
        "auto",
        ("auto", "sqlx", "refinery", "diesel", "sql"),
        "Whose migrations they are. `sql`: plain files, in a table of ours. `auto`: by names and dependencies.",
    )
    seeds: str = _setting(
        "", "A file of SQL, or a directory of them, for `db.seed`. Default: `seeds` or `db/seeds`.", example="db/seeds"
    )


@dataclass(frozen=True)
class Cargo:
    """The cargo tasks."""

    services: tuple[str, ...] = _setting(
        (),
        "Services that `cargo.test --integration` starts. Default: all active ones with a ready image.",
        "list",
        example="postgres redis",
    )
    env: tuple[str, ...] = _setting(
        (),
        "Variables for the container of every cargo task, NAME=value, or NAME for the value it has on the host.",
        "list",
        example="SQLX_OFFLINE=true",
    )


@dataclass(frozen=True)
class Ci:
    """What `ci.init` writes into a workflow, and what its jobs do."""

    default_branch: str = _setting(
        "", "The default branch, if the CI system does not name it. Empty: main or master.", example="trunk"
    )
    images: str = _setting(
        "", "The registry and path that `ci.push` pushes images to. Empty: none.", example="ghcr.io/OWNER"
    )
    install: str = _setting(
        "",
        "What jobs pass to pip to install the tasks, or `./dev` to use that script. Empty: this version.",
        example="buildkit-tasks==0.1.0",
    )
    builds: str = _choice(
        "all", ("all", "changed"), "Which images the job `build` builds: all, or only those affected by the change."
    )
    platforms: tuple[str, ...] = _setting(
        ("amd64", "arm64"), "The platforms of `ci.multiarch` and `ci.push`.", "list", example="amd64 arm64"
    )
    arm64: str = _choice(
        "crossed",
        ("crossed", "native"),
        "`crossed`: one runner builds all platforms; `native`: arm64 images are built and started on an arm64 runner.",
    )
    runner: str = _setting(
        "ubuntu-24.04",
        "The runner label. Labels of GitHub-hosted runners become `docker` for Jenkins, and none for GitLab.",
        example="ubuntu-24.04",
    )
    runner_arm64: str = _setting(
        "ubuntu-24.04-arm",
        "The runner label for arm64. Labels of GitHub-hosted runners become `arm64` elsewhere.",
        example="arm64",
    )
    extra: tuple[str, ...] = _setting((), "Additional commands, one job each.", "list", example="cargo deny check")


@dataclass(frozen=True)
class Settings:
    """All settings of the project in directory `root`, by group."""

    root: Path
    project: Project = field(default_factory=Project)
    build: Build = field(default_factory=Build)
    images: Images = field(default_factory=Images)
    caches: Caches = field(default_factory=Caches)
    packs: Packs = field(default_factory=Packs)
    builders: Builders = field(default_factory=Builders)
    stack: Stack = field(default_factory=Stack)
    cargo: Cargo = field(default_factory=Cargo)
    database: Database = field(default_factory=Database)
    ci: Ci = field(default_factory=Ci)


#: The groups and their classes, in the order of the reference.
GROUPS: dict[str, type[Any]] = {
    "project": Project,
    "build": Build,
    "images": Images,
    "caches": Caches,
    "packs": Packs,
    "builders": Builders,
    "stack": Stack,
    "cargo": Cargo,
    "database": Database,
    "ci": Ci,
}


@dataclass(frozen=True)
class Known:
    """One setting: group, name, default as a Python value, and documentation."""

    group: str
    name: str
    default: Any
    doc: Doc

    @property
    def dotted(self) -> str:
        """GROUP.NAME, as used in messages."""
        return f"{self.group}.{self.name}"


def known() -> Iterator[Known]:
    """Every setting, in the order of the reference."""
    for group, kind in GROUPS.items():
        items: tuple[Field[Any], ...] = fields(kind)
        for item in items:
            yield Known(group, item.name, item.default, item.metadata["doc"])
