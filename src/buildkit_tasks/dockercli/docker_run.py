"""The docker commands for containers that run tools, and for their volumes. Pure, like `docker`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from buildkit_tasks.core.model import Command

from .docker import LISTING, ask, docker, fields


@dataclass(frozen=True)
class Mount:
    """A directory or file on this machine (`source` is a path), or a volume (`labels`: set when it is created)."""

    source: str
    target: str
    readonly: bool = False
    labels: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The value of `--mount`, comma-separated: https://docs.docker.com/engine/storage/bind-mounts/#syntax."""
        kind = "bind" if self.source.startswith("/") else "volume"
        words = [f"type={kind}", f"source={self.source}", f"target={self.target}"]
        words += [f"volume-label={label}" for label in self.labels]
        # otherwise, docker would copy the content and owner of the image's directory to an empty volume every time
        words += ["volume-nocopy"] if kind == "volume" else []
        words += ["readonly"] if self.readonly else []
        return ",".join('"' + w.replace('"', '""') + '"' if re.search(r'[",\n]', w) else w for w in words)


@dataclass(frozen=True)
class Container:
    """A container that runs one command and is then removed.

    `env`: variables that anyone may see. `private`: variables with values that must never be in an argv; they are
    passed in docker's own environment, so docker must not use variables of these names. `user`: `UID:GID`, empty for
    the image's user. `tty`: the container has a terminal; `stdin`: it reads our stdin.
    """

    name: str
    image: str
    argv: tuple[str, ...]
    mounts: tuple[Mount, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    private: Mapping[str, str] = field(default_factory=dict, repr=False)
    user: str = ""
    network: str = ""
    tty: bool = False
    stdin: bool = False
    labels: tuple[str, ...] = ()


def run_container(cwd: Path, container: Container) -> Command:
    """Run a container with our streams. An init process forwards signals and reaps children. Pulls nothing."""
    flags = ["--rm", "--init", "--pull", "never", "--name", container.name]
    flags += ["--user", container.user] if container.user else []
    flags += ["--network", container.network] if container.network else []
    flags += [part for label in container.labels for part in ("--label", label)]
    flags += ["--interactive"] if container.stdin else []
    flags += ["--tty"] if container.tty else []
    flags += [part for mount in container.mounts for part in ("--mount", mount.text)]
    flags += [part for name, value in container.env.items() for part in ("--env", f"{name}={value}")]
    flags += [part for name in container.private for part in ("--env", name)]
    program, *arguments = container.argv
    argv = ("run", *flags, "--entrypoint", program, container.image, *arguments)
    return docker(cwd, *argv, env=tuple(container.private.items()))


def files_of(cwd: Path, container: str) -> Command:
    """Write all files of a container to stdout, as a tar archive. Starts nothing."""
    return docker(cwd, "container", "export", container)


def start_check(cwd: Path, name: str, image: str, platform: str, program: str, emulator: Path | None) -> Command:
    """Start an image's program with `--version` and without a network, optionally under a mounted emulator."""
    how = ["run", "--name", name, "--network", "none", "--platform", platform]
    if emulator:
        how += ["--mount", f"type=bind,source={emulator},target=/run/emulator,readonly"]
    how += ["--entrypoint", "/run/emulator" if emulator else program]
    return docker(cwd, *how, image, *([program] if emulator else []), "--version")


def read_manifest(cwd: Path, image: str) -> Command:
    """Print the manifest that the compile step wrote into an image, with the image's own `cat`."""
    how = ("run", "--rm", "--network", "none", "--entrypoint", "cat", image)
    return docker(cwd, *how, "/usr/local/share/buildkit-tasks/manifest.json")


def image_configuration(cwd: Path, image: str) -> Command:
    """Print the id and environment of an image, as a JSON list. Exits with 1 if the image does not exist."""
    return ask(cwd, "image", "inspect", "--format", "[{{json .Id}},{{json .Config.Env}}]", image)


def image_tags(cwd: Path, repository: str) -> Command:
    """List every image of a repository, one `name:tag` per line."""
    return ask(cwd, "image", "ls", "--filter", f"reference={repository}", "--format", "{{.Repository}}:{{.Tag}}")


def volumes(cwd: Path, label: str) -> Command:
    """List the names of volumes with this label, one per line."""
    return ask(cwd, "volume", "ls", "--quiet", "--filter", f"label={label}")


def volume_sizes(cwd: Path) -> Command:
    """Print a JSON list of the engine's volumes with `Name`, `Size` (as printed by `docker system df`) and `Links`.

    The engine measures all volumes, images and caches to answer this.
    """
    return ask(cwd, "system", "df", "--verbose", "--format", "{{json .Volumes}}", patience=LISTING)


def network(cwd: Path, name: str) -> Command:
    """Check whether a network exists. Exits with 0 if it does."""
    return ask(cwd, "network", "inspect", "--format", "{{.Name}}", name)


def containers_named(cwd: Path, prefix: str) -> Command:
    """List the names of containers with this prefix, running or not, one per line."""
    return ask(cwd, "ps", "--all", "--filter", f"name=^/?{prefix}", "--format", "{{.Names}}")


def networks_named(cwd: Path, prefix: str) -> Command:
    """Print one line `[name]` per network with this prefix, as JSON."""
    return ask(cwd, "network", "ls", "--filter", f"name=^{prefix}", "--format", fields(".Name"))


def remove_containers(cwd: Path, names: Sequence[str]) -> Command:
    """Remove containers with their anonymous volumes, running or not."""
    return docker(cwd, "container", "rm", "--force", "--volumes", *names)


def remove_networks(cwd: Path, names: Sequence[str]) -> Command:
    """Remove networks."""
    return docker(cwd, "network", "rm", *names)
