"""Every task in broken environments: a documented exit code, at most one error, in time, and never a traceback.

New tasks are included automatically. A usual run tests each task in the environments of `ALWAYS` and in a few of the
others, so that every environment is used with some task. `./dev nox -s surroundings` tests each task in each
environment; with `-- --slice`, in every seventh environment, so that seven runs cover all of them.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from pathlib import Path

import pytest

from buildkit_tasks import namespace
from buildkit_tasks.core.errors import EXIT_CODES
from tests.support import process, situations
from tests.support.fork_server import Ran, Request, Server
from tests.support.situations import WORDS, Situation

TASKS = sorted(context.name for context in namespace.to_contexts())
SITUATIONS = situations.situations()
ALWAYS = ("nothing", "a home that cannot be written", "in a folder called 'it\\'s $HOME \"x\"\\n\u00fc'")
EVERY = "BUILDKIT_TASKS_TESTS_EVERY_SITUATION" in os.environ

#: Number of parts: a slice runs one part of the situations with each task; the commit decides which one.
PARTS = 7
SLICE = os.environ.get("BUILDKIT_TASKS_TESTS_EVERY_SITUATION") == "slice"


def commit() -> int:
    """Return the number of commits, or 0 without a history."""
    done = process.run(["git", "rev-list", "--count", "HEAD"], Path(__file__).parent)
    return int(done.out) if done.code == 0 else 0


#: The number of the commit, determined once for all tests.
NUMBER = commit() if SLICE else 0

#: Tasks that exit with the code of the program they run, or with Invoke's code for a missing argument.
PASSES_ON = {"run", "shell", "db.shell", "logs", "cargo.run"}

#: Tasks that run until they are stopped, and their output when they are ready.
GOES_ON = {"watch": "press Ctrl-C to stop"}

#: Seconds for everything except waiting.
REST = 20


def objections(task: str, ran: Ran) -> list[str]:
    """Return what is wrong with how a run ended."""
    said = ran.done.all
    found = []
    if ran.late and GOES_ON.get(task, "\0") in ran.done.err:
        return ["a password"] if situations.PASSWORD in said else []
    if "Traceback" in said or "This is a bug" in said or ran.done.code == 70:
        errors = [line for line in said.splitlines() if re.match(r"[\w.]*(Error|Exception|Refused)\b", line)]
        found.append(f"a traceback: {errors[-1:]}")
    if ran.late:
        found.append("it did not end")
    codes = re.findall(r"^error\[([\w-]+)\]", ran.done.err, re.MULTILINE)
    if ran.done.code < 0 and not ran.late:
        found.append(f"killed by signal {-ran.done.code}")
    after = ran.done.code == EXIT_CODES["unhealthy-setup"] and task == "doctor"  # a failed fix is one finding of many
    if codes and ran.done.code != EXIT_CODES.get(codes[-1]) and not after:
        found.append(f"code {ran.done.code} after error[{codes[-1]}]")
    documented = ran.done.code in (0, 1, 2, 141) or ran.done.code in EXIT_CODES.values() or task in PASSES_ON
    if not documented and not ran.late:
        found.append(f"code {ran.done.code} is not documented")
    if task not in PASSES_ON and "\x1b[2J" in said:
        found.append("an escape sequence from outside")
    if situations.PASSWORD in said:
        found.append("a password")
    return found


def chosen(task: str) -> dict[str, Situation]:
    """Return the situations of this run."""
    if EVERY and not SLICE:
        return SITUATIONS
    parts, first = (PARTS, NUMBER) if SLICE else (len(TASKS), 0)
    mine = {name for number, name in enumerate(SITUATIONS) if (number + first - TASKS.index(task)) % parts == 0}
    return {name: each for name, each in SITUATIONS.items() if name in mine or name in ALWAYS}


def test_the_surroundings_of_every_day_exist() -> None:
    assert set(ALWAYS) <= SITUATIONS.keys()
    assert set(WORDS) <= set(TASKS)
    assert {name for task in TASKS for name in chosen(task)} == SITUATIONS.keys()


def test_other_users_can_enter_the_directory_also_when_another_session_begins(
    open_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tmp_path_factory.getbasetemp().parent.chmod(0o700)  # as pytest does
    assert [folder for folder in (open_dir, *open_dir.parents) if not folder.stat().st_mode & stat.S_IXOTH] == []


@pytest.mark.parametrize("task", TASKS)
def test_a_task_ends_with_one_error_whatever_is_wrong_around_it(open_dir: Path, server: Server, task: str) -> None:
    wrong = []
    for number, (name, situation) in enumerate(chosen(task).items()):
        folder = open_dir / str(number)
        folder.mkdir()
        made = situations.make(folder, situation.name)
        if name.startswith("state is "):
            for before in (["build"], ["images.show"], ["completion", "bash", "--values", "service"], [task]):
                server.run(before, made.root, made.env, folder)
        situation.prepare(made)
        calls = WORDS.get(task, ((),))
        for words in calls if EVERY and not SLICE else (calls[number % len(calls)],):
            ran = server.run((task, *words), made.root, made.env, folder, seconds=REST, user=made.user)
            wrong += [
                f"{' '.join((task, *words))}; {name}: {why}\n{ran.done.err[-1500:]}" for why in objections(task, ran)
            ]
        shutil.rmtree(folder, ignore_errors=True)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("task", TASKS)
def test_a_task_ends_with_one_error_whatever_its_streams_are(open_dir: Path, server: Server, task: str) -> None:
    made = situations.make(open_dir)
    words = (task, *WORDS.get(task, ((),))[0])
    streams = {
        "a full disk": Request(words, made.root, made.env, open_dir, out="/dev/full"),
        "closed": Request(words, made.root, made.env, open_dir, out=None),
        "messages to a full disk": Request(words, made.root, made.env, open_dir, err="/dev/full"),
        "messages to nobody": Request(words, made.root, made.env, open_dir, err=None),
        "ASCII": Request(words, made.root, made.env | {"LC_ALL": "C"}, open_dir, encoding="ascii"),
        "a deleted directory": Request(("-r", str(made.root), *words), made.root, made.env, open_dir, gone=True),
    }
    wrong = []
    for number, (name, request) in enumerate(streams.items()):
        if not EVERY and (number + TASKS.index(task)) % 2:
            continue
        (ran,) = server.run_all([request])
        wrong += [f"{name}: {why}\n{ran.done.all[-1500:]}" for why in objections(task, ran) if request.err == ""]
        if ran.late or ran.done.code == 70 or ran.done.code < 0:
            wrong.append(f"{name}: code {ran.done.code}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("home", ["/dev/null/home", "Cargo.toml"])
def test_a_home_that_cannot_be_a_directory_is_one_error(open_dir: Path, home: str) -> None:
    """`buildkit-tasks` only: `invoke` reads its configuration from there before it loads our code."""
    made = situations.make(open_dir)
    env: dict[str, str | None] = {**made.env, "HOME": str(made.root / home)}
    for task in ("settings", "build", "doctor"):
        done = process.run([process.BIN / "buildkit-tasks", task], made.root, env, timeout=REST)
        assert "Traceback" not in done.all
        assert done.code == EXIT_CODES["system-refused"], done.all
        assert f"error[system-refused]: {made.root / home}" in done.err


def test_no_task_waits_for_an_engine_that_never_answers(open_dir: Path, server: Server) -> None:
    """Run all tasks at once: nearly all of them wait for `docker info`, which has a limit of 15 seconds.

    Builder tasks ask buildx first, which has a limit of one minute (tests/unit/test_command_lines.py).
    """
    requests, tasks = [], [task for task in TASKS if task not in ("builder.list", "builder.remove", "builder.use")]
    for task in tasks:
        folder = open_dir / task
        folder.mkdir()
        made = situations.make(folder)
        situations.hangs(made)
        requests.append(Request((task, *WORDS.get(task, ((),))[0]), made.root, made.env, folder, seconds=50))
    wrong = []
    for task, ran in zip(tasks, server.run_all(requests), strict=True):
        wrong += [f"{task}: {why}\n{ran.done.err[-600:]}" for why in objections(task, ran)]
    assert not wrong, "\n".join(wrong)
