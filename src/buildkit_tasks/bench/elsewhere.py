"""The cases that only `invoke build` has: a machine that pulls a pack, and images for another processor."""

from __future__ import annotations

from dataclasses import replace

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.samples.catalogue import BY_NAME, CASE_BY_KEY, COLD, OURS, Way

from . import registry, timed
from .play import Action, Play
from .timed import Built


def play(run: Play) -> None:
    """Measure both cases. A case that cannot run here is skipped with its reason."""
    pack(run)
    other_processor(run)


def pack(run: Play) -> None:
    """Push a pack to a registry of our own, and build with empty mounts and an empty state, with it.

    Without the case `cold`, also builds without a pack, to compare.
    """
    if "pack" not in run.cases:
        return
    case, ours = CASE_BY_KEY["pack"], BY_NAME[OURS]
    ways = {OURS: ours}
    if "cold" not in run.cases:  # else that case has this build
        ways[COLD] = replace(ours, name=COLD)
    missing = [name for name in ways if not run.store.has(name, case.title, 0)]
    if not missing:
        return
    with registry.running(run.arena.folder / "registry") as host:
        shared = ("BUILDKIT_TASKS_PACKS_REPOSITORY", f"{host}/bench/cache")
        try:
            if OURS in missing:
                run.look("the new machine")
                pushed = timed.invoke(run.arena, "cache.push", "--force", env=(shared,))
                if pushed.code != 0:
                    raise Problem("bench-failed", "The pack could not be pushed.", details=timed.failure(pushed))
        except Problem as problem:
            run.skip("pack", run.arena.session.masked(timed.last_line(problem)))
            return

        def build(way: Way) -> tuple[Built, bool | None]:
            """Build on a machine that has never built: the pull is part of the command and of its time."""
            fresh = f"fresh{list(ways).index(way.name)}"
            env = [
                ("BUILDKIT_TASKS_CACHES_NAMESPACE", f"{run.arena.name}-{fresh}"),
                ("XDG_STATE_HOME", str(run.arena.folder / fresh)),
            ]
            if way.name == OURS:
                env += [shared, ("BUILDKIT_TASKS_PACKS_PULL", "when-empty")]
            run.arena.edit(way, run.edited)
            built = timed.build(run.arena, way, (run.arena.service,), env=env)
            if way.name == OURS and built.pack != timed.UNPACKED:
                raise Problem("bench-failed", "The pack was not used.", details=built.pack)
            return built, run.arena.right(ours)

        for name in missing:
            _measured(run, "pack", ways[name], 0, build)


def other_processor(run: Play) -> None:
    """Build for another processor: the first build, then one line in every round."""
    if not {"other", "other-line"} & set(run.cases):
        return
    arch = "amd64" if run.arena.project.engine.arch == "arm64" else "arm64"
    platform, ours = f"linux/{arch}", BY_NAME[OURS]
    later = CASE_BY_KEY["other-line"].title
    built = False

    def line(way: Way) -> tuple[Built, bool | None]:
        nonlocal built
        run.arena.edit(way, run.edited)
        done = timed.build(run.arena, way, (run.arena.service,), platform=platform)
        built = True
        return done, run.arena.right(way, platform=platform)

    if not run.store.has(OURS, CASE_BY_KEY["other"].title, 0):
        run.look(f"images for {arch}")
    if not _measured(run, "other", ours, 0, line):
        if "other-line" in run.cases:
            run.skip("other-line", run.store.left_out[CASE_BY_KEY["other"].title])
        return
    if "other-line" not in run.cases or all(run.store.has(OURS, later, number) for number in range(run.rounds)):
        return
    if not built:  # the mounts may be empty: without this, a first build would be measured as one line
        run.arena.say(f"warming up images for {arch} (not measured)")
        try:
            line(ours)
        except Problem as problem:
            run.skip("other-line", run.arena.session.masked(timed.last_line(problem)))
            return
    for number in range(run.rounds):
        if not _measured(run, "other-line", ours, number, line):
            return


def _measured(run: Play, key: str, way: Way, number: int, action: Action) -> bool:
    """Measure a case that may be impossible here, without ending the run. Returns whether the case is possible."""
    case = CASE_BY_KEY[key]
    if key not in run.cases or run.store.has(way.name, case.title, number):
        return True
    try:
        run.measure(case, way, number, action)
    except Problem as problem:
        run.skip(key, run.arena.session.masked(timed.last_line(problem)))
        return False
    return True
