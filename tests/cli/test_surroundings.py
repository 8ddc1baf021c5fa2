"""Closed or full streams, a deleted directory, a read-only home: one error, never a traceback."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Bench
from tests.support import process
from tests.support.process import Done


def _shell(bench: Bench, script: str) -> Done:
    return process.run(["bash", "-c", script], bench.root, bench.environment(), timeout=60)


@pytest.mark.parametrize("command", ["invoke settings", "invoke settings --json", "invoke build --plan --json"])
@pytest.mark.parametrize("where", [">/dev/full", ">&-"])
def test_a_result_that_cannot_be_written_is_one_error(bench: Bench, command: str, where: str) -> None:
    done = _shell(bench, f"{command} {where}")
    assert done.code == 68, done.all
    assert done.err.count("error[output-failed]") == 1
    assert "Traceback" not in done.all


@pytest.mark.parametrize(
    "command", ["invoke --list", "invoke --help build", "buildkit-tasks --list", "buildkit-tasks build --help"]
)
def test_help_that_cannot_be_written_is_one_error(bench: Bench, command: str) -> None:
    done = _shell(bench, f"{command} > /dev/full")
    assert done.code == 68
    assert done.err.startswith("error[output-failed]: ")
    assert len(done.err.splitlines()) == 2


@pytest.mark.parametrize(
    "command", ["invoke settings", "invoke --list", "buildkit-tasks --list", "invoke --help build"]
)
def test_a_reader_that_has_enough_ends_the_command_in_silence(bench: Bench, command: str) -> None:
    done = _shell(bench, f"{command} | true; exit ${{PIPESTATUS[0]}}")
    assert done.code in (0, 141)  # 0 if the pipe accepted everything before its reader exited
    assert done.err == ""


@pytest.mark.parametrize("where", ["2>/dev/full", "2>&-"])
def test_a_build_goes_on_where_nobody_can_read_its_progress(bench: Bench, where: str) -> None:
    done = _shell(bench, f"invoke build --service api --json {where}")
    assert done.code == 0, done.all
    assert json.loads(done.out)["schema"] == 1


def test_a_deleted_working_directory_is_named(bench: Bench) -> None:
    done = _shell(bench, f"mkdir gone && cd gone && rmdir ../gone && invoke -r {bench.root} settings")
    assert done.code == 3
    assert "error[no-project]: The working directory has been deleted." in done.err
    assert "Traceback" not in done.all


def test_a_home_that_cannot_be_written_is_named(bench: Bench) -> None:
    bench.env["HOME"] = "/proc"
    done = bench.invoke("build", "--service", "api")
    assert "Traceback" not in done.all
    assert done.code == 69, done.all
    assert "error[system-refused]: Cannot create /proc/.local/state" in done.err
    assert "XDG_STATE_HOME" in done.err


#: Ctrl-C arrives while our tasks are being imported.
EARLY = """\
import os, signal, sys

class Early:
    def find_spec(self, name, path=None, target=None):
        if name == "buildkit_tasks.tasks.stack":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Early())
"""


@pytest.mark.parametrize("command", ["buildkit-tasks settings", "python -m buildkit_tasks settings", "invoke settings"])
def test_ctrl_c_while_the_tasks_load_prints_no_traceback(bench: Bench, tmp_path: Path, command: str) -> None:
    (tmp_path / "early").mkdir()
    (tmp_path / "early/sitecustomize.py").write_text(EARLY)
    bench.env["PYTHONPATH"] = str(tmp_path / "early")
    done = _shell(bench, command)
    assert done.code == (1 if command.startswith("invoke") else 130), done.all  # 1 is Invoke's own code
    assert done.all == ""


def test_nohup_survives_the_end_of_its_terminal(bench: Bench) -> None:
    bench.reply("buildx bake", wait=True)
    script = "trap '' HUP; exec invoke build --service api"
    running = process.start(["bash", "-c", script], bench.root, bench.environment())
    deadline = time.monotonic() + 20
    while not (bench.place / "waiting").exists():
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    running.send_signal(signal.SIGHUP)
    time.sleep(1)
    assert running.poll() is None
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=20)
    assert running.returncode == 143
