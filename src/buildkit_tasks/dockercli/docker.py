"""The docker commands, except compose and buildx. Pure: arguments in, a `Command` out; nothing runs here.

Only this module, `docker_run`, `compose_cli` and `buildx` know docker's command line syntax. It is longer than other
modules because it has one small function per docker command.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from buildkit_tasks.core.model import Command

#: Enables BuildKit, even for clients and compose versions that default to the legacy builder.
BUILDKIT_ENV = (("DOCKER_BUILDKIT", "1"), ("COMPOSE_DOCKER_CLI_BUILD", "1"))


#: Timeouts of queries in seconds. An engine that is busy with images takes a few seconds to answer. Listing caches and
#: builders takes longer: it queries a builder's nodes, and there may be many thousands of records.
ANSWER, LISTING = 30.0, 60.0


def docker(cwd: Path, *args: str, env: Sequence[tuple[str, str]] = (), stdin: str | None = None) -> Command:
    """Return a docker command with BuildKit enabled in its environment."""
    litters = stdin is not None and any(word in ("bake", "build") for word in args[:2])
    return Command(("docker", *args), cwd, (*BUILDKIT_ENV, *env), stdin, litters=litters)


def ask(cwd: Path, *args: str, patience: float = ANSWER) -> Command:
    """Return a docker command that only queries. A timeout keeps a hung engine from blocking it forever."""
    return replace(docker(cwd, *args), patience=patience)


def info(cwd: Path) -> Command:
    """Show engine, driver and plugin versions in one round trip, as JSON on stdout. Errors are part of the document."""
    return ask(cwd, "info", "--format", "{{json .}}")


def image_ids(cwd: Path, images: Iterable[str]) -> Command:
    """Print one line `[references] id os/architecture` per existing image (a missing image is not an error).

    For a multi-platform image, the engine reports its own platform.
    """
    return ask(cwd, "image", "inspect", "--format", "{{json .RepoTags}} {{.Id}} {{.Os}}/{{.Architecture}}", *images)


def create_container(cwd: Path, name: str, image: str, platform: str, *argv: str) -> Command:
    """Create a container without starting it, from the local image for exactly this platform. Pulls nothing."""
    how = ("--pull", "never", "--platform", platform, "--network", "none", "--name", name)
    return docker(cwd, "container", "create", *how, image, *argv)


def container_program(cwd: Path, name: str) -> Command:
    """Print the program of a container, without its arguments."""
    return ask(cwd, "container", "inspect", "--format", "{{.Path}}", name)


def copy_out(cwd: Path, name: str, path: str, target: Path) -> Command:
    """Copy a file out of a container, running or not. Follows symlinks inside it."""
    return docker(cwd, "container", "cp", "--follow-link", f"{name}:{path}", str(target))


def context_host(cwd: Path) -> Command:
    """Print the engine address of the current context. Does not contact the engine."""
    return ask(cwd, "context", "inspect", "--format", "{{.Endpoints.docker.Host}}")


def context_storage(cwd: Path) -> Command:
    """Print the directory with the certificates of the current context, as a JSON string."""
    return ask(cwd, "context", "inspect", "--format", "{{json .Storage.TLSPath}}")


def fields(*expressions: str) -> str:
    """Return a format that prints a JSON list per line: a label of a container may contain any character."""
    return "[" + ",".join(f"{{{{json {expression}}}}}" for expression in expressions) + "]"


def _label(name: str) -> str:
    return f'(.Label "com.docker.compose.{name}")'


def project_volumes(cwd: Path, project: str) -> Command:
    """List the names of a compose project's volumes, one per line."""
    label = f"label=com.docker.compose.project={project}"
    return ask(cwd, "volume", "ls", "--quiet", "--filter", label)


def project_networks(cwd: Path, project: str) -> Command:
    """Print one line `[name]` per network of a compose project, as JSON. The name may contain any character."""
    label = f"label=com.docker.compose.project={project}"
    return ask(cwd, "network", "ls", "--format", fields(".Name"), "--filter", label)


def project_images(cwd: Path, project: str) -> Command:
    """Print one line `id name size` per image built for a compose project, regardless of its current name."""
    label = f"label=com.docker.compose.project={project}"
    form = "{{.ID}} {{.Repository}}:{{.Tag}} {{.Size}}"
    return ask(cwd, "image", "ls", "--no-trunc", "--filter", label, "--format", form)


def remove_volumes(cwd: Path, names: Iterable[str]) -> Command:
    """Remove volumes by name, including their data."""
    return docker(cwd, "volume", "rm", *names)


def stop_containers(cwd: Path, names: Iterable[str]) -> Command:
    """Stop containers with the stop signal of their images."""
    return docker(cwd, "container", "stop", *names)


def container_facts(cwd: Path, names: Iterable[str]) -> Command:
    """Print one line `[name, image, project, directory]` per container, as JSON."""
    labels = (f'(index .Config.Labels "com.docker.compose.{name}")' for name in ("project", "project.working_dir"))
    return ask(cwd, "container", "inspect", "--format", fields(".Name", ".Config.Image", *labels), *names)


def project_containers(cwd: Path, project: str) -> Command:
    """Print one line `[name, service]` per container of a compose project, as JSON, regardless of its compose files."""
    label = f"label=com.docker.compose.project={project}"
    return ask(cwd, "ps", "--all", "--filter", label, "--format", fields(".Names", _label("service")))


def service_containers(cwd: Path, project: str) -> Command:
    """Print one line `[id, name, state, service, image]` per container of a project, as JSON; no one-off containers.

    The image is the id that compose compares with the service's current image.
    """
    chosen = [f"label=com.docker.compose.{name}" for name in (f"project={project}", "oneoff=False")]
    how = [part for label in chosen for part in ("--filter", label)]
    form = fields(".ID", ".Names", ".State", _label("service"), _label("image"))
    return docker(cwd, "ps", "--all", "--no-trunc", *how, "--format", form)


def unpack_into(cwd: Path, name: str) -> Command:
    """Unpack a tar archive from stdin into a container's root directory, with the owners in the archive."""
    return docker(cwd, "container", "cp", "--archive", "-", f"{name}:/")


def remove_inside(cwd: Path, name: str, paths: Iterable[str]) -> Command:
    """Delete paths in a running container with its own `rm`."""
    return docker(cwd, "container", "exec", "--user", "0", name, "rm", "-rf", "--", *paths)


def running(cwd: Path) -> Command:
    """Print one line `[name, directory]` per running container, with its compose project's directory, as JSON."""
    return ask(cwd, "ps", "--format", fields(".Names", _label("project.working_dir")))


def publishing(cwd: Path, port: int, protocol: str = "tcp") -> Command:
    """List the names of running containers that publish a host port."""
    return ask(cwd, "ps", "--filter", f"publish={port}/{protocol}", "--format", "{{.Names}}")


def dangling_images(cwd: Path, project: str) -> Command:
    """Print one line `id size` per untagged image of a compose project, with a human-readable size."""
    how = ("--filter", "dangling=true", "--filter", f"label=com.docker.compose.project={project}")
    return ask(cwd, "image", "ls", *how, "--no-trunc", "--format", "{{.ID}} {{.Size}}")


def remove_images(cwd: Path, ids: Iterable[str]) -> Command:
    """Remove images by id."""
    return docker(cwd, "image", "rm", *ids)


def registry_mirrors(cwd: Path) -> Command:
    """Print the registry mirrors configured in the engine, as a JSON list or `null`."""
    return ask(cwd, "info", "--format", "{{json .RegistryConfig.Mirrors}}")


def save_image(cwd: Path, image: str, archive: Path) -> Command:
    """Save an image, with all its platforms in the engine, as an OCI archive."""
    return docker(cwd, "image", "save", "--output", str(archive), image)


def save_images(cwd: Path, images: Iterable[str]) -> Command:
    """Write images as one tar archive to stdout: an OCI layout since Docker 25. Shared layers occur only once."""
    return docker(cwd, "image", "save", *images)


def image_id(cwd: Path, images: Iterable[str]) -> Command:
    """Print one line `id os/architecture` per existing image, in order; reports missing images on stderr."""
    return ask(cwd, "image", "inspect", "--format", "{{.Id}} {{.Os}}/{{.Architecture}}", *images)


def remove_container(cwd: Path, name: str) -> Command:
    """Remove a container, running or not, and its anonymous volumes."""
    return docker(cwd, "container", "rm", "--force", "--volumes", name)


def image_details(cwd: Path, images: Iterable[str]) -> Command:
    """Print one JSON list per existing image: names, id, bytes, labels (or null)."""
    form = "[{{json .RepoTags}},{{json .Id}},{{.Size}},{{json .Config.Labels}}]"
    return ask(cwd, "image", "inspect", "--format", form, *images)


#: A minimal build that requires BuildKit (the legacy builder does not know BUILDPLATFORM) and leaves nothing behind.
PROBE = "FROM --platform=$BUILDPLATFORM scratch\nENV BUILDKIT_TASKS=probe\n"


def probe_build(cwd: Path) -> Command:
    """Run the smallest possible BuildKit build: no registry, no context, no image, and a tar on stdout."""
    return docker(cwd, "build", "--output", "-", "-", stdin=PROBE)


#: Names of variables that docker, its plugins or Go use: arguments of these names must not be in its environment.
_MEANS_SOMETHING = re.compile(
    r"PATH|HOME|TMPDIR|NO_COLOR|LANG|USER|TERM|IFS|ENV|BASH_ENV|PWD|OLDPWD|SHELL|(?:DOCKER|BUILDX|BUILDKIT|COMPOSE|XDG|SSL|SSH|LC|LD|GO|OTEL|GIT)\w*",
    re.IGNORECASE,
)


def build_arguments(target: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Return a target's build arguments, as flags and as variables for docker's environment.

    docker takes the value of `--build-arg NAME` from its environment, which other users of the machine cannot read.
    """
    args = target.get("args", {}).items()
    variables = tuple((n, v) for n, v in args if re.fullmatch(r"[A-Za-z_]\w*", n) and not _MEANS_SOMETHING.fullmatch(n))
    hidden = {name for name, _ in variables}
    flags = [part for n, v in args for part in ("--build-arg", n if n in hidden else f"{n}={v}")]
    return tuple(flags), variables


def build_flags(target: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a bake target's keys, except arguments, context and Dockerfile, as flags of `docker build`."""
    flags: list[str] = []
    for key, flag in (("labels", "--label"), ("contexts", "--build-context")):
        flags += [part for name, value in target.get(key, {}).items() for part in (flag, f"{name}={value}")]
    for name, addresses in target.get("extra-hosts", {}).items():
        flags += [part for address in addresses.split(",") for part in ("--add-host", f"{name}:{address}")]
    lists = {
        "tags": "--tag",
        "secret": "--secret",
        "ssh": "--ssh",
        "cache-from": "--cache-from",
        "cache-to": "--cache-to",
        "no-cache-filter": "--no-cache-filter",
        "ulimits": "--ulimit",
        "entitlements": "--allow",
        "attest": "--attest",
        "output": "--output",
    }
    for key, flag in lists.items():
        flags += [part for value in target.get(key, ()) for part in (flag, value)]
    for key, flag in (("target", "--target"), ("network", "--network"), ("shm-size", "--shm-size")):
        flags += [flag, target[key]] if target.get(key) else []
    if target.get("platforms"):
        flags += ["--platform", ",".join(target["platforms"])]
    return (*flags, *(flag for key, flag in (("pull", "--pull"), ("no-cache", "--no-cache")) if target.get(key)))


def build_one(
    cwd: Path,
    context: str | Path,
    target: Mapping[str, Any],
    dockerfile: str | Path,
    *,
    buildkit: bool,
) -> Command:
    """Build one bake target with `docker build`, from a Dockerfile or its text, for engines or clients without bake.

    All output goes to stderr, because the legacy builder would write its steps to stdout.
    """
    dropped = {"output", "contexts", "entitlements", "attest", "cache-to", "no-cache-filter"}
    dropped |= set() if buildkit else {"secret", "ssh"}
    plain = ("--progress", "plain") if buildkit else ()
    kept = {key: value for key, value in target.items() if key not in dropped}
    arguments, variables = build_arguments(kept)
    flags = (*arguments, *build_flags(kept))
    built = docker(
        cwd,
        *("build", *plain, "--file", str(dockerfile) if isinstance(dockerfile, Path) else "-", *flags, str(context)),
        env=(*variables, *(() if buildkit else (("DOCKER_BUILDKIT", "0"),))),
        stdin=None if isinstance(dockerfile, Path) else dockerfile,
    )
    hidden = tuple(v for n, v in kept.get("args", {}).items() if n.lower().endswith("_proxy") and "@" in v)
    argv = ("sh", "-c", 'exec "$@" 1>&2', "sh", *built.argv)
    return replace(built, argv=argv, secrets=hidden)


def client_version(cwd: Path) -> Command:
    """Print the version of the docker command itself. Does not contact the engine."""
    return ask(cwd, "version", "--format", "{{.Client.Version}}")


def context_use(cwd: Path, name: str) -> Command:
    """Make a context the current context."""
    return docker(cwd, "context", "use", name)


def server_components(cwd: Path) -> Command:
    """Print the names of the engine's components as JSON, which differ between Docker and podman."""
    return ask(cwd, "version", "--format", "{{json .Server.Components}}")


def git(cwd: Path, *args: str) -> Command:
    """Return a git command. It is here because it is used together with docker commands."""
    return Command(("git", *args), cwd, patience=LISTING)  # git waits forever if .gitignore is a FIFO


def disk_usage(cwd: Path) -> Command:
    """Print the bytes used by images, containers, volumes and build cache, one JSON object per line."""
    return docker(cwd, "system", "df", "--format", "json")


def tag_image(cwd: Path, image: str, name: str) -> Command:
    """Tag an image with another name."""
    return docker(cwd, "image", "tag", image, name)


def push_image(cwd: Path, image: str) -> Command:
    """Push an image to the registry in its name."""
    return docker(cwd, "image", "push", "--quiet", image)


def login(cwd: Path, host: str, user: str, password: str) -> Command:
    """Log in to a registry. The password is never on a command line."""
    words = docker(cwd, "login", "--username", user, "--password-stdin", host, stdin=password)
    return replace(words, secrets=(password,))


def pull_image(cwd: Path, image: str) -> Command:
    """Pull an image into the engine's store."""
    return docker(cwd, "image", "pull", "--quiet", image)


def cosign_verify(cwd: Path, key: str, image: str) -> Command:
    """Check an image's signature with a public key. Exits with 0 if it matches."""
    return Command(("cosign", "verify", "--key", key, image), cwd)


def container_image(cwd: Path, container: str) -> Command:
    """Print the id of the image that a container was created from."""
    return ask(cwd, "container", "inspect", "--format", "{{.Image}}", container)
