"""Build: discover, plan, run one bake solve, report."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from buildkit_tasks import build_view, command, dockerfile, plan, run, transfer, workspace
from buildkit_tasks.errors import Problem
from buildkit_tasks.model import BuildOutcome, BuildPlan, BuildRequest, Service, TargetResult
from buildkit_tasks.progress import Decoder, Progress

from . import images, lesser
from .project import Project, discover
from .session import Session


def build(session: Session, request: BuildRequest) -> BuildOutcome:
    """Build what was asked for. Problems: those of discovery and planning; compile-failed, build-failed, disk-full."""
    project = discover(session, lesser=True)
    decided = prepare(session, project, request)
    outcome = execute(session, project, decided, request.progress)
    if session.settings.cache_budget:
        from . import cache_trim

        cache_trim.after_build(session, project)
    return outcome


def tell_story(session: Session, outcome: BuildOutcome) -> None:
    """The summary of a build that is a step of something larger."""
    build_view.summary(session.report, outcome)


def tell(session: Session, outcome: BuildOutcome) -> None:
    """The answer of a finished build: the summary, or the JSON document."""
    if session.report.json_only:
        session.report.envelope(build_view.envelope(outcome))
    else:
        build_view.summary(session.report, outcome)


def show_plan(session: Session, request: BuildRequest) -> None:
    """Print the plan and stop; nothing is made or run but questions."""
    project = discover(session, lesser=True)
    decided = prepare(session, project, request, look_only=True)
    override = images.override(session, project.engine, project.workspace)
    files = [*project.workspace.compose_files, *([override] if override else [])]
    chosen = lesser.tier(session, project.engine)
    content = {**plan.describe(decided), "compose_files": [str(f) for f in files], "tier": chosen.name}
    if session.report.json_only:
        session.report.envelope({"plan": content})
        return
    rows = [(name, ", ".join(map(str, v)) if isinstance(v, list) else str(v)) for name, v in content.items()]
    reasons = [(f"why {name}", why) for name, why in {**decided.reasons, "tier": chosen.reason}.items() if why]
    session.report.table(("what", "value"), [r for r in rows if r[0] not in ("bake", "reasons")] + reasons)


def prepare(session: Session, project: Project, request: BuildRequest, *, look_only: bool = False) -> BuildPlan:
    """The plan for a request. With `look_only` nothing is made: no transfer link, no base image."""
    space = project.workspace
    chosen = workspace.select(space, request.services)
    texts = {s.dockerfile: _dockerfile_text(s.dockerfile) for s in chosen}
    bases = dict.fromkeys(ref for s in chosen for ref in dockerfile.base_images(texts[s.dockerfile], s.args))
    find = images.replacements if look_only else images.ensure
    links = {} if look_only else _transfer_links(session, chosen)
    around = plan.Surroundings(
        dockerfiles=texts,
        replacements=find(session, project.engine, tuple(bases)),
        transfer=links,
        ci=session.world.ci,
        proxies=plan.proxies(session.world.env),
    )
    return plan.make(session.settings, space, project.engine, request, around)


def execute(session: Session, project: Project, decided: BuildPlan, how: str = "auto") -> BuildOutcome:
    """Run the solve and read its story. Ctrl-C is passed on and waited for, so nothing is orphaned."""
    _check_disk(session, project)
    began = session.world.clock()
    chosen = lesser.tier(session, project.engine)
    if chosen.name != "full":
        before_ids = image_ids(session, [s.image for s in decided.services])
        return lesser.execute(session, decided, chosen, before_ids, how)
    if session.world.env.get("DOCKER_BUILDKIT", "").lower() in ("0", "false"):
        session.report.say(
            "DOCKER_BUILDKIT=0 is set here and overridden: builder = legacy is the setting that means it"
        )
    progress, decoder = Progress(), Decoder()
    with tempfile.TemporaryDirectory(prefix="buildkit-tasks-") as scratch, ThreadPoolExecutor(1) as pool:
        metadata = Path(scratch) / "metadata.json"
        before = pool.submit(image_ids, session, [s.image for s in decided.services])
        solve = command.bake(session.root, json.dumps(decided.definition), metadata)
        with build_view.building(session.report, decided, progress, how) as view:

            def hear(chunk: bytes) -> None:
                for status in decoder.feed(chunk):
                    view.update(progress.update(status))

            result = run.stream(session.world, solve, hear)
        if result.code != 0:
            raise failure(progress, decoder.close(), result.code)
        digests = json.loads(metadata.read_text("utf-8"))
        old = before.result()
    targets = tuple(_target_result(s, digests.get(s.name, {}), old.get(s.image, "")) for s in decided.services)
    return BuildOutcome(
        seconds=session.world.clock() - began,
        incremental=decided.incremental,
        compiled=tuple(dict.fromkeys(progress.compiled)),
        fresh=progress.fresh,
        targets=targets,
        steps=progress.steps(),
        marked=tuple(progress.marked),
    )


def _target_result(service: Service, metadata: Mapping[str, str], before: str) -> TargetResult:
    """One image's outcome; an engine without the containerd store calls images by their config's digest."""
    digest = metadata.get("containerimage.digest", "")
    same = before in (digest, metadata.get("containerimage.config.digest", "")) and before != ""
    return TargetResult(service.name, service.image, digest, changed=not same)


def failure(progress: Progress, rest: str, code: int) -> Problem:
    """The problem of a solve that failed: the broken step's own words verbatim, compile errors told from others."""
    vertex = progress.failed()
    log = "\n".join(vertex.log + ([vertex.partial] if vertex.partial else [])) if vertex else rest
    reason = (vertex.error if vertex else rest).strip().split("\n")[-1]
    if code in (130, -2):
        return Problem("interrupted", "Interrupted; the build was cancelled.", hint="run the command again")
    if "no space left on device" in (log + reason).lower():
        return Problem("disk-full", "The disk is full.", causes=[reason], details=log, hint="invoke prune")
    if "signal: killed" in reason or "exit code: 137" in reason:
        return Problem(
            "build-killed",
            "A build process was killed, most likely because memory ran out.",
            causes=[reason],
            details=log,
            hint="give the engine more memory, or build fewer services at once: invoke build --service NAME",
        )
    if vertex and any(line.startswith(("error[", "error:")) for line in vertex.log):
        return Problem(
            "compile-failed",
            "The code does not compile.",
            details=_only_errors(vertex.log),
            hint="mend it, build again",
        )
    if "failed to resolve source metadata" in reason or "failed to do request" in reason:
        return Problem(
            "image-unavailable",
            "A base image cannot be had.",
            causes=[reason],
            hint="invoke images    (shows where each base image comes from; invoke images.build makes offline ones)",
        )
    name = vertex.name if vertex else "the build"
    return Problem("build-failed", f"The step failed: {name}", causes=[reason], details=log)


def _only_errors(log: list[str]) -> str:
    """From cargo's first diagnostic to the end; what compiled before it is no help."""
    first = next((i for i, line in enumerate(log) if line.startswith(("error", "warning"))), 0)
    return "\n".join(log[first:])


def _transfer_links(session: Session, chosen: Sequence[Service]) -> dict[Path, Path]:
    """Per context the link to build through: BuildKit remembers transfers by the last component of a path."""
    return {
        context: transfer.guard(context, session.state, [s.dockerfile for s in chosen if s.context == context])
        for context in dict.fromkeys(s.context for s in chosen)
    }


def _dockerfile_text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise Problem(
            "compose-invalid",
            f"The Dockerfile {path} cannot be read: {error.strerror}.",
            hint="correct `dockerfile:` in the compose file",
        ) from error


def image_ids(session: Session, names: list[str]) -> dict[str, str]:
    result = run.capture(session.world, command.image_ids(session.root, names))
    ids: dict[str, str] = {}
    for line in result.stdout.splitlines():
        with contextlib.suppress(ValueError):
            tags, _, identity = line.rpartition(" ")
            ids.update(dict.fromkeys(json.loads(tags), identity))
    return ids


def _check_disk(session: Session, project: Project) -> None:
    """Refuse below 1 GB, warn below the setting. Only where the engine's directory is on this machine."""
    root = Path(project.engine.root_dir or "/nonexistent")
    try:
        free = shutil.disk_usage(root).free / 1e9
    except OSError:
        return
    if free < 1:
        raise Problem(
            "disk-full",
            f"Only {free:.1f} GB are free on {root}; a build needs at least 1 GB.",
            hint="invoke prune    (shows what and how much first)",
        )
    if free < session.settings.min_disk_gb:
        session.report.warn(f"only {free:.1f} GB are free on {root}; `invoke prune` shows what can go")
