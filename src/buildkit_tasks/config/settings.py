"""All settings: one line of documentation, type, default and example per field. Pure; `settings_load` reads them.

A setting is called GROUP.NAME. It is written as NAME under `[tool.buildkit-tasks.GROUP]` in pyproject.toml, or as the
variable BUILDKIT_TASKS_GROUP_NAME in `.env` or the environment. `docs/reference/settings.md` and
`docs/reference/settings.schema.json` are generated from here: `nox -s reference`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

#: Kinds of values: how a setting is written, and what it is afterwards.
KINDS = {
    "text": "a string",
    "choice": "one of a few words",
    "size": "a size such as 10GB or 512MiB; an integer is bytes",
    "duration": "a duration such as 90s, 3m or 1h; an integer is seconds",
    "list": "a list of strings, or one string with blanks between",
}


@dataclass(frozen=True)
class Doc:
    """What is said of a setting.

    `was`: its name in 0.1, if it had one; `unit`: what an integer under that name was followed by.
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
    """Which compose files."""

    compose_file: str = _setting(
        "",
        "Compose files to use instead of those that compose finds, separated as in COMPOSE_FILE.",
        example="compose.yaml:compose.dev.yaml",
        was="compose_file",
    )


@dataclass(frozen=True)
class Build:
    """How Rust is compiled."""

    profile: str = _setting("release", "The cargo profile of a build.", example="release", was="profile")
    incremental: str = _choice(
        "auto",
        ("auto", "on", "off"),
        "Incremental compilation. `auto`: on for local builds, off in CI and for images that ship.",
        was="incremental",
    )
    static: str = _choice(
        "", ("", "gnu", "musl"), "Build programs without shared libraries, for this C library.", was="static"
    )
    toolchain: str = _choice(
        "warn",
        ("warn", "error"),
        "What a build does with a `rust-toolchain` file that the toolchain image cannot obey, for want of rustup.",
    )
    binary_arg: str = _setting("BIN", "The build argument that names a service's program.", was="binary_arg")
    ca_bundle: str = _setting(
        "",
        "A PEM file that builds get as a secret. Default: the system's bundle or SSL_CERT_FILE.",
        example="/etc/ssl/company.pem",
        was="ca_bundle",
    )
    cargo_config: str = _setting(
        "",
        "A cargo config.toml that builds get as a secret: a crates.io mirror, registry tokens.",
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
        "Build base images from Debian packages. `auto`: where no registry answers.",
        was="offline_images",
    )


@dataclass(frozen=True)
class Caches:
    """Cache mounts and layer caches on this machine."""

    scope: str = _setting(
        "", "Prefix of all cache mount ids. Default: the compose file's `name:`.", example="shop", was="cache_scope"
    )
    namespace: str = _setting(
        "", "Use a separate set of cache mounts: for a branch, a benchmark.", example="branch-7", was="cache_namespace"
    )
    budget: int = _setting(
        0, "How much disk this project's caches may use; 0 means no limit.", "size", example="20GB", was="cache_budget"
    )
    over_budget: str = _choice("warn", ("warn", "trim"), "What a build does above the budget.", was="cache_trim")
    min_free: int = _setting(
        5 * 10**9, "Warn before a build when less disk is free.", "size", example="5GB", was="min_disk_gb", unit="GB"
    )
    layers_from: tuple[str, ...] = _setting(
        (),
        "BuildKit layer caches to read, as in `buildx build --cache-from`.",
        "list",
        example="type=registry,ref=HOST/PATH:layers",
        was="layer_cache_from",
    )
    layers_to: tuple[str, ...] = _setting(
        (),
        "BuildKit layer caches to write, as in `buildx build --cache-to`.",
        "list",
        example="type=registry,ref=HOST/PATH:layers,mode=max",
        was="layer_cache_to",
    )


@dataclass(frozen=True)
class Packs:
    """Compiled dependencies that travel through a registry."""

    repository: str = _setting(
        "",
        "The repository for packs (HOST/PATH). Empty: none.",
        example="ghcr.io/OWNER/PROJECT-cache",
        was="remote_cache",
    )
    pull: str = _choice(
        "when-empty",
        ("when-empty", "never"),
        "`when-empty`: a build with empty cache mounts pulls first.",
        was="remote_cache_pull",
    )
    push: str = _choice(
        "ci-main",
        ("ci-main", "always", "never"),
        "Who pushes. `ci-main`: CI builds of the main branch, automatically, and nothing else in CI.",
        was="remote_cache_push",
    )
    scope: str = _choice(
        "all",
        ("all", "deps"),
        "What a pack holds. `all`: the workspace's own crates too; `deps`: only crates of the lock file.",
        was="remote_cache_scope",
    )
    limit: int = _setting(
        8 * 10**9, "Refuse packs that unpack to more than this.", "size", example="8GB", was="remote_cache_limit"
    )
    timeout: float = _setting(
        300.0,
        "After this long a build stops pulling or pushing and continues without.",
        "duration",
        example="5m",
        was="remote_cache_timeout",
    )
    wait: float = _setting(
        30.0,
        "Wait this long for what the registry says of its packs, before any is fetched; then build without.",
        "duration",
        example="10s",
    )
    key: str = _setting(
        "", "The cosign public key that packs must be signed with.", example="cosign.pub", was="remote_cache_key"
    )


@dataclass(frozen=True)
class Builders:
    """Which BuildKit builds."""

    name: str = _setting(
        "auto",
        "`auto`: the builder that docker uses; `legacy`: the builder before BuildKit; else a buildx builder's name.",
        example="farm",
        was="builder",
    )
    platforms: tuple[str, ...] = _setting(
        (), "Builders for single platforms.", "list", example="arm64=mac-mini", was="platform_builders"
    )
    repository: str = _setting(
        "",
        "A repository (HOST/PATH) through which other builders get base images. Empty: sent with each build.",
        example="registry.example.com/bases",
        was="builder_registry",
    )
    legacy_ca: str = _choice(
        "refuse",
        ("refuse", "layer"),
        "`layer`: give the legacy builder the CA bundle in a layer of the compile stage.",
        was="legacy_ca",
    )


@dataclass(frozen=True)
class Stack:
    """The running stack."""

    health_timeout: float = _setting(
        180.0, "How long `up` waits for services to become healthy.", "duration", example="3m", was="health_timeout"
    )
    smoke_service: str = _setting(
        "", "The service that `smoke` posts an action to.", example="api", was="smoke_service"
    )
    smoke_events: str = _setting(
        "", "The service that reports completed actions to `smoke`.", example="notifier", was="smoke_events"
    )


@dataclass(frozen=True)
class Ci:
    """What `ci.init` writes into a workflow, and what its jobs do."""

    default_branch: str = _setting(
        "", "The default branch, where the CI system does not name it. Empty: main or master.", example="trunk"
    )
    images: str = _setting(
        "", "The registry and path that `ci.push` pushes images to. Empty: none.", example="ghcr.io/OWNER"
    )
    install: str = _setting(
        "",
        "What a job gives pip to install the tasks; `./dev` for a repository that has its own. Empty: this version.",
        example="buildkit-tasks==0.1.0",
    )
    builds: str = _choice(
        "all", ("all", "changed"), "Which images the job `build` builds: all, or those that the change concerns."
    )
    platforms: tuple[str, ...] = _setting(
        ("amd64", "arm64"), "The platforms of `ci.multiarch` and `ci.push`.", "list", example="amd64 arm64"
    )
    arm64: str = _choice(
        "crossed",
        ("crossed", "native"),
        "`crossed`: one runner builds all platforms; `native`: arm64 is built and started on a runner of its own.",
    )
    runner: str = _setting(
        "ubuntu-24.04",
        "The label of the runners. One of GitHub's own means `docker` for Jenkins, and none for GitLab.",
        example="ubuntu-24.04",
    )
    runner_arm64: str = _setting(
        "ubuntu-24.04-arm",
        "The label of the runners for arm64. One of GitHub's own means `arm64` elsewhere.",
        example="arm64",
    )
    extra: tuple[str, ...] = _setting((), "Further commands, one job each.", "list", example="cargo deny check")


@dataclass(frozen=True)
class Settings:
    """All settings of the project in the directory `root`, by group."""

    root: Path
    project: Project = field(default_factory=Project)
    build: Build = field(default_factory=Build)
    images: Images = field(default_factory=Images)
    caches: Caches = field(default_factory=Caches)
    packs: Packs = field(default_factory=Packs)
    builders: Builders = field(default_factory=Builders)
    stack: Stack = field(default_factory=Stack)
    ci: Ci = field(default_factory=Ci)


#: Group name to its class, in the order of the reference.
GROUPS: dict[str, type[Any]] = {
    "project": Project,
    "build": Build,
    "images": Images,
    "caches": Caches,
    "packs": Packs,
    "builders": Builders,
    "stack": Stack,
    "ci": Ci,
}


@dataclass(frozen=True)
class Known:
    """One setting: its group and name, its default as a Python value, and its documentation."""

    group: str
    name: str
    default: Any
    doc: Doc

    @property
    def dotted(self) -> str:
        """GROUP.NAME, as messages call it."""
        return f"{self.group}.{self.name}"


def known() -> Iterator[Known]:
    """Every setting, in the order of the reference."""
    for group, kind in GROUPS.items():
        items: tuple[Field[Any], ...] = fields(kind)
        for item in items:
            yield Known(group, item.name, item.default, item.metadata["doc"])
