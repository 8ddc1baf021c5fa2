"""Choose the slow sessions of a CI run: those with changed code, those that are due, and all others that fit.

A clean checkout does not remember earlier runs, so the history decides: sessions are in `TURNS` groups, and the number
of commits on the first-parent line picks a group. Many commits may land at once, so a persistent machine also records
when each session last passed. That file is optional.

CI runs `python -m tests.support.turns --began SECONDS` after `./dev nox` (.ci/run). `--list` only prints the choice.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.engine.staleness import proof

REPOSITORY = Path(__file__).parents[2]
MEMORY = Path.home() / ".cache/buildkit-tasks-tests/turns.json"

#: Every session runs at least once in this many runs.
TURNS = 8

#: Commits that may land in one run: without a record of the last run, everything in them counts as changed.
LANDING = 10

#: Time limits of a run in minutes: a session starts if the run would stay below `AT_MOST`. CI kills a run after 90
#: minutes, so at `LATEST` the current session is stopped and counts as failed.
AT_MOST, LATEST = 50.0, 85.0


@dataclass(frozen=True)
class Slow:
    """A slow session. `minutes`: on a bare machine with two cores after `./dev nox`, as in CONTRIBUTING.md.

    `covers`: if one of these files or directories changes, the session is due, as for those in `EVERYBODY`.
    """

    name: str
    minutes: float
    covers: tuple[str, ...]
    sessions: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()

    @property
    def argv(self) -> list[str]:
        """Return the command, without `./dev`."""
        return ["nox", "-s", *(self.sessions or (self.name,)), *(("--", *self.arguments) if self.arguments else ())]


#: If one of these changes, every session is due.
EVERYBODY = ("tests/engine/conftest.py", "tests/support/process.py")

_SRC = "src/buildkit_tasks/"

#: A run's turn is every eighth session: one or two sessions, which together take at most 15 minutes.
SESSIONS = (
    Slow(
        "travel",
        7,
        (
            *(_SRC + place for place in ("packs", "registry", "data/cache")),
            *(f"tests/engine/{name}.py" for name in ("test_travel_machines", "machines", "cache_site")),
            *("tests/support/second_engine.py", "tests/support/oci_registry.py", "docker"),
        ),
    ),
    Slow(
        "multiarch",
        12,
        (
            *(_SRC + place for place in ("builds", "platforms", "dockerfiles/platforms.py", "registry/archive.py")),
            *(_SRC + place for place in ("images/check.py", "images/choice.py", "images/emulator.py")),
            *("tests/engine/test_platforms_sample.py", "docker", "services"),
        ),
        ("multiarch", "multiarch_list"),
    ),
    Slow(
        "adopt",
        9,
        (
            *(
                _SRC + place
                for place in (
                    "adopt",
                    "survey",
                    "existing",
                    "distributions",
                    "workspaces",
                    "recipes",
                    "buildlog/lacks.py",
                )
            ),
            *(f"tests/engine/{name}.py" for name in ("adopted", "test_adopt", "test_adopt_remedies")),
            "tests/engine/test_adopt_wheel.py",
            *(f"tests/support/repositories{end}.py" for end in ("", "_served")),
            "docker",
        ),
    ),
    Slow(
        "degraded",
        3,
        (
            *(_SRC + place for place in ("legacy/tiers.py", "legacy/fallback.py", "doctor")),
            *("tests/engine/test_old_engine.py", "tests/support/old_engine.py", "docker"),
        ),
    ),
    Slow(
        "builders",
        6,
        (
            *(_SRC + place for place in ("builders", "data/images/buildkit", "pipeline/spread.py")),
            *(f"tests/engine/{name}.py" for name in ("test_builders", "test_buildkit_image", "machines", "cache_site")),
            *("tests/support/buildkit_nodes.py", "tests/support/oci_registry.py"),
        ),
    ),
    Slow(
        "cache-long",
        5,
        (_SRC + "caches", "tests/engine/test_cache_rust.py", "tests/engine/cache_site.py", "docker"),
    ),
    Slow(
        "from-make",
        6,
        (
            *(_SRC + place for place in ("tasks", "database")),
            *("tests/engine/test_from_make.py", "tests/support/make_rows.py", "tests/support/make_site.py"),
        ),
        arguments=("-k", "ledger"),
    ),
    Slow(
        "ci-templates",
        14,
        (
            *(_SRC + place for place in ("ci", "cargo/shared.py", "data/cargo", "tasks/ci.py")),
            *("tests/engine/test_ci_templates.py", "tests/support/ci_runners.py"),
        ),
    ),
    Slow(
        "surroundings",
        7,
        (
            *(_SRC + place for place in ("core/world.py", "core/run.py", "core/readfile.py", "tasks/program.py")),
            *("tests/cli/test_every_task.py", "tests/support/situations.py"),
        ),
        arguments=("--slice",),
    ),
    Slow(
        "watch-long",
        3,
        (_SRC + "watch", _SRC + "stack/wait.py", "tests/engine/test_watch.py", "tests/support/watching.py"),
    ),
    Slow(
        "adopt-real",
        6,
        (
            *(_SRC + place for place in ("adopt", "recipes")),
            *("tests/engine/test_adopt_real.py", "tests/support/repositories_real.py", "tests/repositories"),
        ),
    ),
    Slow(
        "compose-long",
        9,
        (
            *(_SRC + place for place in ("project", "builds", "dockerfiles", "builders/facts.py")),
            *(f"tests/engine/test_compose_{name}.py" for name in ("generated", "print")),
            *(f"tests/support/{name}.py" for name in ("compose_trees", "built_images", "newer_plugins")),
        ),
        arguments=("--files", "60"),
    ),
    Slow(
        "stale",
        8,
        (_SRC + "builds/transfer.py", "tests/engine/staleness", "docker"),
        arguments=("--slice", "--steps", "200"),
    ),
    Slow(
        "faults",
        8,
        (_SRC + "core/run.py", "tests/engine/faults"),
        arguments=("--slice",),
    ),
    Slow(
        "bench-long",
        8,
        (
            *(_SRC + place for place in ("bench", "samples", "data/bench", "tasks/build.py")),
            "tests/engine/test_bench.py",
        ),
    ),
)


@dataclass(frozen=True)
class Past:
    """What is known about earlier runs. `number` picks the turn.

    `changed`: the files changed since each session passed, otherwise the files in the commits that landed. `rest`: how
    many runs ago each session passed on this machine; sessions that never passed are counted from before the first run.
    """

    number: int
    changed: Mapping[str, Collection[str]]
    rest: Mapping[str, int]


@dataclass(frozen=True)
class Choice:
    """A session and the reason to run it. Sessions that are due run first."""

    session: Slow
    due: bool
    why: str


def choose(past: Past, sessions: Sequence[Slow] = SESSIONS) -> list[Choice]:
    """Return all sessions in the order to run them: changed ones, those of this turn, then those of the next turns."""
    made = []
    for place, session in enumerate(sessions):
        wait = (place - past.number) % TURNS
        touched = sorted(f for f in past.changed[session.name] if _covered(f, (*EVERYBODY, *session.covers)))
        if touched:
            more = f" and {len(touched) - 1} more" if len(touched) > 1 else ""
            made.append((0, Choice(session, True, f"{touched[0]}{more} changed")))
        elif past.rest[session.name] >= TURNS:
            made.append((1, Choice(session, True, f"not passed in the last {past.rest[session.name] - 1} runs here")))
        elif wait == 0:
            made.append((1, Choice(session, True, f"its turn (every {TURNS} runs)")))
        else:
            made.append((1 + wait, Choice(session, False, f"not due for {wait} more run{'s' if wait > 1 else ''}")))
    return [choice for _, choice in sorted(made, key=lambda one: one[0])]


def fits(choice: Choice, used: float) -> bool:
    """Return whether a run has time for the session after `used` minutes."""
    return used + choice.session.minutes <= AT_MOST


def _covered(file: str, covers: Sequence[str]) -> bool:
    """Return whether a session covers a changed file. Pages only affect readers, so no session covers them."""
    return not file.endswith(".md") and any(file == one or file.startswith(f"{one}/") for one in covers)


def look(repository: Path, memory: Path, sessions: Sequence[Slow] = SESSIONS) -> Past:
    """Read the history and, on a persistent machine, the record of earlier runs."""
    count = _git(repository, "rev-list", "--count", "--first-parent", "HEAD") or "0"
    merge = _git(repository, "rev-parse", "--verify", "--quiet", "HEAD^2")
    landed = _git(repository, "rev-parse", "--verify", "--quiet", "HEAD^1" if merge else f"HEAD~{LANDING}")
    runs, played = remembered(memory)
    changed, rest = {}, {}
    for session in sessions:
        run, commit = played.get(session.name, (0, ""))
        rest[session.name] = runs + 1 - run
        behind = re.fullmatch("[0-9a-f]{40,64}", commit) and _git(repository, "merge-base", commit, "HEAD") == commit
        since = commit if behind else landed
        # without a commit to compare with, everything counts as changed
        what = ("diff", "--name-only", since, "HEAD") if since else ("ls-tree", "-r", "--name-only", "HEAD")
        changed[session.name] = _git(repository, *what).splitlines()
    return Past(int(count), changed, rest)


def remembered(memory: Path) -> tuple[int, dict[str, tuple[int, str]]]:
    """Return the number of runs here, and each session's last pass (run, commit); empty if the file is invalid."""
    try:
        kept = json.loads(memory.read_text("utf-8"))
        return int(kept["runs"]), {str(k): (int(run), str(commit)) for k, (run, commit) in kept["played"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return 0, {}


def remember(memory: Path, repository: Path, passed: Collection[str]) -> None:
    """Record the end of this run, and the sessions that passed."""
    runs, played = remembered(memory)
    commit = _git(repository, "rev-parse", "HEAD")
    played |= dict.fromkeys(passed, (runs + 1, commit))
    memory.parent.mkdir(parents=True, exist_ok=True)
    fresh = memory.with_suffix(".new")
    fresh.write_text(json.dumps({"runs": runs + 1, "played": played}, indent=1) + "\n", "utf-8")
    fresh.replace(memory)


def _git(repository: Path, *argv: str) -> str:
    """Return git's output, or an empty string if it fails."""
    done = subprocess.run(["git", *argv], cwd=repository, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def play(argv: Sequence[str], minutes: float) -> int:
    """Run a command until it ends or its time is up; interrupt it first, so that it can clean up."""
    with subprocess.Popen(argv, cwd=REPOSITORY, start_new_session=True) as playing:
        try:
            return playing.wait(timeout=minutes * 60)
        except BaseException as error:
            for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(playing.pid, kind)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    playing.wait(timeout=60)
                    break
            if isinstance(error, subprocess.TimeoutExpired):
                return 124
            raise


def main() -> int:
    """Run the sessions that fit; return 1 if one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.turns")
    parser.add_argument("--began", type=float, default=time.time(), help="start of the run, in seconds since 1970")
    parser.add_argument("--list", action="store_true", help="only print the choice")
    parser.add_argument("--proven", choices=("yes", "no"), default="yes" if proof.holds() else "no")
    given = parser.parse_args()
    if given.proven == "no":
        # tests/engine/staleness/proof.py: without a proof, the engine session has run every case of every design, which
        # takes as long as all other slow sessions together
        print("turn: no other slow sessions: this run covers the whole never-stale matrix (recipe not proven yet)")
        return 0
    past = look(REPOSITORY, MEMORY)
    lines: list[str] = []
    passed: list[str] = []
    spent = 0.0  # minutes that --list would have used
    for choice in choose(past):
        session = choice.session
        used = (time.time() - given.began) / 60 + spent
        room = fits(choice, used)
        head = f"{session.name} (about {session.minutes:.0f} min, {used:.0f} used): {choice.why}"
        if given.list or not room:
            spent += session.minutes if given.list and room else 0
            lines.append(
                f"{'run' if room else 'skip'} {head}{'' if room or not choice.due else ', but NO TIME IS LEFT'}"
            )
            continue
        print(f"turn: running {head}", flush=True)
        began = time.time()
        code = play(session.argv, LATEST - used)
        passed += [] if code else [session.name]
        lines.append(f"{'FAILED' if code else 'passed'} {head}; took {(time.time() - began) / 60:.1f} min")
    if not given.list:
        remember(MEMORY, REPOSITORY, passed)
    print("\n".join(f"turn: {line}" for line in lines), flush=True)
    return 1 if any(line.startswith("FAILED") for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
