"""Runs the standard benchmark cases with our build and the classic Dockerfile, interleaved.

Does not touch the user's data: it uses a scratch copy of the tree, its own cache mount namespace and its own image
names, and removes all of them at the end.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from buildkit_tasks.config import root as project_root
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import buildx, compose_cli, docker, docker_run, run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command
from buildkit_tasks.dockerfiles import stages
from buildkit_tasks.images import bases as base_images
from buildkit_tasks.project import sources
from buildkit_tasks.project.discover import Project, discover

from . import figures
from .figures import Sample

OURS = "invoke build"
PLAIN = "docker compose build, our Dockerfile"
CLASSIC = "classic"
CLASSIC_INCREMENTAL = "classic, incremental"

#: Never copied into the scratch tree: histories, environments and build artifacts.
LEFT_OUT = (".git", ".venv", ".nox", "target", "node_modules", "__pycache__", ".mypy_cache", ".ruff_cache", ".env")


@dataclass(frozen=True)
class Edits:
    """What to edit: the service, one of its files, a file of the shared crate, and a new dependency."""

    service: str
    code: Mapping[str, str]
    shared: Mapping[str, str]
    dependency: Mapping[str, str]


@dataclass(frozen=True)
class Arena:
    """The scratch tree and compose files of one run; `name` is the cache namespace and the image name prefix."""

    session: Session
    tree: Path
    name: str
    edits: Edits
    files: Mapping[str, Path]

    def marker(self) -> str:
        """Text that no earlier build can contain."""
        return f"bench-{secrets.token_hex(6)}"

    def edit(self, what: Mapping[str, str]) -> str:
        """Write a new marker into the file and return it."""
        path, marker = self.tree / what["file"], self.marker()
        path.write_text(figures.edit_literal(path.read_text("utf-8"), what["text"], marker), "utf-8")
        return marker

    def image(self, contender: str, service: str) -> str:
        """The name of the image that a contender builds for a service."""
        return f"{self.name}/{contender.split()[0].strip(',')}-{list(self.files).index(contender)}-{service}"


def quick(session: Session, *, rounds: int, markdown: bool) -> None:
    """Run the four cases and print the table. Problems: bench-failed if a build fails, settings-invalid."""
    project = discover(session)
    edits = _edits(session)
    name = f"bench-{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory(prefix="buildkit-tasks-bench-") as scratch:
        tree = Path(scratch) / session.root.name
        shutil.copytree(session.root, tree, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
        arena = Arena(session, tree, name, edits, _contenders(session, project, tree, name, Path(scratch)))
        try:
            samples = _cases(arena, rounds=rounds)
        finally:
            _clean(arena, project)
    table = figures.rows(samples, OURS)
    facts = _facts(project)
    if session.report.json_only:
        raw = [dataclasses.asdict(s) for s in samples]
        session.report.envelope({"facts": facts, "samples": raw, "rows": [dataclasses.asdict(r) for r in table]})
    elif markdown:
        session.report.answer(figures.markdown(table))
    else:
        session.report.table(figures.HEADINGS, [figures.cells(r) for r in table])
        session.report.say("; ".join(f"{k} {v}" for k, v in facts.items()))
    wrong = [s for s in samples if s.contender == OURS and s.visible is False]
    if wrong:
        raise Problem("bench-failed", f"The built program does not contain the latest edit (case: {wrong[0].case}).")


def _cases(arena: Arena, *, rounds: int) -> list[Sample]:
    samples: list[Sample] = []
    one, every = (arena.edits.service,), ()
    three = (OURS, CLASSIC, CLASSIC_INCREMENTAL)

    def case(name: str, who: Sequence[str], services: Sequence[str], number: int, marker: str) -> None:
        # the order alternates between rounds, because the first build pays for cold disk caches
        turn = number % len(who)
        for contender in (*who[turn:], *who[:turn]):
            sample = _timed(arena, contender, services, name, number, marker)
            samples.append(sample)
            arena.session.report.say(f"  {name}, round {number + 1}, {contender}: {sample.seconds:.1f} s")

    case("first build, one service", three, one, 0, "")
    case("rest of the services", three, every, 0, "")
    for number in range(rounds):
        case("one line, one service", three, one, number, arena.edit(arena.edits.code))
        case("rest of the services", three, every, number + 1, "")
        case("one line in the shared crate, all", three, every, number, arena.edit(arena.edits.shared))
        case("rest of the services", (PLAIN,), every, number, "")
        case("nothing changed, all", (OURS, PLAIN, CLASSIC), every, number, "")
    _add_dependency(arena)
    case("dependency added, one service", three, one, 0, arena.edit(arena.edits.code))
    return [s for s in samples if s.case != "rest of the services"]


def _timed(arena: Arena, contender: str, services: Sequence[str], case: str, number: int, marker: str) -> Sample:
    session, file = arena.session, arena.files[contender]
    if contender == OURS:
        flags = [f"--service={s}" for s in services]
        argv = (str(Path(sys.executable).parent / "invoke"), "build", "--json", *flags)
        env = (
            ("BUILDKIT_TASKS_PROJECT_COMPOSE_FILE", str(file)),
            ("BUILDKIT_TASKS_CACHES_NAMESPACE", f"{arena.name}-ours"),
            ("BUILDKIT_TASKS_BUILD_INCREMENTAL", "on"),
            ("XDG_STATE_HOME", str(file.parent / "state")),
        )
        result = run.capture(session.world, Command(argv, arena.tree, env))
    else:
        result = run.capture(session.world, compose_cli.command(arena.tree, [file], "build", *services))
    if result.code != 0:
        raise Problem(
            "bench-failed", f"The build {contender!r} failed in case {case!r}.", details=result.stderr[-4000:]
        )
    crates = len(json.loads(result.stdout)["cargo"]["compiled"]) if contender == OURS else None
    visible = None
    if marker:
        visible = all(_contains(arena, arena.image(contender, s), marker) for s in services or [arena.edits.service])
    return Sample(contender, case, number, result.seconds, crates, visible)


def _contains(arena: Arena, image: str, marker: str) -> bool:
    """Whether the program in an image contains the marker."""
    seek = docker_run.program_contains(arena.tree, image, marker)
    return run.capture(arena.session.world, seek).code == 0


def _contenders(session: Session, project: Project, tree: Path, name: str, scratch: Path) -> dict[str, Path]:
    """One resolved compose file per contender, with its own image names and without secrets."""
    classic = Path(__file__).parents[1] / "data" / "bench" / "classic.Dockerfile"
    plain = {s.name: s for s in project.workspace.services if sources.compiles(s)}
    refs: dict[str, None] = {}
    for service in plain.values():
        refs.update(dict.fromkeys(sources.needed_images(service)))
    refs.update(dict.fromkeys(stages.base_images(classic.read_text("utf-8"), {})))
    contexts = {
        ref: f"docker-image://{other}"
        for ref, other in base_images.ensure(session, project.engine, tuple(refs)).items()
    }
    source = next((s.args["SOURCE"] for s in plain.values() if "SOURCE" in s.args), _source(plain))
    files: dict[str, Path] = {}
    arena = Arena(session, tree, name, _edits(session), files)
    for contender in (OURS, PLAIN, CLASSIC, CLASSIC_INCREMENTAL):
        files[contender] = scratch / f"{len(files)}.json"
        services: dict[str, Any] = {}
        for service in plain.values():
            context = tree / service.context.relative_to(session.root)
            build: dict[str, Any] = {"context": str(context), "additional_contexts": contexts}
            if contender in (OURS, PLAIN):
                build["dockerfile"] = str(tree / service.dockerfile.relative_to(session.root))
                build["args"] = {**service.args, "CACHE_SCOPE": project.workspace.scope}
            else:
                build["dockerfile"] = str(classic)
                incremental = "1" if contender == CLASSIC_INCREMENTAL else "0"
                build["args"] = {"BIN": service.binary, "SOURCE": source, "CARGO_INCREMENTAL": incremental}
            if contender == PLAIN:
                # this contender reuses what `invoke build` compiled in the same run
                build["args"] |= {"CARGO_INCREMENTAL": "1"}
            if contender != OURS:
                spaces = {PLAIN: "ours", CLASSIC: "classic", CLASSIC_INCREMENTAL: "classic-incremental"}
                build["args"] |= {"BUILDKIT_CACHE_MOUNT_NS": f"{name}-{spaces[contender]}"}
                if session.settings.build.ca_bundle:
                    build["secrets"] = ["ca"]
            services[service.name] = {"build": build, "image": arena.image(contender, service.name)}
        content = {
            "name": name,
            "services": services,
            "secrets": {"ca": {"file": session.settings.build.ca_bundle or "/dev/null"}},
        }
        files[contender].write_text(compose_cli.for_compose(content), "utf-8")
    return files


def _source(plain: Mapping[str, Any]) -> str:
    """The cargo workspace's directory in the context: the Dockerfile's default for SOURCE, or the context itself."""
    for service in plain.values():
        for item in sources.known(service).items:
            if item.keyword == "ARG" and item.rest.startswith("SOURCE="):
                return item.rest.split("=", 1)[1]
    return "."


def _add_dependency(arena: Arena) -> None:
    what = arena.edits.dependency
    manifest = arena.tree / what["manifest"]
    lock = next(p / "Cargo.lock" for p in manifest.parents if (p / "Cargo.lock").is_file())
    try:
        new = figures.add_dependency(manifest.read_text("utf-8"), lock.read_text("utf-8"), manifest.parent.name, what)
    except ValueError as error:
        raise Problem("bench-failed", f"Cannot add the dependency: {error}.") from None
    manifest.write_text(new[0], "utf-8")
    lock.write_text(new[1], "utf-8")


def _edits(session: Session) -> Edits:
    table = project_root.bench_table(session.root)
    try:
        return Edits(**{k: table[k] for k in ("service", "code", "shared", "dependency")})
    except KeyError as error:
        raise Problem(
            "settings-invalid",
            f"[tool.buildkit-tasks.bench] in pyproject.toml does not set {error.args[0]!r}.",
            causes=["the benchmark needs to know which text in which file it may change"],
            hint="see docs/reference/bench.md",
        ) from None


def _clean(arena: Arena, project: Project) -> None:
    """Remove this run's images and mounts. The mounts have ids that no other run used."""
    session = arena.session
    names = [arena.image(c, s.name) for c in arena.files for s in project.workspace.services if sources.compiles(s)]
    run.capture(session.world, docker.remove_images(session.root, names))
    _remove_mounts(session, arena.name)


def _remove_mounts(session: Session, name: str) -> None:
    from buildkit_tasks.engine import cache_records

    records = cache_records.read(run.capture(session.world, buildx.cache_records(session.root)))
    for record in records:
        if record.mount_namespace.startswith(f"{name}-"):
            run.capture(session.world, buildx.remove_cache_record(session.root, record.id))


def _facts(project: Project) -> dict[str, Any]:
    """The machine and versions to report with the measurements."""
    dotted: Callable[[tuple[int, ...]], str] = lambda v: ".".join(map(str, v))  # noqa: E731
    return {
        "cpus": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "system": platform.platform(terse=True),
        "engine": dotted(project.engine.version),
        "buildx": dotted(project.engine.buildx),
        "compose": dotted(project.engine.compose),
        "services": len(project.workspace.services),
    }
