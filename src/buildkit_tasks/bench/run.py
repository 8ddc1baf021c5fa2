"""Runs the standard benchmark cases with `invoke build` and the classic Dockerfile, interleaved.

Does not touch the user's data: it uses a scratch copy of the tree, its own cache mount namespace and its own image
names, and removes all of them at the end.
"""

from __future__ import annotations

import dataclasses
import os
import platform
import posixpath
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from buildkit_tasks.config import root as project_root
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run, shapes
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command, Service
from buildkit_tasks.dockercli import buildx, compose_cli, docker
from buildkit_tasks.project.discover import Project, discover
from buildkit_tasks.workspaces import tree

from . import contenders, edits, figures, inside, source_text
from .contenders import OURS, PLAIN
from .edits import Dependency, Edit, Edits
from .figures import Sample

#: Never copied into the scratch tree: histories, environments and build artifacts.
LEFT_OUT = (".git", ".venv", ".nox", "target", "node_modules", "__pycache__", ".mypy_cache", ".ruff_cache", ".env")


@dataclass(frozen=True)
class Arena:
    """The scratch tree and compose files of one run; `name` is the cache namespace and the prefix of the images."""

    session: Session
    tree: Path
    name: str
    platform: str
    files: Mapping[str, Path]

    def edit(self, what: Edit) -> str:
        """Write a new marker into the file and return it. No earlier build can contain it."""
        path, marker = self.tree / what.file, f"bench-{secrets.token_hex(6)}"
        path.write_text(source_text.edit_literal(path.read_text("utf-8"), what.text, marker), "utf-8")
        return marker

    def image(self, contender: str, service: str) -> str:
        """Return the name of a contender's image of a service."""
        return f"{self.name}/{list(self.files).index(contender)}-{service}"

    def say(self, line: str) -> None:
        """Print a line of progress."""
        self.session.report.say(f"  {line}")


def quick(session: Session, *, rounds: int, markdown: bool) -> None:
    """Run the four cases and print the table. Problems: bench-failed if a build fails, settings-invalid."""
    project = discover(session)
    services = contenders.compiled(project)
    if not services:
        raise Problem(
            "bench-failed",
            "No service uses the compile step of buildkit-tasks.",
            hint="buildkit-tasks init    (adopts the services)",
        )
    wanted = _edits(session, services)
    name = f"bench-{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory(prefix="buildkit-tasks-bench-") as folder:
        scratch = Path(folder)
        tree_copy = scratch / session.root.name
        shutil.copytree(session.root, tree_copy, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
        found = contenders.find(session, project, scratch, tree_copy, name)
        for contender, why in found.left_out.items():
            session.report.say(f"  excluding {contender}: {session.masked(why)}")
        files = {contender: scratch / f"{number}.json" for number, contender in enumerate(found.builds)}
        platform_ = f"{project.engine.os}/{project.engine.arch}"
        arena = Arena(session, tree_copy, name, platform_, files)
        for contender, builds in found.builds.items():
            images = {service: arena.image(contender, service) for service in builds}
            contenders.write(session, name, builds, images, files[contender])
        try:
            samples = _cases(arena, wanted, rounds=rounds)
        finally:
            _clean(arena, services)
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


def _cases(arena: Arena, wanted: Edits, *, rounds: int) -> list[Sample]:
    samples: list[Sample] = []
    one, every = (wanted.service,), ()
    rivals = [c for c in arena.files if c not in (OURS, PLAIN)]
    taking_part, who = set(arena.files), (OURS, *rivals)

    def case(name: str, who: Sequence[str], services: Sequence[str], number: int, marker: str) -> None:
        # the order alternates between rounds, because the first build pays for cold disk caches
        turn = number % max(1, len(who))
        for contender in (*who[turn:], *who[:turn]):
            if contender not in taking_part:
                continue
            try:
                sample = _timed(arena, contender, services, name, number, marker, wanted.service)
            except Problem as problem:
                if contender == OURS:
                    raise
                taking_part.remove(contender)
                last = next((line for line in reversed((problem.details or "").splitlines()) if line.strip()), "")
                why = arena.session.masked(last.strip()[:200])
                arena.say(f"{name}: excluding {contender} from here on, because its build failed: {why}")
                continue
            samples.append(sample)
            arena.say(f"{name}, round {number + 1}, {contender}: {sample.seconds:.1f} s")

    case("first build, one service", (OURS,), one, 0, "")
    code = _contained(arena, wanted.service, wanted.code)
    shared = _contained(arena, wanted.service, wanted.shared)
    if code is None:
        raise Problem(
            "bench-failed",
            f"The program of {wanted.service} contains none of the {len(wanted.code)} strings that can be edited.",
            hint="set one in [tool.buildkit-tasks.bench] (docs/reference/bench.md)",
        )
    arena.say(f"edits: {code.file}, {shared.file if shared else 'no shared crate'}")
    case("first build, one service", rivals, one, 0, "")
    case("rest of the services", who, every, 0, "")
    for number in range(rounds):
        case("one line, one service", who, one, number, arena.edit(code))
        case("rest of the services", who, every, number + 1, "")
        if shared:
            case("one line in a shared crate, all", who, every, number, arena.edit(shared))
        case("rest of the services", (PLAIN,), every, number, "")
        case("nothing changed, all", (OURS, PLAIN, *rivals[:1]), every, number, "")
    if wanted.dependency:
        _add_dependency(arena, wanted.dependency)
        case("dependency added, one service", who, one, 0, arena.edit(code))
    return [s for s in samples if s.case != "rest of the services"]


def _contained(arena: Arena, service: str, candidates: Sequence[Edit]) -> Edit | None:
    """Return the first edit with a text that our built program contains."""
    found = inside.containing(arena.session, arena.image(OURS, service), arena.platform, {e.text for e in candidates})
    return next((edit for edit in candidates if edit.text in found), None)


def _timed(
    arena: Arena, contender: str, services: Sequence[str], case: str, number: int, marker: str, edited: str
) -> Sample:
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
        raise Problem("bench-failed", f"The {contender!r} build failed (case: {case}).", details=result.stderr[-4000:])
    crates = len(shapes.loads(result.stdout, dict)["cargo"]["compiled"]) if contender == OURS else None
    visible = None
    if marker:
        image = arena.image(contender, edited)
        visible = bool(inside.containing(session, image, arena.platform, {marker}))
    return Sample(contender, case, number, result.seconds, crates, visible)


def _add_dependency(arena: Arena, what: Dependency) -> None:
    manifest = arena.tree / what.manifest
    lock = next(p / "Cargo.lock" for p in manifest.parents if (p / "Cargo.lock").is_file())
    try:
        new = source_text.add_dependency(manifest.read_text("utf-8"), lock.read_text("utf-8"), what.package, what.crate)
    except ValueError as error:
        raise Problem("bench-failed", f"Cannot add the dependency: {error}.") from None
    manifest.write_text(new[0], "utf-8")
    lock.write_text(new[1], "utf-8")


def _edits(session: Session, services: Mapping[str, Service]) -> Edits:
    table = project_root.bench_table(session.root)
    if table:
        return edits.configured(table)
    programs = {
        name: (_workspace(session, service), service.binary) for name, service in services.items() if service.binary
    }
    return edits.find(tree.read(session.root), programs)


def _workspace(session: Session, service: Service) -> str:
    """Return the workspace's directory, relative to the root of the repository."""
    context = service.context.relative_to(session.root).as_posix()
    return posixpath.normpath(posixpath.join(context, contenders.source_of(service)))


def _clean(arena: Arena, services: Collection[str]) -> None:
    """Remove this run's images and mounts. No other run uses these mount ids."""
    session = arena.session
    names = [arena.image(c, service) for c in arena.files for service in services]
    run.capture(session.world, docker.remove_images(session.root, names))
    _remove_mounts(session, arena.name)


def _remove_mounts(session: Session, name: str) -> None:
    from buildkit_tasks.engine import cache_records

    records = cache_records.read(run.capture(session.world, buildx.cache_records(session.root)))
    ids = [record.id for record in records if record.mount_namespace.startswith(f"{name}-")]
    if ids:
        run.capture(session.world, buildx.remove_cache_record(session.root, *ids))


def _facts(project: Project) -> dict[str, Any]:
    """Return the machine and versions to report with the measurements."""
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
