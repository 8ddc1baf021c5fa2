"""The docker buildx commands: bake, build, builders and their caches. Pure: nothing runs here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from buildkit_tasks.core.model import Command

from . import bake_paths
from .docker import ANSWER, LISTING, ask, build_arguments, build_flags, docker

# Attestations contain build times: with them, every build would give an unchanged image a new digest.
NO_ATTESTATIONS = ("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")

# Since 0.20, buildx may refuse to let a bake file read or write outside the working directory. This protects against
# definitions written by others, but ours is generated here from the compose file.
# https://docs.docker.com/reference/cli/docker/buildx/bake/#allow
NO_ENTITLEMENTS = ("BUILDX_BAKE_ENTITLEMENTS_FS", "0")


# buildx runs six git commands per target to describe the commit in attestations. A build without attestations only
# needs them for its entry in `docker buildx history`.
NO_GIT = ("BUILDX_GIT_INFO", "0")


def for_bake(definition: Any) -> str:
    """Escape a bake file: in bake, every string (including names) is a template with variables and functions.

    https://github.com/hashicorp/hcl/blob/main/json/spec.md#expressions
    """
    return json.dumps(definition).replace("${", "$${").replace("%{", "%%{")


def asks_for_git(env: Mapping[str, str]) -> bool:
    """Return whether the user configured which git metadata buildx adds to builds and images."""
    return any(name.startswith("BUILDX_GIT") for name in env)


def _environment(targets: Iterable[Mapping[str, Any]], *, git: bool) -> tuple[tuple[str, str], ...]:
    git = git or any(target.get("attest") for target in targets)
    return (NO_ATTESTATIONS, NO_ENTITLEMENTS, *(() if git else (NO_GIT,)))


def bake(cwd: Path, definition: Mapping[str, Any], metadata: Path, *, builder: str = "", git: bool = True) -> Command:
    """Build all targets of a definition in one solve, with JSON progress on stderr (buildx >= 0.13).

    `cwd`: the base of relative paths. bake itself runs in the directory of `metadata`, which has no .env to read.
    `git`: let buildx describe the commit, even if no target has attestations.
    """
    asked = (name for target in definition["target"].values() for name in target.get("entitlements", ()))
    return docker(
        metadata.parent,
        *("buildx", "bake", *_builder(builder), "--file", "-", "--progress", "rawjson"),
        *("--metadata-file", str(metadata)),
        # like compose, allow what the compose file requests
        *(f"--allow={name}" for name in dict.fromkeys(asked)),
        env=_environment(definition["target"].values(), git=git),
        stdin=for_bake(bake_paths.absolute(definition, cwd)),
    )


def bake_print(cwd: Path, definition: Mapping[str, Any]) -> Command:
    """Print the definition as this buildx understands it: older versions drop unknown keys. `cwd` has no .env."""
    printed = docker(cwd, "buildx", "bake", "--file", "-", "--print", stdin=for_bake(definition))
    return replace(printed, patience=ANSWER)


def build_target(
    cwd: Path, target: Mapping[str, Any], metadata: Path, *, builder: str = "", git: bool = True
) -> Command:
    """Build one bake target with `docker buildx build`, for keys that an older bake drops. Same progress as `bake`."""
    inline = "dockerfile-inline" in target
    file = () if "dockerfile" not in target else ("--file", str(target["dockerfile"]))
    arguments, variables = build_arguments(target)
    return docker(
        cwd,
        *("buildx", "build", *_builder(builder), "--progress", "rawjson", "--metadata-file", str(metadata)),
        *(("--file", "-") if inline else file),
        *arguments,
        *build_flags(target),
        str(target["context"]),
        env=(*variables, *_environment([target], git=git)),
        stdin=target["dockerfile-inline"] if inline else None,
    )


def cache_records(cwd: Path, builder: str = "", *, as_json: bool = False) -> Command:
    """List a builder's cache records (empty = the current builder): JSON lines (buildx >= 0.29), else paragraphs."""
    return ask(
        cwd,
        "buildx",
        "du",
        *_builder(builder),
        *(("--format", "json") if as_json else ("--verbose",)),
        patience=LISTING,
    )


def remove_cache_record(cwd: Path, *identities: str, builder: str = "") -> Command:
    """Remove build cache records that are not in use. buildx treats the filter as a pattern, so it is anchored."""
    pattern = identities[0] if len(identities) == 1 else f"({'|'.join(identities)})"
    return docker(cwd, "buildx", "prune", *_builder(builder), "--force", "--all", "--filter", f"id=^{pattern}$")


def remove_all_cache(cwd: Path, builder: str = "") -> Command:
    """Remove the whole build cache of a builder, for every project, except what running builds use."""
    return docker(cwd, "buildx", "prune", *_builder(builder), "--force", "--all")


def cache_total(cwd: Path) -> Command:
    """Show the size of the build cache: the totals are in the last lines."""
    return ask(cwd, "buildx", "du", patience=LISTING)


def _builder(name: str) -> tuple[str, ...]:
    return ("--builder", name) if name else ()


def builder_details(cwd: Path, builder: str = "") -> Command:
    """Show a builder's driver, BuildKit version and garbage collection rules, as `key: value` lines."""
    return ask(cwd, "buildx", "inspect", *((builder,) if builder else ()), patience=LISTING)


def mount_build(
    cwd: Path,
    dockerfile: str,
    folder: Path,
    *,
    base: tuple[str, str],
    builder: str = "",
    output: Path | None = None,
    namespace: str = "",
) -> Command:
    """Run a short build that opens cache mounts, from a Dockerfile given as text; `folder` is its context.

    `output` receives the files of the last stage; without it, nothing is exported. `base`: an image reference in the
    Dockerfile, and the reference to use instead. `namespace`: the set of cache mounts to use.
    """
    where = f"type=local,dest={output}" if output else "type=cacheonly"
    named = ("--build-context", f"{base[0]}=docker-image://{base[1]}") if base[0] != base[1] else ()
    return docker(
        cwd,
        *("buildx", "build", *_builder(builder), "--progress", "plain", "--file", "-", "--output", where, *named),
        *(("--build-arg", f"BUILDKIT_CACHE_MOUNT_NS={namespace}") if namespace else ()),
        str(folder),
        env=(NO_ATTESTATIONS,),
        stdin=dockerfile,
    )


def builder_list(cwd: Path) -> Command:
    """List all builders with their nodes, one JSON object per line. Queries every node, so a hung one costs seconds."""
    return ask(cwd, "buildx", "ls", "--format", "json", patience=LISTING)


def builder_create(
    cwd: Path,
    name: str,
    node: str,
    *,
    driver: str,
    endpoint: str = "",
    platforms: Sequence[str] = (),
    options: Sequence[str] = (),
    config: str = "",
    append: bool = False,
) -> Command:
    """Create a builder with one node, or add a node to a builder. Does not start or contact the daemon."""
    return docker(
        cwd,
        *("buildx", "create", "--name", name, "--node", node, "--driver", driver),
        *(("--append",) if append else ()),
        *[part for platform in platforms for part in ("--platform", platform)],
        *[part for option in options for part in ("--driver-opt", option)],
        *(("--buildkitd-config", config) if config else ()),
        *((endpoint,) if endpoint else ()),
    )


def builder_leave(cwd: Path, name: str, node: str) -> Command:
    """Remove a node from a builder."""
    return docker(cwd, "buildx", "create", "--name", name, "--node", node, "--leave")


def builder_start(cwd: Path, name: str) -> Command:
    """Like `builder_details`, but buildx starts daemons that are not running."""
    return docker(cwd, "buildx", "inspect", "--bootstrap", name)


def builder_remove(cwd: Path, name: str, *, keep_daemon: bool = False, keep_state: bool = False) -> Command:
    """Remove a builder, its daemons (never remote ones) and their caches. The flags keep the daemons or the caches."""
    kept = (*(("--keep-daemon",) if keep_daemon else ()), *(("--keep-state",) if keep_state else ()))
    return docker(cwd, "buildx", "rm", "--force", *kept, name)


def builder_use(cwd: Path, name: str) -> Command:
    """Make a builder the current builder."""
    return docker(cwd, "buildx", "use", name)


def join_images(cwd: Path, name: str, digests: Iterable[str]) -> Command:
    """Create a manifest list in a registry from images that it already has."""
    return docker(cwd, "buildx", "imagetools", "create", "--tag", name, *digests)
