"""A run that is killed between two files can be undone and repeated."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from buildkit_tasks.adopt import disk, undo
from buildkit_tasks.adopt.earlier import read_record
from tests.support import process

#: Write two new files and an edit; the process is killed when it is about to replace a file for the Nth time.
KILLED = """\
import os, signal, sys
from pathlib import Path
from buildkit_tasks.adopt import record, recorded
from buildkit_tasks.adopt.disk import Change
from buildkit_tasks.adopt.record import Entry, Record

left = int(sys.argv[1])

def hook(event, _):
    global left
    if event == "os.rename":
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
texts = {"compose.yaml": ("# mine\\n", "# ours\\n"), "docker/Dockerfile": (None, "FROM x\\n"), "z": (None, "z\\n")}
changed = [Change(p, b and b.encode(), a.encode()) for p, (b, a) in texts.items()]
entries = {p: Entry(b and b.encode(), a, record.digest(a.encode())) for p, (b, a) in texts.items()}
recorded.write(Path.cwd(), changed, Record(files=entries))
"""


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_a_killed_run_is_undone(tmp_path: Path, number: int) -> None:
    compose = tmp_path / "compose.yaml"
    compose.write_text("# mine\n")
    done = process.run([sys.executable, "-c", KILLED, str(number)], tmp_path)
    assert done.code == (-9 if number < 5 else 0), done.all
    old = read_record(tmp_path)
    assert bool(old.files) is (number > 1)
    # new files are written first: until they exist, compose still reads the user's Dockerfile
    assert compose.read_text() == ("# mine\n" if number < 5 else "# ours\n")
    assert process.run([sys.executable, "-c", KILLED, "99"], tmp_path).code == 0
    assert not list(tmp_path.rglob(".*.buildkit-tasks-*"))
    changed, kept = undo.changes(tmp_path, read_record(tmp_path).files)
    disk.apply(tmp_path, changed)
    assert kept == []
    assert compose.read_text() == "# mine\n"
    assert not (tmp_path / "docker/Dockerfile").exists()
