"""Runs the bake solve of a plan, shows its progress and explains failures. Only this module runs a solve."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from buildkit_tasks.buildlog import failure as build_failure
from buildkit_tasks.buildlog import view as build_view
from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run, shapes
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import BuildPlan, Command
from buildkit_tasks.core.progress import Decoder, Progress
from buildkit_tasks.dockercli import buildx

from . import plan_words
from .fetching import Fetching

#: How many times to retry a build that lost a race for an image name; at least one build wins each time.
RACES = 12


def stand_in(
    target: Mapping[str, Any], text: str, stage: str, contexts: Mapping[str, str], platform: str = ""
) -> dict[str, Any]:
    """Return a target like a service's, but for a stage of another Dockerfile, with extra contexts and no image."""
    kept = ("context", "contexts", "args", "secret", "ssh", "network", "extra-hosts", "platforms", "output")
    return {
        **{name: value for name, value in target.items() if name in kept},
        "dockerfile-inline": text,
        "target": stage,
        "args": {name: value for name, value in target.get("args", {}).items() if name != "BINS"},
        "contexts": {**target.get("contexts", {}), **contexts},
        **({"platforms": [platform]} if platform else {}),
    }


def solve(
    session: Session,
    plan: BuildPlan,
    definition: Mapping[str, Any],
    how: str = "auto",
    builder: str = "",
    timeout: float | None = None,
    variables: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    started: Callable[[], None] | None = None,
    title: str = "",
    fetching: Fetching | None = None,
) -> tuple[Progress, dict[str, Any]]:
    """Run a definition of the plan. Returns the progress, and buildx's metadata by target.

    A given `progress` is filled even if the solve fails. `started` is called each time bake starts. `title`: the
    initial text of the view if the solve builds no image. `fetching`: an image of the solve whose registry may stall.

    Forwards Ctrl-C to the child and waits for it to exit. Problems: those of `build_failure.explain`; timed-out after
    `timeout` seconds; registry-unreachable if the registry stalls.
    """
    progress = Progress() if progress is None else progress
    end = session.world.clock() + timeout if timeout else float("inf")

    def left() -> float:
        return min(end - session.world.clock(), fetching.left() if fetching else float("inf"))

    with tempfile.TemporaryDirectory(prefix="buildkit-tasks-") as scratch:
        metadata = Path(scratch) / "metadata.json"
        alone = _alone(session, definition, Path(scratch))
        metadata_read: dict[str, Any] = {}
        with build_view.building(session.report, plan, progress, how, title) as view:

            def go(build: Command, again: int = RACES) -> dict[str, Any]:
                decoder = Decoder()

                def hear(chunk: bytes) -> None:
                    for status in decoder.feed(chunk):
                        if fetching:
                            fetching.update(status)
                        view.update(progress.update(status))

                given = replace(build, env=(*build.env, *(variables or {}).items()))
                limit = left if timeout or fetching else None
                result = run.stream(session.world, given, hear, left=limit, started=started)
                if result.code == 124 and fetching and fetching.stalled:
                    raise fetching.problem()
                if result.code == 124 and timeout:
                    words = f"The build took more than {timeout:.0f} s and was canceled."
                    raise Problem("timed-out", words, hint="try again later")
                if result.code != 0:
                    rest = decoder.close()
                    if again and build_failure.passing(progress, rest):
                        progress.forget_failures()
                        time.sleep(random.random() * (RACES + 1 - again) / 4)  # noqa: S311 - spreads the retries
                        return go(build, again - 1)
                    packaged = any("/rust:" in image for image in plan_words.packaged(definition).values())
                    cwd = session.world.cwd
                    raise build_failure.explain(progress, rest, result.code, plan, packaged=packaged, cwd=cwd)
                return shapes.loads(metadata.read_bytes(), dict) if metadata.is_file() else {}

            git = buildx.asks_for_git(session.world.env)
            together = [name for name in definition["group"]["default"]["targets"] if name not in alone]
            if together:
                group = {"group": {"default": {"targets": together}}, "target": definition["target"]}
                metadata_read = go(buildx.bake(session.root, group, metadata, builder=builder, git=git))
            for name in alone:
                metadata.unlink(missing_ok=True)
                build = buildx.build_target(session.root, alone[name], metadata, builder=builder, git=git)
                metadata_read[name] = go(build)
        return progress, metadata_read


#: Keys that older versions of bake drop silently: 0.13 drops all three, 0.29 none.
_NEWER = frozenset({"network", "extra-hosts", "entitlements"})


def _alone(session: Session, definition: Mapping[str, Any], scratch: Path) -> dict[str, dict[str, Any]]:
    """Return the targets that this version of bake would not build as defined. They are built separately.

    Runs bake to find out, but only if a target has one of these keys. Raises `Problem` compose-key-unsupported.
    """
    targets = definition["target"]
    unsure = {name for name, target in targets.items() if _NEWER & target.keys()}
    if not unsure:
        return {}
    printed = run.capture(session.world, buildx.bake_print(scratch, definition))
    try:
        understood = shapes.loads(printed.stdout, dict)["target"] if printed.code == 0 else targets
    except (ValueError, KeyError):
        understood = targets
    found = {name: targets[name] for name in unsure if (_NEWER & targets[name].keys()) - understood[name].keys()}
    linked = {
        v.partition(":")[2] for t in targets.values() for v in t.get("contexts", {}).values() if v[:7] == "target:"
    }
    for name, target in found.items():
        others = [v for v in target.get("contexts", {}).values() if v.startswith("target:")]
        if others or name in linked:
            keys = ", ".join(sorted((_NEWER & target.keys()) - understood[name].keys()))
            raise Problem(
                "compose-key-unsupported",
                f"This buildx version drops `{keys}` from the service {name!r}, "
                "which must be built together with other services.",
                causes=["with `additional_contexts: service:NAME`, one bake run must build both services"],
                hint="run `invoke engine.install` to install a newer buildx",
            )
    return found
