"""Determines how this engine and docker command can build, and generates Dockerfiles for the lower tiers. Pure.

full: one bake solve. each: BuildKit without bake, one `docker build` per service. legacy: the legacy builder, which
rejects `RUN --mount` (rather than ignoring it), so a generated Dockerfile caches dependencies in a layer instead.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Engine, Version
from buildkit_tasks.dockerfiles import stages as dockerfile_stages
from buildkit_tasks.dockerfiles import syntax
from buildkit_tasks.dockerfiles.document import lookup_name
from buildkit_tasks.dockerfiles.syntax import Instruction
from buildkit_tasks.engine.facts import MINIMUM, dotted

#: The first engine with optional BuildKit: https://docs.docker.com/engine/release-notes/18.09/
BUILDKIT_SINCE: Version = (18, 9)

#: Since this version, the docker command has no BuildKit client: https://docs.docker.com/engine/release-notes/23.0/
PLUGIN_SINCE: Version = (23,)

#: The marker in a stub source; a program that contains it was built from a stub.
STUB = "buildkit-tasks-stub-of-a-program"

#: The hint of every problem that does not occur with BuildKit.
GET_BUILDKIT = "run `invoke engine.install`, or set builders.name = auto (if it is set to legacy)"

#: The image from which the generated Dockerfile copies manifests, stub sources and, with consent, the CA.
PREPARED = "localhost/buildkit-tasks/legacy"


@dataclass(frozen=True)
class Tier:
    """A way to build: `name` is full, each or legacy; `reason` and `remedy` are shown to the user."""

    name: str
    reason: str = ""
    remedy: str = ""

    @property
    def sentence(self) -> str:
        """The line printed by a build on a lower tier."""
        how = {
            "each": "service by service, with BuildKit's cache mounts",
            "legacy": "without BuildKit (dependencies are cached in a layer, and your code is compiled from scratch)",
        }
        return f"building {how[self.name]}: {self.reason}. {self.remedy}".rstrip()


def choose(engine: Engine, client: Version, builder: str, *, podman: bool = False) -> Tier:
    """Return the best tier for an engine, a docker command (its version, () = unknown) and the builders.name setting.

    An inherited DOCKER_BUILDKIT=0 has no effect, because our commands override it.
    """
    faster = "For faster builds, run `invoke engine.install`"
    if podman:
        return Tier("legacy", f"the engine is podman {dotted(engine.version)}", faster)
    if builder == "legacy":
        return Tier("legacy", "builders.name is set to legacy", "For faster builds, set builders.name = auto")
    if engine.version < BUILDKIT_SINCE:
        return Tier("legacy", f"Docker Engine {dotted(engine.version)} does not include BuildKit", faster)
    if not engine.buildx and client >= PLUGIN_SINCE:
        return Tier("legacy", f"the docker command {dotted(client)} needs the buildx plugin to use BuildKit", faster)
    if not engine.buildx:
        return Tier("each", "no buildx plugin is installed", faster)
    if engine.buildx < MINIMUM["buildx"]:
        return Tier("each", f"buildx {dotted(engine.buildx)} is older than {dotted(MINIMUM['buildx'])}", faster)
    if engine.version < MINIMUM["engine"]:
        found, wanted = dotted(engine.version), dotted(MINIMUM["engine"])
        return Tier("each", f"Docker Engine {found} is older than {wanted}", faster)
    return Tier("full")


# ---- Dockerfiles


def portable(text: str, args: Mapping[str, str], images: Mapping[str, str]) -> str:
    """Convert the Dockerfile for an old BuildKit: replace base images and expand variables in mount options.

    Old clients have no named contexts, and old frontends expand variables in only a few mount options.
    """
    values = {**syntax.defaults(text), **args}
    use = {lookup_name(name): image for name, image in images.items()}
    stages = {stage.name for stage in dockerfile_stages.stages(text, args)}
    escape = re.search(r"\A\ufeff?(?:[ \t]*#[^\n]*\n)*?[ \t]*#\s*escape\s*=\s*`", text, re.IGNORECASE)
    out = ["# escape=`"] if escape else []
    for item in syntax.instructions(text):
        rest = item.rest
        if item.keyword == "FROM":
            rest = _from(rest, values, images)
        elif item.keyword == "COPY":
            named = syntax.flags(item)[0].get("from", "")
            if named.lower() not in stages and lookup_name(syntax.expand(named, values)) in use:
                rest = rest.replace(f"--from={named}", f"--from={use[lookup_name(syntax.expand(named, values))]}", 1)
        elif item.keyword == "RUN":
            rest = re.sub(r"--mount=\S+", lambda m: _mount(m[0], values), rest)
        out.append(_written(item, rest))
    return "\n".join(out) + "\n"


def _mount(option: str, values: Mapping[str, str]) -> str:
    """Expand variables with a known value. `${CARGO_HOME}`, which the image sets, is kept."""
    return syntax.expand(option, values, keep=True)


def _from(rest: str, values: Mapping[str, str], images: Mapping[str, str]) -> str:
    words = rest.split()
    at = next(i for i, w in enumerate(words) if not w.startswith("--"))
    reference = lookup_name(syntax.expand(syntax.unquoted(words[at]), values))
    use = {lookup_name(name): image for name, image in images.items()}
    if reference in use:
        words[at] = use[reference]
    return " ".join(words)


def _written(item: Instruction, rest: str) -> str:
    """Return the instruction on one line, or unchanged if it has a here-document."""
    if item.body or (len(item.parts) > 1 and rest == item.rest):
        return "\n".join(part for _, part in item.parts)
    return f"{item.keyword} {rest}"


@dataclass(frozen=True)
class LegacyBuild:
    """The inputs of the generated compile stage.

    `source`: directory of the cargo workspace in the context. `binaries`: programs to build. `members`: names of the
    workspace's packages. `profile`: cargo profile. `prepared`: the image with manifests. `ca`: whether that image
    contains the CA. `out`: where the last stage expects the program directories.
    """

    source: str
    binaries: tuple[str, ...]
    members: tuple[str, ...]
    profile: str
    prepared: str
    out: str = "/out"
    ca: bool = False


def legacy(text: str, args: Mapping[str, str], images: Mapping[str, str], build: LegacyBuild) -> str:
    """Return a Dockerfile without `--mount` for the same images. It copies manifests and stubs first, then the code.

    Replaces the step with the cache mounts, drops the step that compiles the compile program, and keeps everything
    else. Raises `Problem` build-failed for features that need BuildKit.
    """
    values = {**syntax.defaults(text), **args}
    out: list[str] = ["# Generated by buildkit-tasks for a builder without BuildKit; changes will be overwritten."]
    replaced = False
    for item in syntax.instructions(text):
        mounts = re.findall(r"--mount=(\S+)", item.rest) if item.keyword == "RUN" else []
        if item.keyword == "FROM":
            words = _from(item.rest, values, images).split()
            out.append("FROM " + " ".join(w for w in words if not w.startswith("--platform")))
        elif any("type=cache" in m for m in mounts):
            if not replaced:
                out += compile_steps(build)
            replaced = True
        elif mounts and re.search(r"\bdocker/(?:compile\.rs|cross\.sh)\b", item.rest):
            continue
        elif mounts or item.body or re.match(r"--(link|parents|exclude)\b", item.rest):
            raise Problem(
                "build-failed",
                f"Line {item.line} of the Dockerfile needs BuildKit, but this build runs without it.",
                causes=[f"{item.keyword} {item.rest[:80]}"],
                hint=GET_BUILDKIT,
            )
        else:
            out.append(_written(item, item.rest))
    if not replaced:
        raise Problem(
            "build-failed",
            "The Dockerfile has no step with a cache mount, so it cannot be converted for a builder without BuildKit.",
            hint=f"{GET_BUILDKIT}, or use the Dockerfile in docs/how-to/adopt.md",
        )
    return "\n".join(out) + "\n"


def compile_steps(build: LegacyBuild) -> list[str]:
    """Return the steps that replace the step with cache mounts. Uses POSIX sh and none of BuildKit's own arguments.

    Stubs never ship. After the dependencies are built, cargo's records of all workspace packages are deleted and all
    sources are touched. The build also fails if a program contains the stub's marker.
    """
    source = f"/src/{build.source}".rstrip("/.")
    folder = {"dev": "debug", "test": "debug", "bench": "release"}.get(build.profile, build.profile)
    profile = shlex.quote(build.profile)
    # cargo keeps a directory NAME-HASH (16 digits) for each unit; if it is missing, cargo rebuilds the unit
    marks = " -o ".join(f"-name {shlex.quote(m + '-' + '?' * 16)}" for m in build.members)
    copies = [
        f"mkdir -p {build.out}/{b}/bin && cp {source}/target/{folder}/{b} {build.out}/{b}/bin/service"
        + (f" && ln -sf service {build.out}/{b}/bin/{b}" if b != "service" else "")
        for b in build.binaries
    ]
    bins = " ".join(f"--bin {shlex.quote(b)}" for b in build.binaries)
    cargo = f"cargo build --frozen --profile {profile}"
    return [
        *([f"COPY --from={build.prepared} /ca.pem /etc/ssl/certs/ca-certificates.crt"] if build.ca else []),
        f"COPY --from={build.prepared} /manifests/ {source}/",
        f"WORKDIR {source}",
        "RUN cargo fetch --locked",
        f"RUN ({cargo} --workspace --bins || echo 'buildkit-tasks: dependencies could not be built in advance') "
        f"&& find target -depth -type d -path '*/.fingerprint/*' \\( {marks} \\) -exec rm -rf {{}} +",
        "COPY . /src/",
        "RUN find . -path ./target -prune -o -type f -exec touch -c {} + "
        f"&& {cargo} {bins} && {' && '.join(copies)} "
        f"&& if grep -rl {STUB} {build.out}; then echo 'buildkit-tasks: a stub was built' >&2; exit 1; fi",
    ]


# ---- stub sources


def stubs(manifest: Mapping[str, object], files: Iterable[str]) -> dict[str, str]:
    """Return the stub sources of a package by path: the minimum that cargo requires to accept the manifest.

    `files` are the package's real files (relative, with /), from which cargo infers its targets.
    """
    found: dict[str, str] = {}
    for path in files:
        if re.fullmatch(r"src/main\.rs|src/bin/[^/]+(?:\.rs|/main\.rs)", path):
            found[path] = _PROGRAM
        elif path == "src/lib.rs":
            found[path] = ""
        elif path == "build.rs":
            found[path] = "fn main() {}\n"
    for kind in ("lib", "bin", "example", "test", "bench"):
        entries = manifest.get(kind) or ()
        for entry in [entries] if isinstance(entries, Mapping) else entries if isinstance(entries, Sequence) else ():
            if isinstance(entry, Mapping) and isinstance(entry.get("path"), str):
                found[str(entry["path"])] = "" if kind == "lib" else _PROGRAM
    package = manifest.get("package")
    script = package.get("build") if isinstance(package, Mapping) else None
    if isinstance(script, str):
        found[script] = "fn main() {}\n"
    if isinstance(package, Mapping) and not any(p.startswith("src/") or v for p, v in found.items()):
        found["src/lib.rs"] = ""
    return found


_PROGRAM = f'#[used]\nstatic STUB: [u8; {len(STUB)}] = *b"{STUB}";\nfn main() {{}}\n'
