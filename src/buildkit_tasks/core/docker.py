"""The only place that spells docker. Pure functions: arguments in, a `Command` out; nothing is run here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .model import Command

#: BuildKit on, also for clients and compose versions that would default to the legacy builder.
BUILDKIT_ENV = (("DOCKER_BUILDKIT", "1"), ("COMPOSE_DOCKER_CLI_BUILD", "1"))

# Attestations carry build times: with them an unchanged image would get a new digest at every build.
NO_ATTESTATIONS = ("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")

# From 0.20 on buildx may refuse to read or write outside the working directory for a bake file. That guards against
# definitions of others; ours is made here, of what the compose file says.
# https://docs.docker.com/reference/cli/docker/buildx/bake/#allow
NO_ENTITLEMENTS = ("BUILDX_BAKE_ENTITLEMENTS_FS", "0")


def docker(cwd: Path, *args: str, env: Sequence[tuple[str, str]] = (), stdin: str | None = None) -> Command:
    """Any docker command with BuildKit switched on in its environment."""
    return Command(("docker", *args), cwd, (*BUILDKIT_ENV, *env), stdin)


def compose(cwd: Path, files: Iterable[Path], *args: str) -> Command:
    """A compose command on these files; none = what compose finds by itself."""
    return docker(cwd, "compose", *[part for f in files for part in ("-f", str(f))], *args)


def compose_config(cwd: Path, files: Iterable[Path], *, profiles: Sequence[str] = (), link: bool = False) -> Command:
    """The resolved compose model as JSON on stdout. A profile `*` is all; `link`: `cwd` is one, and gives the name."""
    found = compose(cwd, files, *(f"--profile={name}" for name in profiles), "config", "--format", "json")
    return replace(found, env=(*found.env, ("PWD", str(cwd)))) if link else found


def compose_yaml(cwd: Path, files: Iterable[Path], *, profiles: Sequence[str] = ()) -> Command:
    """The resolved compose model as YAML: unlike its JSON it holds the extensions."""
    return compose(cwd, files, *(f"--profile={name}" for name in profiles), "config")


def compose_services(cwd: Path, files: Iterable[Path]) -> Command:
    """The names of the active services, one a line; compose needs no env file of theirs for that."""
    return compose(cwd, files, "config", "--services")


def compose_environment(cwd: Path, files: Iterable[Path]) -> Command:
    """The variables that compose fills in, `NAME=value` lines (compose >= 2.31)."""
    return compose(cwd, files, "config", "--environment")


def read_model(text: str, *, yaml: bool = False) -> dict[str, Any]:
    """What `compose config` printed. It doubles every `$`, so that compose could read it again: undone here, once."""
    text = text.replace("$$", "$")
    if yaml:
        from ruamel.yaml import YAML  # late: needed for the few models that JSON cannot hold

        return dict(YAML(typ="safe", pure=True).load(text))
    return dict(json.loads(text))


def for_compose(content: Any) -> str:
    """A compose file of ours as JSON, which is YAML: compose would take a `$` for one of its variables."""
    return json.dumps(content, indent=2).replace("$", "$$")


def for_bake(definition: Any) -> str:
    """A bake file that means what it says: to bake every text, names too, is a template with variables and functions.

    https://github.com/hashicorp/hcl/blob/main/json/spec.md#expressions
    """
    return json.dumps(definition).replace("${", "$${").replace("%{", "%%{")


def info(cwd: Path) -> Command:
    """Engine, driver and plugin versions in one round trip, as JSON on stdout; errors inside the document."""
    return docker(cwd, "info", "--format", "{{json .}}")


def bake(cwd: Path, definition: Mapping[str, Any], metadata: Path, *, builder: str = "") -> Command:
    """One solve for all targets of a definition; progress as JSON on stderr (buildx >= 0.13)."""
    asked = (name for target in definition["target"].values() for name in target.get("entitlements", ()))
    return docker(
        cwd,
        *("buildx", "bake", *_builder(builder), "--file", "-", "--progress", "rawjson"),
        *("--metadata-file", str(metadata)),
        # what the compose file asks for is granted, as compose does
        *(f"--allow={name}" for name in dict.fromkeys(asked)),
        env=(NO_ATTESTATIONS, NO_ENTITLEMENTS),
        stdin=for_bake(definition),
    )


def bake_print(cwd: Path, definition: Mapping[str, Any]) -> Command:
    """The definition as this buildx understands it: an older one drops the keys it does not know."""
    return docker(cwd, "buildx", "bake", "--file", "-", "--print", stdin=for_bake(definition))


def build_target(cwd: Path, target: Mapping[str, Any], metadata: Path, *, builder: str = "") -> Command:
    """One bake target as a `docker buildx build`, for what an older bake drops; progress as `bake` gives it."""
    inline = "dockerfile-inline" in target
    file = () if "dockerfile" not in target else ("--file", str(target["dockerfile"]))
    return docker(
        cwd,
        *("buildx", "build", *_builder(builder), "--progress", "rawjson", "--metadata-file", str(metadata)),
        *(("--file", "-") if inline else file),
        *build_flags(target),
        str(target["context"]),
        env=(NO_ATTESTATIONS, NO_ENTITLEMENTS),
        stdin=target["dockerfile-inline"] if inline else None,
    )


def build_flags(target: Mapping[str, Any]) -> tuple[str, ...]:
    """A bake target's keys as flags of a build, all but context and Dockerfile."""
    flags: list[str] = []
    for key, flag in (("args", "--build-arg"), ("labels", "--label"), ("contexts", "--build-context")):
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


def image_ids(cwd: Path, images: Iterable[str]) -> Command:
    """`[references] id system/processor` per line for those images that are there (a missing one is no error).

    Of an image for several platforms the engine names its own.
    """
    return docker(cwd, "image", "inspect", "--format", "{{json .RepoTags}} {{.Id}} {{.Os}}/{{.Architecture}}", *images)


def create_container(cwd: Path, name: str, image: str, platform: str, *argv: str) -> Command:
    """A container that is not started, of the image that the engine has for just this platform; nothing is pulled."""
    how = ("--pull", "never", "--platform", platform, "--network", "none", "--name", name)
    return docker(cwd, "container", "create", *how, image, *argv)


def container_program(cwd: Path, name: str) -> Command:
    """The program that a container runs, without its arguments."""
    return docker(cwd, "container", "inspect", "--format", "{{.Path}}", name)


def copy_out(cwd: Path, name: str, path: str, target: Path) -> Command:
    """Copy a file out of a container, started or not; links are followed inside it."""
    return docker(cwd, "container", "cp", "--follow-link", f"{name}:{path}", str(target))


# ---- engine and base images ----


def context_host(cwd: Path) -> Command:
    """The address of the engine that the context in force points to; needs no engine."""
    return docker(cwd, "context", "inspect", "--format", "{{.Endpoints.docker.Host}}")


def context_storage(cwd: Path) -> Command:
    """Where the context in force keeps its certificates, as a JSON string."""
    return docker(cwd, "context", "inspect", "--format", "{{json .Storage.TLSPath}}")


def up(
    cwd: Path, files: Iterable[Path], services: Sequence[str], *, recreate: bool = False, orphans: bool = False
) -> Command:
    """Start what is built, in dependency order; compose itself waits for `depends_on: condition`.

    `orphans`: remove containers of services that the compose files no longer have.
    """
    how = [*("--force-recreate" for _ in range(recreate)), *("--remove-orphans" for _ in range(orphans))]
    return compose(cwd, files, "up", "--detach", "--no-build", "--quiet-pull", *how, *services)


def containers(cwd: Path, files: Iterable[Path]) -> Command:
    """The project's containers, stopped ones too; JSON objects, one a line (compose >= 2.21) or one array."""
    return compose(cwd, files, "ps", "--all", "--format", "json")


def logs(
    cwd: Path,
    files: Iterable[Path],
    services: Sequence[str],
    *,
    tail: str = "all",
    follow: bool = False,
    since: str = "",
) -> Command:
    """Log lines of services; `since` is a time or a duration such as 10m."""
    how = ("logs", "--tail", tail, *(("--follow",) if follow else ()), *(("--since", since) if since else ()))
    return compose(cwd, files, *how, *services)


def down(cwd: Path, files: Iterable[Path], *, volumes: bool = False, orphans: bool = False) -> Command:
    """Stop and remove the project's containers and networks; volumes and orphans only when asked."""
    how = [*("--volumes" for _ in range(volumes)), *("--remove-orphans" for _ in range(orphans))]
    return compose(cwd, files, "down", *how)


def project_containers(cwd: Path, project: str) -> Command:
    """`name service` a line: all containers of a compose project, whatever the compose files say now."""
    form = '{{.Names}} {{.Label "com.docker.compose.service"}}'
    label = f"label=com.docker.compose.project={project}"
    return docker(cwd, "ps", "--all", "--filter", label, "--format", form)


def restart(cwd: Path, files: Iterable[Path], services: Sequence[str]) -> Command:
    """Restart running containers."""
    return compose(cwd, files, "restart", *services)


def execute(cwd: Path, files: Iterable[Path], service: str, argv: Sequence[str], *, tty: bool) -> Command:
    """Run a program inside a running service."""
    return compose(cwd, files, "exec", *(() if tty else ("--no-TTY",)), service, *argv)


def raw_config(cwd: Path, files: Iterable[Path]) -> Command:
    """The compose model with its variables unresolved, to learn which variable gives a value."""
    return compose(cwd, files, "config", "--no-interpolate", "--format", "json")


def publishing(cwd: Path, port: int, protocol: str = "tcp") -> Command:
    """Names of running containers that publish a host port."""
    return docker(cwd, "ps", "--filter", f"publish={port}/{protocol}", "--format", "{{.Names}}")


def dangling_images(cwd: Path, project: str) -> Command:
    """Untagged images of one compose project: `id size` a line, size for people."""
    how = ("--filter", "dangling=true", "--filter", f"label=com.docker.compose.project={project}")
    return docker(cwd, "image", "ls", *how, "--no-trunc", "--format", "{{.ID}} {{.Size}}")


def remove_images(cwd: Path, ids: Iterable[str]) -> Command:
    """Remove images by id."""
    return docker(cwd, "image", "rm", *ids)


def cache_records(cwd: Path, builder: str = "", *, as_json: bool = False) -> Command:
    """All build cache records of a builder (empty = the one in use): JSON lines (buildx >= 0.29), else paragraphs."""
    return docker(cwd, "buildx", "du", *_builder(builder), *(("--format", "json") if as_json else ("--verbose",)))


def remove_cache_record(cwd: Path, *identities: str, builder: str = "") -> Command:
    """Remove build cache records; the filter is a pattern in every buildx, so it is anchored. Not those in use."""
    pattern = identities[0] if len(identities) == 1 else f"({'|'.join(identities)})"
    return docker(cwd, "buildx", "prune", *_builder(builder), "--force", "--all", "--filter", f"id=^{pattern}$")


def remove_all_cache(cwd: Path, builder: str = "") -> Command:
    """Remove the whole build cache of a builder, of every project; not what running builds hold."""
    return docker(cwd, "buildx", "prune", *_builder(builder), "--force", "--all")


def registry_mirrors(cwd: Path) -> Command:
    """Registry mirrors that the engine itself is set to use, as a JSON list or `null`."""
    return docker(cwd, "info", "--format", "{{json .RegistryConfig.Mirrors}}")


def program_contains(cwd: Path, image: str, text: str) -> Command:
    """Exit code 0 when the program in an image contains a text; nothing is started but grep, without network."""
    how = ("run", "--rm", "--network", "none", "--entrypoint", "grep", image)
    return docker(cwd, *how, "-q", "-a", "-F", "-e", text, "/usr/local/bin/service")


def save_image(cwd: Path, image: str, archive: Path) -> Command:
    """Write an image, all platforms of it that the engine holds, into an OCI archive."""
    return docker(cwd, "image", "save", "--output", str(archive), image)


def start_check(cwd: Path, name: str, image: str, platform: str, program: str, emulator: Path | None) -> Command:
    """Start an image's program with `--version`, without a network; under an emulator, mounted, if one is given."""
    how = ["run", "--name", name, "--network", "none", "--platform", platform]
    if emulator:
        how += ["--mount", f"type=bind,source={emulator},target=/run/emulator,readonly"]
    how += ["--entrypoint", "/run/emulator" if emulator else program]
    return docker(cwd, *how, image, *([program] if emulator else []), "--version")


def remove_container(cwd: Path, name: str) -> Command:
    """Remove a container with its anonymous volumes, running or not."""
    return docker(cwd, "container", "rm", "--force", "--volumes", name)


def image_details(cwd: Path, images: Iterable[str]) -> Command:
    """A JSON list a line for those images that are there: names, id, bytes, labels (or null)."""
    form = "[{{json .RepoTags}},{{json .Id}},{{.Size}},{{json .Config.Labels}}]"
    return docker(cwd, "image", "inspect", "--format", form, *images)


# ---- shells, doctor, lesser tiers

#: A build that only BuildKit can do (the legacy builder knows no BUILDPLATFORM), of nothing, that leaves nothing.
PROBE = "FROM --platform=$BUILDPLATFORM scratch\nENV BUILDKIT_TASKS=probe\n"


def probe_build(cwd: Path) -> Command:
    """The smallest real BuildKit build: no registry, no context, no image left behind; a tar on stdout."""
    return docker(cwd, "build", "--output", "-", "-", stdin=PROBE)


def build_one(
    cwd: Path,
    context: str | Path,
    target: Mapping[str, Any],
    dockerfile: str | Path,
    *,
    buildkit: bool,
) -> Command:
    """One `docker build` of one bake target, the Dockerfile as a file or text, for engines or clients without bake.

    Everything it says comes on stderr: the legacy builder writes its steps to stdout.
    """
    dropped = {"output", "contexts", "entitlements", "attest", "cache-to", "no-cache-filter"}
    dropped |= set() if buildkit else {"secret", "ssh"}
    plain = ("--progress", "plain") if buildkit else ()
    flags = build_flags({key: value for key, value in target.items() if key not in dropped})
    built = docker(
        cwd,
        *("build", *plain, "--file", str(dockerfile) if isinstance(dockerfile, Path) else "-", *flags, str(context)),
        env=() if buildkit else (("DOCKER_BUILDKIT", "0"),),
        stdin=None if isinstance(dockerfile, Path) else dockerfile,
    )
    hidden = tuple(v for n, v in target.get("args", {}).items() if n.lower().endswith("_proxy") and "@" in v)
    return Command(("sh", "-c", 'exec "$@" 1>&2', "sh", *built.argv), cwd, built.env, built.stdin, hidden)


def client_version(cwd: Path) -> Command:
    """The version of the docker command itself; needs no engine."""
    return docker(cwd, "version", "--format", "{{.Client.Version}}")


def context_use(cwd: Path, name: str) -> Command:
    """Make a context the current one."""
    return docker(cwd, "context", "use", name)


def cache_total(cwd: Path) -> Command:
    """Size of the build cache: the last lines are totals."""
    return docker(cwd, "buildx", "du")


def server_components(cwd: Path) -> Command:
    """Names of the engine's parts as JSON: tells podman's engine from Docker's."""
    return docker(cwd, "version", "--format", "{{json .Server.Components}}")


def git(cwd: Path, *args: str) -> Command:
    """A git command; here because it is asked next to docker's."""
    return Command(("git", *args), cwd)


# ---- cache


def _builder(name: str) -> tuple[str, ...]:
    return ("--builder", name) if name else ()


def builder_details(cwd: Path, builder: str = "") -> Command:
    """Driver, BuildKit version and garbage collection rules of a builder, as `key: value` lines."""
    return docker(cwd, "buildx", "inspect", *((builder,) if builder else ()))


def disk_usage(cwd: Path) -> Command:
    """Bytes of images, containers, volumes and build cache of the engine, a JSON object a line."""
    return docker(cwd, "system", "df", "--format", "json")


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
    """A short build of a Dockerfile given as text, that opens cache mounts; `folder` is its context.

    `output` receives the files of its last stage; without it nothing is kept. `base` is a reference used in the
    Dockerfile and the one to take in its place. `namespace`: the set of mounts that is meant.
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


def tag_image(cwd: Path, image: str, name: str) -> Command:
    """Give an image another name."""
    return docker(cwd, "image", "tag", image, name)


def push_image(cwd: Path, image: str) -> Command:
    """Push an image to the registry in its name."""
    return docker(cwd, "image", "push", "--quiet", image)


def pull_image(cwd: Path, image: str) -> Command:
    """Pull an image into the engine's store."""
    return docker(cwd, "image", "pull", "--quiet", image)


def cosign_verify(cwd: Path, key: str, image: str) -> Command:
    """Exit code 0 when an image is signed with the private half of a public key."""
    return Command(("cosign", "verify", "--key", key, image), cwd)


def read_manifest(cwd: Path, image: str) -> Command:
    """What the compile step wrote down about the program in an image, on stdout; nothing of the image is trusted."""
    how = ("run", "--rm", "--network", "none", "--entrypoint", "cat", image)
    return docker(cwd, *how, "/usr/local/share/buildkit-tasks/manifest.json")


def container_image(cwd: Path, container: str) -> Command:
    """The id of the image that a container was made from."""
    return docker(cwd, "container", "inspect", "--format", "{{.Image}}", container)


# ---- builders


def builder_list(cwd: Path) -> Command:
    """All builders with their nodes, a JSON object a line; every node is asked, so a silent one costs seconds."""
    return docker(cwd, "buildx", "ls", "--format", "json")


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
    """Make a builder of one node, or give a builder another node; the daemon is not started and not asked."""
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
    """Take a node out of a builder."""
    return docker(cwd, "buildx", "create", "--name", name, "--node", node, "--leave")


def builder_start(cwd: Path, name: str) -> Command:
    """Like `builder_details`, of daemons that buildx starts where they do not run."""
    return docker(cwd, "buildx", "inspect", "--bootstrap", name)


def builder_remove(cwd: Path, name: str, *, keep_daemon: bool = False, keep_state: bool = False) -> Command:
    """Forget a builder; its daemons (never a remote one) and their caches go with it unless kept."""
    kept = (*(("--keep-daemon",) if keep_daemon else ()), *(("--keep-state",) if keep_state else ()))
    return docker(cwd, "buildx", "rm", "--force", *kept, name)


def builder_use(cwd: Path, name: str) -> Command:
    """Make a builder the one in use."""
    return docker(cwd, "buildx", "use", name)


def join_images(cwd: Path, name: str, digests: Iterable[str]) -> Command:
    """Make one manifest list, under a name in a registry, of images that are there."""
    return docker(cwd, "buildx", "imagetools", "create", "--tag", name, *digests)
