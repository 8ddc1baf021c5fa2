"""The only module that starts processes. Every command is an argv list with an absolute working directory.

It is longer than other modules because it keeps all ways to start, wait for and end a process in one place.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import IO, TypeVar

from . import outside
from .errors import Problem
from .exchange import MOST, Exchange, TooMuch
from .model import Command, Result
from .world import World

T = TypeVar("T")

#: Seconds that a child has to exit after Ctrl-C before it is killed. buildx needs some time to cancel its solve.
INTERRUPT_GRACE = 15.0

#: Seconds until a command that timed out is killed, and until we stop reading its streams.
TERMINATE_GRACE = 2.0

#: Raised by `Exchange.run` if the time is over.
_LATE = (TimeoutError, subprocess.TimeoutExpired)

#: The exit code of a command that took too long.
TIMED_OUT = 124

#: Runs a command, and ends it and its children when stdin is closed, which happens no matter how this process ends.
#: The kernel's parent-death signal (PR_SET_PDEATHSIG) is not enough: only Linux has it, and docker's plugin is a child
#: of docker.
LIFELINE = 'exec 3<&0; { cat; kill -TERM 0; } <&3 3<&- > /dev/null 2>&1 & exec "$@" 3<&- < /dev/null'


def show(command: Command) -> str:
    """Format the command as a line to read or paste, with secrets masked."""
    line = shlex.join(command.argv)
    for secret in command.secrets:
        if secret:
            line = line.replace(secret, "***")
    return line


#: With this variable, a docker plugin behaves as if started by docker (docker/cli, cli-plugins/metadata).
STARTED_BY_DOCKER = "DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND"

#: With another value of one of these, docker may find other plugins.
_CHOOSES_PLUGINS = frozenset({"PATH", "HOME", "DOCKER_CONFIG"})


def _program(world: World, command: Command) -> tuple[Sequence[str], dict[str, str]]:
    """Return the arguments and the environment of the process.

    docker starts a plugin with its own arguments, after about 45 ms. If the plugin is known, we do the same at once.
    """
    env = {**world.env, **dict(command.env)}
    if command.argv[0] == "docker" and len(command.argv) > 1 and _CHOOSES_PLUGINS.isdisjoint(dict(command.env)):
        plugin = world.plugins().get(command.argv[1])
        if plugin and os.access(plugin, os.X_OK):
            return (plugin, *command.argv[1:]), {**env, STARTED_BY_DOCKER: "docker"}
    return command.argv, env


def _start(
    world: World,
    command: Command,
    *,
    stdin: int | None,
    stdout: int | None,
    stderr: int | None,
    group: bool = False,
) -> subprocess.Popen[bytes]:
    if not command.cwd.is_absolute():
        raise ValueError(f"command needs an absolute cwd: {command.cwd}")
    process = None
    argv, env = _program(world, command)
    try:
        with outside.deferred():
            process = subprocess.Popen(
                argv,
                cwd=command.cwd,
                env=env,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                start_new_session=group,  # a helper must not receive the Ctrl-C meant for the build
            )
    except KeyboardInterrupt:  # Ctrl-C arrived while the process was starting
        if process:
            _wait_interrupted(process)
        raise
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        if not command.cwd.is_dir():
            raise Problem("command-failed", f"The directory {command.cwd} does not exist.") from error
        raise Problem(
            "engine-missing" if command.argv[0] == "docker" else "command-missing",
            f"Cannot start the program {command.argv[0]!r}.",
            causes=[str(error.strerror or error)],
            hint="run `invoke engine.install`" if command.argv[0] == "docker" else f"install {command.argv[0]}",
        ) from error
    return process


def _wait_interrupted(process: subprocess.Popen[bytes]) -> None:
    """After Ctrl-C, interrupt the child unless the terminal already has, and wait for it."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(INTERRUPT_GRACE)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
        process.wait()


def _wait_for_group(group: int) -> None:
    """Wait briefly for the processes of a group to exit. Nothing depends on whether they do."""
    for _ in range(20):
        try:
            os.killpg(group, 0)
        except OSError:
            return
        time.sleep(0.01)


def _give_up(process: subprocess.Popen[bytes], exchange: Exchange) -> None:
    """End a command that timed out or printed too much, after reading what it still prints.

    A docker plugin is a separate process. It ends with docker if docker passes the signal on; if not, it may hold the
    streams open indefinitely.
    """
    for end in (process.terminate, process.kill):
        end()
        try:
            exchange.run(TERMINATE_GRACE)
        except (*_LATE, TooMuch):
            continue
        return
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            stream.close()
    process.wait()


@contextlib.contextmanager
def _temporary_files(command: Command) -> Iterator[Command]:
    """Yield the command with a TMPDIR that is deleted afterwards, if it leaves files in there."""
    if not command.litters:
        yield command
        return
    import tempfile  # late: 9 ms that queries do not need

    with tempfile.TemporaryDirectory(prefix="buildkit-tasks-", ignore_cleanup_errors=True) as place:
        yield replace(command, env=(*command.env, ("TMPDIR", place)))


def capture(world: World, command: Command, *, timeout: float | None = None, group: bool = False) -> Result:
    """Run to completion and capture both streams. After `timeout` seconds, end the command, with exit code 124.

    Without a `timeout`, a query that does not respond within its patience raises `Problem` timed-out.

    `group` starts a new session, because an interactive shell would otherwise take over the terminal.
    """
    with _temporary_files(command) as command:
        return _capture(world, command, timeout, group)


def _capture(world: World, command: Command, timeout: float | None, group: bool) -> Result:
    began = world.clock()
    process = _start(
        world,
        command,
        stdin=subprocess.PIPE if command.stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        group=group,
    )
    given = command.stdin.encode("utf-8", "surrogateescape") if command.stdin is not None else b""
    exchange = Exchange(process, given)
    code = None
    try:
        exchange.run(timeout or command.patience or None)
    except _LATE:
        _give_up(process, exchange)
        if not timeout:
            raise _unanswered(command) from None
        code = TIMED_OUT
    except TooMuch:
        _give_up(process, exchange)
        raise _too_much(command) from None
    except KeyboardInterrupt:
        _wait_interrupted(process)
        raise
    out, err = exchange.output
    return Result(
        command,
        process.returncode if code is None else code,
        out.decode(errors="replace"),
        err.decode(errors="replace"),
        world.clock() - began,
    )


def _unanswered(command: Command) -> Problem:
    hint, causes = "rerun the command", []
    if command.argv[0] == "docker":
        causes = ["the engine or a builder accepts connections but does not respond, or is very busy"]
        hint = f"restart the engine (sudo systemctl restart docker), then {hint}"
    words = f"`{show(command)}` did not respond within {command.patience:.0f} s."
    return Problem("timed-out", words, causes=causes, hint=hint)


def _too_much(command: Command) -> Problem:
    words = " ".join(command.argv[:4])
    return Problem(
        "answer-invalid",
        f"`{words}` printed more than {MOST >> 20} MiB.",
        causes=["the program is broken, or it is not the program that it should be"],
        hint=f"run `{words} …` yourself; run `type -a {command.argv[0]}` to check for a wrapper",
    )


def check(world: World, command: Command, *, timeout: float | None = None) -> Result:
    """Like `capture`, but a non-zero exit raises a `Problem` with the program's own output."""
    result = capture(world, command, timeout=timeout)
    if result.code != 0:
        raise Problem(
            "command-failed",
            f"`{show(command)}` exited with code {result.code}.",
            details=(result.stderr or result.stdout).strip(),
        )
    return result


def piped(
    world: World, command: Command, *, source: IO[bytes] | None = None, target: IO[bytes] | None = None
) -> Result:
    """Run with files of any size as input, output or both. Captures stderr, and stdout unless it goes to a file."""
    began = world.clock()
    process = _start(
        world,
        command,
        stdin=source.fileno() if source else subprocess.DEVNULL,
        stdout=target.fileno() if target else subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    exchange = Exchange(process)
    try:
        exchange.run(None)
    except TooMuch:
        _give_up(process, exchange)
        raise _too_much(command) from None
    except KeyboardInterrupt:
        _wait_interrupted(process)
        raise
    said, err = (stream.decode(errors="replace") for stream in exchange.output)
    return Result(command, process.returncode, said, err, world.clock() - began)


def consume(world: World, command: Command, read: Callable[[IO[bytes]], T]) -> tuple[T, Result]:
    """Run, and pass stdout to `read` as a stream of any length. Returns what `read` returns, and the result.

    A command that is still running when `read` returns fails, because its output is closed.
    """
    began = world.clock()
    process = _start(world, command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr is not None  # noqa: S101 - for the type checker: PIPE was requested
    assert process.stdout is not None  # noqa: S101
    kept: list[bytes] = []
    reader = threading.Thread(target=_drain, args=(process.stderr, kept), daemon=True)
    reader.start()
    try:
        with process.stdout:
            found = read(process.stdout)
        process.wait()
    except BaseException:
        _wait_interrupted(process)
        raise
    finally:
        reader.join(timeout=1)
    said = b"".join(kept).decode(errors="replace")
    return found, Result(command, process.returncode, "", said, world.clock() - began)


def foreground(world: World, command: Command) -> int:
    """Run with this process's own streams (an interactive shell, followed logs) and return the exit code."""
    # through docker: a plugin would receive a Ctrl-C from the terminal and from us, and `compose run` passes on both
    process = _start(replace(world, plugins=dict), command, stdin=None, stdout=None, stderr=None)
    try:
        return process.wait()
    except KeyboardInterrupt:
        _wait_interrupted(process)
        raise


def stream(
    world: World,
    command: Command,
    on_stderr: Callable[[bytes], None],
    *,
    left: Callable[[], float] | None = None,
    group: bool = False,
    started: Callable[[], None] | None = None,
) -> Result:
    """Run, pass on stderr in chunks as it arrives, and capture stdout. Always waits for the child.

    `left` returns the remaining seconds and is called again once they have passed. When none remain, the command is
    interrupted as with Ctrl-C, which lets it clean up; the exit code is 124. `group` starts a new session, which a
    Ctrl-C on the terminal does not reach. `started` is called once the command runs.
    """
    with _temporary_files(command) as command:
        return _stream(world, command, on_stderr, left, group, started)


def _stream(
    world: World,
    command: Command,
    on_stderr: Callable[[bytes], None],
    left: Callable[[], float] | None,
    group: bool,
    started: Callable[[], None] | None,
) -> Result:
    began = world.clock()
    process = _start(
        world,
        command,
        stdin=subprocess.PIPE if command.stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        group=group,
    )
    assert process.stderr is not None  # noqa: S101 - for the type checker: PIPE was requested
    assert process.stdout is not None  # noqa: S101
    kept: list[bytes] = []
    reader = threading.Thread(target=_drain, args=(process.stdout, kept), daemon=True)
    reader.start()
    late, ended = threading.Event(), threading.Event()

    def interrupt(left: Callable[[], float]) -> None:
        while (seconds := left()) > 0:
            if ended.wait(seconds):
                return
        late.set()
        process.send_signal(signal.SIGINT)

    if left:
        threading.Thread(target=interrupt, args=(left,), daemon=True).start()
    try:
        if command.stdin is not None and process.stdin is not None:
            try:
                process.stdin.write(command.stdin.encode("utf-8", "surrogateescape"))
                process.stdin.close()
            except BrokenPipeError:
                pass  # it exited early; its exit code and stderr show why
        if started:
            started()
        while chunk := os.read(process.stderr.fileno(), 65536):
            on_stderr(chunk)
        process.wait()
    except BaseException:
        _wait_interrupted(process)
        raise
    finally:
        ended.set()
        reader.join(timeout=1)
        process.stderr.close()
    return Result(
        command,
        TIMED_OUT if late.is_set() else process.returncode,
        b"".join(kept).decode(errors="replace"),
        "",
        world.clock() - began,
    )


def follow(world: World, command: Command, on_output: Callable[[bytes], None], *, without: Collection[str] = ()) -> int:
    """Run and pass on both streams as one, as output arrives. Returns the exit code.

    `without`: this process's variables that the program must not receive.
    """
    env = {name: value for name, value in world.env.items() if name not in without}
    process = _start(
        replace(world, env=env), command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None  # noqa: S101 - for the type checker: PIPE was requested
    try:
        with process.stdout:
            while chunk := os.read(process.stdout.fileno(), 65536):
                on_output(chunk)
        return process.wait()
    except BaseException:
        _wait_interrupted(process)
        raise


@contextlib.contextmanager
def beside(world: World, command: Command) -> Iterator[Callable[[], int]]:
    """Run alongside other work, writing to the same output. When the block ends, interrupt the command and wait for it.

    A Ctrl-C on the terminal does not reach the command; a SIGKILL of this process ends it too. Yields a function that
    waits for the command to exit and returns its exit code.
    """
    guarded = replace(command, argv=("sh", "-c", LIFELINE, "sh", *command.argv))
    process = _start(world, guarded, stdin=subprocess.PIPE, stdout=None, stderr=None, group=True)
    assert process.stdin is not None  # noqa: S101 - for the type checker: PIPE was requested
    try:
        yield process.wait
    finally:
        _wait_interrupted(process)
        process.stdin.close()
        _wait_for_group(process.pid)


def detach(world: World, command: Command, log: str) -> int:
    """Start a daemon in its own session, appending its output to the file `log`. Returns its pid."""
    with open(log, "ab") as sink:  # noqa: PTH123
        process = _start(
            world, command, stdin=subprocess.DEVNULL, stdout=sink.fileno(), stderr=sink.fileno(), group=True
        )
    # Nobody waits for a daemon. Without this, Python would warn about the unreaped child.
    process.returncode = 0
    return process.pid


def _drain(stream: IO[bytes], into: list[bytes]) -> None:
    """Read a stream to its end, and keep its first `MOST` bytes."""
    left = MOST
    with stream:
        while piece := stream.read(65536):
            into.append(piece[:left])
            left -= len(into[-1])
