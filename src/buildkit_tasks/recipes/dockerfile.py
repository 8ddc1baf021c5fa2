"""Generate the Dockerfile of a workspace: our template plus what the repository needs. Text in, text out.

One file for all services, with a single compile step and a runtime stage for each kind of image.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from buildkit_tasks.existing import shipped
from buildkit_tasks.survey.finding import Finding, Note, Service, Workspace
from buildkit_tasks.survey.look import MARK
from buildkit_tasks.workspaces.tree import Tree

from . import (
    cargo_options,
    compiling,
    one_compilation,
    package_files,
    placed,
    prepared,
    runtime,
    stage_lines,
    stage_names,
    stages_text,
)
from .compiling import Kept
from .prepared import Prepared
from .stage_lines import Runtime

RUST, DEBIAN = cargo_options.RUST, "debian:bookworm-slim"


@dataclass(frozen=True)
class Derived:
    """A generated Dockerfile. `targets`: runtime stage of each service; `arguments`: service-specific build arguments;
    `context`: paths that images copy; `compiled`: paths that the old compile stages copied."""

    text: str
    targets: Mapping[str, str]
    arguments: Mapping[str, Mapping[str, str]]
    context: tuple[str, ...]
    compiled: tuple[str, ...]
    notes: tuple[Note, ...]
    ssh: bool = False


def derive(files: Tree, finding: Finding, workspace: Workspace, file: str) -> Derived:
    """Generate the Dockerfile `file` for the services of one workspace that are not adopted yet."""
    services = [s for s in finding.services if s.workspace == workspace.cargo.directory and not s.adopted]
    services = stage_names.apart(services, stages_text.lines)
    sources = "".join(files.text(p) for p in files.files if p.endswith(".rs") and _is_in(p, workspace))
    reads = frozenset(re.findall(r"\b[A-Z][A-Z0-9_]{2,}\b", sources)).__contains__
    own = workspace.cargo.binaries
    each = {
        s.name: compiling.read(s.recipe, s.context, reads, files.exists, shipped.compiling(s.recipe, own, s.binary))
        for s in services
        if s.recipe
    }
    before = prepared.shared({s.name: prepared.read(s, each[s.name], files.is_dir) for s in services if s.recipe})
    if before:
        each = {s.name: prepared.with_notes(each[s.name], before) for s in services if s.recipe}
    kept = compiling.join(list(each.values()))
    toolchain, notes = _toolchain(services)
    packages, unknown = one_compilation.packages(services, each, toolchain)
    kept = replace(
        kept, packages=tuple(packages), compile=cargo_options.without_empty_flags(files, workspace, kept.compile)
    )
    image = _runtime_image(services)
    stages = {
        s.name: runtime.derive(files, s, workspace.cargo.binaries, workspace.packages.run, image, before)
        for s in services
    }
    if not any(r.tools for r in stages.values()):
        # no image copies the programs installed with cargo: they are for the compilation, or for the stage `sources`
        kept = replace(kept, toolchain=(*kept.toolchain, *(() if before else kept.tools)), tools=())
    names = _stage_names(stages)
    also = tuple(dict.fromkeys(n for r in stages.values() for n in r.also))
    text = package_files.template()
    text = _head(text, file, toolchain, stages, image, services)
    text = _toolchain_stage(text, workspace, kept, toolchain, services)
    text = _compile_stage(text, workspace, kept, services, also, before)
    text = stages_text.append(text, stages, names, kept, any(r.tools for r in stages.values()), image)
    text = stages_text.insert(text, stages_text.side(services), kept, before)
    arguments, more = cargo_options.arguments(services, text)
    more += one_compilation.notes(services, each, workspace.cargo.binaries)
    more += cargo_options.selecting(services)
    more += prepared.unmet(services, files.is_dir) if before is None else []
    more += placed.displaced(services, files)
    context = [p for r in stages.values() for p in r.context]
    context += [p for s in services if s.recipe for p in stages_text.side_context(s)]
    ssh = any(p.source.startswith("git+ssh") for p in workspace.cargo.locked) or "type=ssh" in text
    ran = frozenset[str]().union(*(r.ran for r in stages.values()))
    left = [n for n in kept.notes if not (n.where in ran and n.text.startswith(compiling.LEFT))]
    found = [*notes, *unknown, *more, *left, *(n for r in stages.values() for n in r.notes)]
    context = list(dict.fromkeys([*context, *(["."] if before and before.whole else [])]))
    return Derived(text, names, arguments, tuple(context), kept.context, tuple(dict.fromkeys(found)), ssh)


def _is_in(path: str, workspace: Workspace) -> bool:
    directory = workspace.cargo.directory
    return directory == "." or path.startswith(f"{directory}/")


def _toolchain(services: Sequence[Service]) -> tuple[str, list[Note]]:
    """Return the toolchain image that most services used."""
    services = [s for s in services if s.recipe and s.recipe.toolchain]
    wanted = [rust_image(s.recipe.toolchain) for s in services if s.recipe]
    if not wanted:
        return RUST, []
    chosen = max(dict.fromkeys(wanted), key=wanted.count)
    notes = [
        Note(s.recipe.path, f"{s.name} was compiled in {s.recipe.toolchain}; all services now share {chosen}", True)
        for s in services
        if s.recipe and (rust_image(s.recipe.toolchain) != chosen or _NIX.match(s.recipe.toolchain))
    ]
    return chosen, notes


_NIX = re.compile(r"(?:.*/)?(?:nixos/nix|nixpkgs/[\w-]+)(?:[:@]|$)")


def rust_image(name: str) -> str:
    """Return the official Rust image instead of cargo-chef's, because cargo-chef is no longer needed, and instead of
    Nix, because its compiler is not in the image but comes with the command."""
    if _NIX.match(name):
        return RUST
    match = re.match(r"(?:docker\.io/)?lukemathwalker/cargo-chef(?::(.*))?$", name)
    if not match:
        return name
    version = re.search(r"rust-([\w.-]+)", match[1] or "")
    return f"rust:{version[1]}" if version else RUST


def _runtime_image(services: Sequence[Service]) -> str:
    images = {s.recipe.runtime for s in services if s.recipe and s.recipe.runtime}
    return images.pop() if len(images) == 1 else DEBIAN


def _stage_names(stages: Mapping[str, Runtime]) -> dict[str, str]:
    """Map each service to its stage; identical stages are shared."""
    kinds: dict[object, list[str]] = {}
    for name, stage in stages.items():
        kinds.setdefault((stage.image, stage.platform, stage.lines), []).append(name)
    if len(kinds) == 1:
        return dict.fromkeys(stages, "runtime")
    return {name: f"runtime-{_word(names[0])}" for names in kinds.values() for name in names}


def _word(name: str) -> str:
    return re.sub(r"[^a-z0-9_.-]", "-", name.lower())


def _head(
    text: str, file: str, toolchain: str, stages: Mapping[str, Runtime], image: str, services: Sequence[Service]
) -> str:
    first = text.index("ARG RUST_IMAGE")
    text = (
        f"{MARK} one compile step with cache mounts for all services, and a small image for each.\n"
        "# Generated by `buildkit-tasks init`. Edit it freely: `init --upgrade` keeps your edits. To build by hand:\n"
        f"# docker build -f {file} --build-arg CACHE_SCOPE=NAME --build-arg BIN=PROGRAM .\n"
        f"{text[first:]}"
    )
    text = re.sub(r"(?m)^ARG RUST_IMAGE=.*$", lambda _: f"ARG RUST_IMAGE={toolchain}", text, count=1)
    text = re.sub(r"(?m)^ARG RUNTIME_IMAGE=.*$", lambda _: f"ARG RUNTIME_IMAGE={image}", text, count=1)
    return _insert_before(text, r"\n# ---- ", _header_arguments(services, stages))


def _header_arguments(services: Sequence[Service], stages: Mapping[str, Runtime]) -> list[str]:
    """Return the ARGs before the first FROM that kept stages use; a stage redeclares them without a value."""
    kept: list[str] = []
    for service in services:
        if service.recipe:
            stages_of = (*service.recipe.side, *service.recipe.final)
            used = " ".join([stages[service.name].platform, *(f"{s.platform} {s.base}" for s in stages_of)])
            used += " ".join(f"{i.rest}\n{i.body}" for s in stages_of for i in s.items)
            for one in service.recipe.header:
                name = one.text.split()[1].split("=")[0] if len(one.text.split()) > 1 else ""
                if one.keyword == "ARG" and name and re.search(rf"\b{re.escape(name)}\b", used):
                    kept.append(one.text)
    return list(dict.fromkeys(kept))


def _insert_before(text: str, pattern: str, lines: Iterable[str]) -> str:
    block = "".join(f"{line}\n" for line in lines)
    match = re.search(pattern, text)
    if not block or not match:
        return text
    return text[: match.start()] + ("\n" if text[match.start()] != "\n" else "") + block + text[match.start() :]


def _toolchain_stage(text: str, workspace: Workspace, kept: Kept, toolchain: str, services: Sequence[Service]) -> str:
    """Insert packages, toolchain file and kept commands before the step that records the toolchain's identity."""
    alpine = stage_lines.is_alpine(toolchain)
    table = () if alpine else workspace.packages.build
    if any(s.recipe for s in services):
        # the runtime stages of these Dockerfiles do not install libraries that the programs did not need before
        table = tuple(name for name in table if name not in workspace.packages.optional)
    musl = any("musl" in s.target for s in services) and not alpine
    pinned = {p.partition("=")[0] for p in kept.packages}
    more = (*table, *(("musl-tools",) if musl else ()))
    packages = dict.fromkeys((*kept.packages, *(p for p in more if p not in pinned)))
    lines = ["# Headers, libraries and build tools that crates need besides the compiler."]
    lines += stage_lines.packages_step(sorted(packages), argument="BUILD_PACKAGES", alpine=alpine)
    name = workspace.cargo.toolchain
    if name and name.rpartition("/")[0] not in ("", workspace.cargo.directory):  # otherwise, our own lines copy it
        lines += [
            "# Fetch the toolchain named in the repository's toolchain file once (only rustup reads this file).",
            f"RUN --mount=type=bind,source={name},target=/toolchain/{name.rpartition('/')[2]} \\",
            f"    {stage_lines.CA} \\",
            "    cd /toolchain && rustc --version && cargo --version",
        ]
    if musl:
        lines += ['RUN if command -v rustup > /dev/null; then rustup target add "$(uname -m)-unknown-linux-musl"; fi']
    lines += stage_lines.in_their_directories(kept.toolchain)
    if called := one_compilation.toolchain(services, workspace.cargo.binaries):
        lines.append(f"ENV RUSTUP_TOOLCHAIN={called}")
    block = "".join(f"{line}\n" for line in lines)
    at = text.index("ENV CARGO_HOME")
    at = text.index("\n", at) + 1
    return text[:at] + block + text[at:]


def _compile_stage(
    text: str,
    workspace: Workspace,
    kept: Kept,
    services: Sequence[Service],
    also: Sequence[str],
    before: Prepared | None,
) -> str:
    cargo_workspace = workspace.cargo
    text = re.sub(r"(?m)^ARG SOURCE=.*$", lambda _: f"ARG SOURCE={_quoted(cargo_workspace.directory)}", text)
    programs = dict.fromkeys([*(s.binary for s in services), *also])
    names = f'"{" ".join(programs)}"'
    argument = "PROGRAMS" if re.search(r"(?m)^ARG PROGRAMS$", text) else "BINS"
    ships = "" if argument == "PROGRAMS" else "# Only the programs that are shipped.\n"
    text = re.sub(rf"(?m)^ARG {argument}$", lambda _: f"{ships}ARG {argument}={names}", text, count=1)
    profiles = {s.profile for s in services} - {"release"}
    if len(profiles) == 1 and len({s.profile for s in services}) == 1:
        text = re.sub(r"(?m)^ARG PROFILE=.*$", f"ARG PROFILE={profiles.pop()}", text, count=1)
    static = one_compilation.static(services)
    if static and not re.search(r"(?m)^ARG RUST_IMAGE=.*alpine", text):
        text = re.sub(r"(?m)^ARG STATIC$", f"ARG STATIC={static}", text, count=1)
    ours = "RUSTFLAGS|FEATURES|STATIC" + (
        "|RUSTUP_TOOLCHAIN" if one_compilation.toolchain(services, cargo_workspace.binaries) else ""
    )
    lines = [line for line in kept.compile if not re.match(rf"(?:ARG|ENV) (?:{ours})\b", line)]
    flags = next((m[1] for line in kept.compile for m in [re.match(r"(?:ENV|ARG) RUSTFLAGS=(.+)", line)] if m), "")
    if "$" in flags:  # must follow the arguments that it uses
        text = re.sub(r"(?m)^ARG RUSTFLAGS\n", "", text, count=1)
        lines.append(f"ARG RUSTFLAGS={flags}")
    elif flags:
        text = re.sub(r"(?m)^ARG RUSTFLAGS$", lambda _: f"ARG RUSTFLAGS={flags}", text, count=1)
    if workspace.reach.offline and not any("SQLX_OFFLINE" in line for line in lines):
        lines.append("ENV SQLX_OFFLINE=true")
    lines += one_compilation.strips(services, cargo_workspace.binaries)
    at = text.index("RUN --mount=type=bind,target=/context")
    mounts = list(kept.mounts)
    if any(p.source.startswith("git+ssh") for p in cargo_workspace.locked) and not any("type=ssh" in m for m in mounts):
        mounts.append("--mount=type=ssh")
    tail = text[at:]
    for mount in mounts:
        tail = tail.replace(
            "RUN --mount=type=bind,target=/context \\\n",
            f"RUN --mount=type=bind,target=/context \\\n    {mount} \\\n",
            1,
        )
    if before or kept.generated:
        origin = f"from=sources,source={before.root}" if before else "from=sources"
        tail = tail.replace("--mount=type=bind,target=/context", f"--mount=type=bind,{origin},target=/context", 1)
    if also:
        # some images contain more than one program
        extra = " ".join(also)
        tail = re.sub(
            r"(?m)^(    )((?:sh /context/docker/compile\.sh|/compile) build)$",
            rf'\1BINS="${{BINS:+$BINS {extra}}}" \2',
            tail,
            count=1,
        )
    block = "".join(f"{line}\n" for line in lines)
    return text[:at] + block + tail


def _quoted(path: str) -> str:
    return f'"{path}"' if re.search(r"\s", path) else path
