"""The only place that spells docker. Pure functions: arguments in, a `Command` out; nothing is run here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from .model import Command

#: BuildKit on, also for clients and compose versions that would default to the legacy builder.
BUILDKIT_ENV = (("DOCKER_BUILDKIT", "1"), ("COMPOSE_DOCKER_CLI_BUILD", "1"))

# Attestations carry build times: with them an unchanged image would get a new digest at every build.
NO_ATTESTATIONS = ("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")


def docker(cwd: Path, *args: str, env: Sequence[tuple[str, str]] = (), stdin: str | None = None) -> Command:
    """Any docker command with BuildKit switched on in its environment."""
    return Command(("docker", *args), cwd, (*BUILDKIT_ENV, *env), stdin)


def compose(cwd: Path, files: Iterable[Path], *args: str) -> Command:
    """A compose command on these files; none = what compose finds by itself."""
    return docker(cwd, "compose", *[part for f in files for part in ("-f", str(f))], *args)


def compose_config(cwd: Path, files: Iterable[Path]) -> Command:
    """The resolved compose model as JSON on stdout."""
    return compose(cwd, files, "config", "--format", "json")


def info(cwd: Path) -> Command:
    """Engine, driver and plugin versions in one round trip, as JSON on stdout; errors inside the document."""
    return docker(cwd, "info", "--format", "{{json .}}")


def bake(cwd: Path, definition: str, metadata: Path, *, no_cache: Sequence[str] = ()) -> Command:
    """One solve for all targets of a JSON definition on stdin; progress as JSON on stderr (buildx >= 0.13)."""
    extra = [f"--set={target}.no-cache=true" for target in no_cache]
    return docker(
        cwd,
        *("buildx", "bake", "--file", "-", "--progress", "rawjson", "--metadata-file", str(metadata), *extra),
        env=(NO_ATTESTATIONS,),
        stdin=definition,
    )


def image_ids(cwd: Path, images: Iterable[str]) -> Command:
    """`reference id` per line for those images that are there (a missing one is no error of this filterless form)."""
    return docker(cwd, "image", "inspect", "--format", "{{json .RepoTags}} {{.Id}}", *images)


# ---- engine and base images ----


def context_host(cwd: Path) -> Command:
    """The address of the engine that the context in force points to; needs no engine."""
    return docker(cwd, "context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
