"""Settings for builds, images, caches, packs and builders, one class per group. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from .setting import choice, setting


@dataclass(frozen=True)
class Project:
    """Which compose files to use."""

    compose_file: str = setting(
        "",
        "The compose files to use instead of the default ones, separated as in COMPOSE_FILE.",
        example="compose.yaml:compose.dev.yaml",
        was="compose_file",
    )


@dataclass(frozen=True)
class Build:
    """How to compile Rust code."""

    profile: str = setting("release", "The cargo profile to build with.", example="release", was="profile")
    incremental: str = choice(
        "auto",
        ("auto", "on", "off"),
        "Whether to compile incrementally. `auto`: in local builds, but not in CI or for release images.",
        was="incremental",
    )
    static: str = choice("", ("", "gnu", "musl"), "The C library to link programs against statically.", was="static")
    toolchain: str = choice(
        "warn",
        ("warn", "error"),
        "What to do if a `rust-toolchain` file has no effect because the toolchain image does not include rustup.",
    )
    binary_arg: str = setting("BIN", "The build argument that specifies a service's program.", was="binary_arg")
    ca_bundle: str = setting(
        "",
        "A PEM file with CA certificates, passed to builds as a secret. Default: SSL_CERT_FILE or the system's bundle.",
        example="/etc/ssl/company.pem",
        was="ca_bundle",
    )
    cargo_config: str = setting(
        "",
        "A cargo config.toml, passed to builds as a secret, that configures a crates.io mirror or registry tokens.",
        example="/home/me/mirror.toml",
        was="cargo_config",
    )
    provenance: str = choice(
        "off",
        ("off", "min", "max"),
        "The provenance attestation for pushed images. `max` includes the build arguments.",
    )
    sbom: str = choice("off", ("off", "on"), "Whether to attach an SBOM (a list of packages) to pushed images.")


@dataclass(frozen=True)
class Images:
    """Where base images come from."""

    registry: str = setting(
        "", "A mirror (host and path) that replaces Docker Hub.", example="mirror.example.com/hub", was="base_registry"
    )
    offline: str = choice(
        "auto",
        ("auto", "always", "never"),
        "When to build base images from Debian packages. `auto`: if the registry is unreachable.",
        was="offline_images",
    )


@dataclass(frozen=True)
class Caches:
    """Cache mounts and layer caches on this machine."""

    scope: str = setting(
        "",
        "The prefix for all cache mount ids. Default: the compose file's `name:`.",
        example="shop",
        was="cache_scope",
    )
    namespace: str = setting(
        "",
        "The name of a separate set of cache mounts, for example for a branch or a benchmark.",
        example="branch-7",
        was="cache_namespace",
    )
    budget: int = setting(
        0,
        "The maximum disk usage of this project's caches. 0 means no limit.",
        "size",
        example="20GB",
        was="cache_budget",
    )
    over_budget: str = choice(
        "warn", ("warn", "trim"), "What to do when the caches exceed the budget.", was="cache_trim"
    )
    min_free: int = setting(
        5 * 10**9,
        "Warn before a build if the free disk space is less than this size.",
        "size",
        example="5GB",
        was="min_disk_gb",
        unit="GB",
    )
    layers_from: tuple[str, ...] = setting(
        (),
        "BuildKit layer caches to import, as in `buildx build --cache-from`.",
        "list",
        example="type=registry,ref=HOST/PATH:layers",
        was="layer_cache_from",
    )
    layers_to: tuple[str, ...] = setting(
        (),
        "BuildKit layer caches to export, as in `buildx build --cache-to`.",
        "list",
        example="type=registry,ref=HOST/PATH:layers,mode=max",
        was="layer_cache_to",
    )


@dataclass(frozen=True)
class Packs:
    """Sharing compiled dependencies through a registry."""

    repository: str = setting(
        "",
        "The repository for packs (HOST/PATH). Empty: do not use packs.",
        example="ghcr.io/OWNER/PROJECT-cache",
        was="remote_cache",
    )
    pull: str = choice(
        "when-empty",
        ("when-empty", "never"),
        "When to pull a pack. `when-empty`: before a build whose cache mounts are empty.",
        was="remote_cache_pull",
    )
    push: str = choice(
        "ci-main",
        ("ci-main", "always", "never"),
        "When to push a pack. `ci-main`: after CI builds of the main branch, but not after other CI builds.",
        was="remote_cache_push",
    )
    scope: str = choice(
        "all",
        ("all", "deps"),
        "What to include in a pack. `all`: external dependencies and the workspace's own crates. `deps`: only external "
        "dependencies.",
        was="remote_cache_scope",
    )
    mounts: tuple[str, ...] = setting(
        (),
        "Cache mounts of other tools to pull and push as well, by id or by kind (npm, pip, apt, go and others).",
        "list",
        example="npm apt",
    )
    limit: int = setting(
        8 * 10**9,
        "Reject packs that are larger than this size when unpacked.",
        "size",
        example="8GB",
        was="remote_cache_limit",
    )
    timeout: float = setting(
        300.0,
        "How long a build may spend pulling or pushing a pack before it gives up and continues.",
        "duration",
        example="5m",
        was="remote_cache_timeout",
    )
    wait: float = setting(
        30.0,
        "How long a build waits for the registry's list of packs before it continues without one.",
        "duration",
        example="10s",
    )
    key: str = setting(
        "",
        "The public key that cosign uses to verify pack signatures. If a key is set, unsigned packs are rejected.",
        example="cosign.pub",
        was="remote_cache_key",
    )


@dataclass(frozen=True)
class Builders:
    """Which builder runs the builds."""

    name: str = setting(
        "auto",
        "The builder to use. `auto`: docker's current builder. `legacy`: docker's builder without BuildKit. NAME: the "
        "buildx builder NAME.",
        example="farm",
        was="builder",
    )
    platforms: tuple[str, ...] = setting(
        (), "Builders to use for specific platforms.", "list", example="arm64=mac-mini", was="platform_builders"
    )
    repository: str = setting(
        "",
        "A repository (HOST/PATH) that other builders pull local base images from. Empty: send the images "
        "with each build.",
        example="registry.example.com/bases",
        was="builder_registry",
    )
    legacy_ca: str = choice(
        "refuse",
        ("refuse", "layer"),
        "How to pass the CA bundle to the legacy builder. `layer`: store the bundle in a layer of the compile stage.",
        was="legacy_ca",
    )
