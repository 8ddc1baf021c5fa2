"""Processes that do not respond, that leave others behind, and signals that arrive while a process starts."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import pytest

from buildkit_tasks.core import run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command
from buildkit_tasks.core.world import World
from buildkit_tasks.dockercli import buildx, docker
from tests.support import process

HERE = Path("/")


def test_a_question_that_is_not_answered_is_an_error_in_time() -> None:
    began = time.monotonic()
    with pytest.raises(Problem, match="did not respond within 0 s") as caught:
        run.capture(World.real(), Command(("sleep", "60"), HERE, patience=0.2))
    assert caught.value.code == "timed-out"
    assert time.monotonic() - began < 5


def test_a_plugin_that_outlives_its_program_keeps_nobody_waiting() -> None:
    script = "echo half; trap '' TERM; sleep 30 & wait"
    began = time.monotonic()
    found = run.capture(World.real(), Command(("sh", "-c", script), HERE), timeout=0.5)
    assert (found.code, found.stdout) == (124, "half\n")
    assert time.monotonic() - began < 10


#: A signal arrives after the child was started, and before anything has recorded it.
LATE = """\
import os, signal, subprocess, sys
from pathlib import Path
from buildkit_tasks.core import outside, run
from buildkit_tasks.core.model import Command
from buildkit_tasks.core.world import World

class Late(subprocess.Popen):
    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        while not Path("ready").exists():
            pass
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))

outside.end_on_signals()
subprocess.Popen = Late
child = "trap 'echo > ended; exit' INT; echo > ready; while :; do sleep 0.1; done"
try:
    run.capture(World.real(), Command(("sh", "-c", child), Path.cwd()))
except KeyboardInterrupt as error:
    print(type(error).__name__)
"""


@pytest.mark.parametrize(
    ("signal", "kind"), [("SIGTERM", "Ended"), ("SIGHUP", "Ended"), ("SIGINT", "KeyboardInterrupt")]
)
def test_a_signal_while_a_program_starts_ends_the_program_too(tmp_path: Path, signal: str, kind: str) -> None:
    done = process.run([process.BIN / "python", "-c", LATE, signal], tmp_path, timeout=30)
    assert (done.code, done.out) == (0, f"{kind}\n"), done.all
    assert (tmp_path / "ended").exists()


#: A program with a child process, like docker with a plugin, next to other work; both print their pids.
BESIDE = """\
import sys, time
from pathlib import Path
from buildkit_tasks.core import run
from buildkit_tasks.core.model import Command
from buildkit_tasks.core.world import World

with run.beside(World.real(), Command(("sh", "-c", "trap exit INT; sleep 600 & echo $! $$; wait"), Path.cwd())):
    time.sleep(float(sys.argv[1]))
"""


@pytest.mark.parametrize("killed", [True, False])
def test_what_runs_beside_ends_with_us_whatever_ends_us(tmp_path: Path, killed: bool) -> None:
    ours = process.start([sys.executable, "-c", BESIDE, "60" if killed else "0.5"], tmp_path)
    assert ours.stdout is not None
    assert ours.stderr is not None
    with ours.stdout as lines, ours.stderr:
        others = [Path("/proc", pid) for pid in lines.readline().split()]
        assert len(others) == 2
        if killed:
            assert all(p.exists() for p in others)
            ours.kill()
        assert ours.wait(30) == (-9 if killed else 0)
        until = time.monotonic() + 5
        while any(_runs(p) for p in others) and time.monotonic() < until:
            time.sleep(0.02)
        assert not [p for p in others if _runs(p)]


def _runs(place: Path) -> bool:
    try:
        return (place / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_stream_is_read_as_it_arrives_and_can_be_left_early() -> None:
    script = "head -c 300000 /dev/zero >&2; head -c 3000000 /dev/zero; exit 3"
    size, result = run.consume(World.real(), Command(("sh", "-c", script), HERE), lambda stream: len(stream.read()))
    assert (size, result.code, len(result.stderr)) == (3_000_000, 3, 300_000)
    first, result = run.consume(World.real(), Command(("yes",), HERE), lambda stream: stream.read(4))
    assert first == b"y\ny\n"
    assert result.code != 0
    with pytest.raises(ZeroDivisionError):
        run.consume(World.real(), Command(("yes",), HERE), lambda _: 1 // 0)


def test_what_a_command_leaves_in_tmpdir_is_deleted() -> None:
    command = Command(("sh", "-c", 'mkdir "$TMPDIR/left" && echo "$TMPDIR"; exit 3'), HERE, litters=True)
    for done in (run.capture(World.real(), command), run.stream(World.real(), command, lambda _: None)):
        assert done.code == 3
        place = Path(done.stdout.strip())
        assert place != Path(tempfile.gettempdir())
        assert not place.exists()


def test_every_build_that_reads_from_stdin_cleans_up() -> None:
    """buildx 0.13 leaves a directory in TMPDIR for every Dockerfile that is not a file."""
    inline = {"context": "/c", "dockerfile-inline": "FROM scratch\n"}
    for command in (
        buildx.bake(HERE, {"target": {"a": inline}}, HERE / "m"),
        buildx.build_target(HERE, inline, HERE / "m"),
        buildx.mount_build(HERE, "FROM a\n", HERE, base=("a", "a")),
        docker.build_one(HERE, "/c", {}, "FROM scratch\n", buildkit=True),
        docker.probe_build(HERE),
    ):
        assert command.litters, command.argv
    assert not docker.info(HERE).litters
    assert not docker.build_one(HERE, "/c", {}, Path("/c/Dockerfile"), buildkit=True).litters


def _printing(path: Path, words: str) -> Path:
    path.write_text(f'#!/bin/sh\necho "{words} ${{{run.STARTED_BY_DOCKER}-}} $*"\n')
    path.chmod(0o755)
    return path


def test_a_known_plugin_starts_with_the_arguments_and_the_variable_that_docker_passes(tmp_path: Path) -> None:
    _printing(tmp_path / "docker", "docker")
    plugin = _printing(tmp_path / "docker-compose", "plugin")
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    world = World(env, tmp_path, tmp_path, plugins=lambda: {"compose": str(plugin)})

    def printed(*words: str, env: tuple[tuple[str, str], ...] = ()) -> str:
        return run.check(world, Command(("docker", *words), tmp_path, env)).stdout.strip()

    assert printed("compose", "ps", env=(("A", "1"),)) == "plugin docker compose ps"
    assert printed("buildx", "ls") == "docker  buildx ls"
    assert printed("run", "compose") == "docker  run compose"
    for name in ("PATH", "HOME", "DOCKER_CONFIG"):  # docker may use other plugins then
        value = env["PATH"] if name == "PATH" else str(tmp_path)
        assert printed("compose", "ps", env=((name, value),)) == "docker  compose ps"
    # with our own streams, docker must be in between: a plugin would get a Ctrl-C from the terminal and from us
    _printing(tmp_path / "docker", "docker").write_text("#!/bin/sh\nexit 7\n")
    assert run.foreground(world, Command(("docker", "compose", "run"), tmp_path)) == 7
    _printing(tmp_path / "docker", "docker")
    plugin.unlink()
    assert printed("compose", "ps") == "docker  compose ps"


#: Prints endlessly, and does not end when asked to.
ENDLESS = "import os, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: os.write({}, bytes(1 << 20))"

#: Prints the problem of a call that captures an endless stream, and this process's peak memory in MB.
MEASURED = """\
import re, sys
from pathlib import Path
from buildkit_tasks.core import run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command
from buildkit_tasks.core.world import World

try:
    getattr(run, sys.argv[1])(World.real(), Command((sys.executable, sys.argv[2]), Path("/"), stdin="x" * 200_000))
except Problem as problem:
    print(problem.code, problem.message)
print(int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""


@pytest.mark.parametrize("how", ["capture", "check", "piped"])
@pytest.mark.parametrize("stream", [1, 2])
def test_endless_output_is_an_error_in_bounded_memory(tmp_path: Path, how: str, stream: int) -> None:
    began = time.monotonic()
    program = tmp_path / "program.py"
    program.write_text(ENDLESS.format(stream))
    done = process.run([sys.executable, "-c", MEASURED, how, program], HERE)
    said, megabytes = done.out.splitlines()
    assert said.startswith("answer-invalid")
    assert said.endswith("printed more than 32 MiB.")
    assert int(megabytes) < 200
    assert time.monotonic() - began < 60


def test_everything_is_passed_in_both_directions() -> None:
    script = (
        "import sys; data = sys.stdin.buffer.read(); sys.stderr.write('x' * 300_000); sys.stdout.buffer.write(data)"
    )
    text = "line\n" * 200_000
    found = run.capture(World.real(), Command((sys.executable, "-c", script), HERE, stdin=text))
    assert (found.code, found.stdout, len(found.stderr)) == (0, text, 300_000)
    ignores = run.capture(World.real(), Command(("sh", "-c", "exec <&-; echo fine"), HERE, stdin=text))
    assert (ignores.code, ignores.stdout) == (0, "fine\n")


def test_a_program_that_prints_too_much_may_clean_up(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import os, pathlib, signal, sys, time\n"
        "def end(*_): time.sleep(0.5); pathlib.Path('cleaned').touch(); os._exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "while True: os.write(1, bytes(1 << 20))\n"
    )
    with pytest.raises(Problem, match="printed more than"):
        run.capture(World.real(), Command((sys.executable, str(program)), tmp_path))
    assert (tmp_path / "cleaned").exists()
