"""Starts an installed engine with systemd, sysvinit or as a plain process, and stops what it started."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from buildkit_tasks.core import files, readfile, run, shapes
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command, Version
from buildkit_tasks.core.world import World
from buildkit_tasks.engine import host

from .daemon import alive, answers, born, ended, listens, name
from .facts import DEFAULT_SOCKETS, version

#: Timeout in seconds for a daemon to respond. After a crash, it first checks its layers and containers.
PATIENCE = 60.0

#: Timeout in seconds for a daemon to stop: it gives each container ten seconds.
STOP_PATIENCE = 60.0

#: Pid files and their programs. A daemon refuses to start if another process has the recorded pid.
PID_FILES = (
    (Path("/var/run/docker.pid"), "dockerd"),
    (Path("/var/run/docker/containerd/containerd.pid"), "containerd"),
)

#: The system's containerd. If this file exists, the daemon waits for it, even if nothing listens anymore.
CONTAINERD_SOCKET = Path("/run/containerd/containerd.sock")

LOG_LINES = 15

#: Maximum number of attempts to start a daemon that exits: BuildKit queries containerd about every cache record and its
#: ancestors one at a time, with a timeout of ten seconds (26.1.5). Two processes respond to each other faster on a
#: single CPU: with 4,100 records, it failed after 11 s on two CPUs (five out of five times) and took 7.5 s on one.
ATTEMPTS = 3
OUT_OF_TIME = "context deadline exceeded"


@dataclass(frozen=True)
class Started:
    """A process that we started. `born` (clock ticks since boot) sets it apart from a later one with the same pid."""

    pid: int
    born: str
    how: str
    log: str = ""


def start(world: World, say: Callable[[str], None]) -> Started:
    """Start this machine's engine and return when it responds. The caller must have root privileges.

    Raises `Problem` engine-start-failed with the daemon's last log lines, or engine-missing if none is installed.
    """
    for words in clear_stale(world):
        say(words)
    causes = []
    if host.systemd():
        result = run.capture(world, host.as_root(("systemctl", "start", "docker")))
        if result.code == 0 and answers(DEFAULT_SOCKETS[0], PATIENCE):
            return _remember(world, "systemctl stop docker")
        causes.append(f"systemd: {_last(result.stderr) or 'the docker unit started, but the engine does not respond'}")
    script = Path("/etc/init.d/docker")
    if not host.systemd() and script.exists():
        result = run.capture(world, host.as_root((str(script), "start")))
        if result.code == 0 and answers(DEFAULT_SOCKETS[0], 10):
            return _remember(world, f"{script} stop")
        said = _last(result.stderr or result.stdout).removeprefix(f"{script}: ")
        causes.append(f"{script}: {said or f'exit code {result.code}'}")
    daemon = host.which(world, "dockerd")
    if not daemon:
        raise Problem(
            "engine-missing", "No engine is installed on this machine.", causes=causes, hint="invoke engine.install"
        )
    if causes and not host.systemd():
        say(f"{causes[-1]}; starting dockerd directly")
    return _start_daemon(world, daemon, causes, say)


def _start_daemon(world: World, daemon: str, causes: list[str], say: Callable[[str], None]) -> Started:
    log = world.state_home / "engine" / "dockerd.log"
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for attempt in range(1, ATTEMPTS + 1):
        pid = _spawn(world, daemon, log, one_processor=attempt > 1)
        if answers(DEFAULT_SOCKETS[0], PATIENCE, lambda pid=pid: alive(pid)):  # type: ignore[misc]
            if attempt > 1:
                _all_processors(world, pid)
            return _remember(world, "", pid, str(log))
        text = run.capture(world, host.as_root(("tail", "-n", str(LOG_LINES), str(log)))).stdout
        if alive(pid) or _last(text) != OUT_OF_TIME or attempt == ATTEMPTS:
            break
        say("the daemon timed out reading its build cache; restarting it on one CPU")
        for words in clear_stale(world):
            say(words)
    if alive(pid):
        run.capture(world, host.as_root(("kill", str(pid))))
        ended(pid, STOP_PATIENCE)
        why = f"it did not respond within {PATIENCE:.0f} s and was stopped"
    else:
        why = "it exited immediately"
    raise Problem(
        "engine-start-failed",
        f"{daemon} could not be started: {why}.",
        causes=[*causes, _last(text)],
        details=text,
        hint=f"fix the problem shown in the log ({log}), then run `invoke engine.start`",
    )


def _spawn(world: World, daemon: str, log: Path, one_processor: bool) -> int:
    """Start the daemon in its own session, so it outlives us, and return its pid. Keeps the previous log as *.1."""
    pin = ("taskset", "-c", str(min(os.sched_getaffinity(0)))) if one_processor and host.which(world, "taskset") else ()
    if log.exists():
        run.capture(world, host.as_root(("mv", "-f", str(log), f"{log}.1")))
    # through a shell in the background, because sudo returns before the daemon starts
    line = 'log=$1; shift; setsid "$@" >>"$log" 2>&1 </dev/null & echo $!'
    return int(run.check(world, host.as_root(("sh", "-c", line, "sh", str(log), *pin, daemon))).stdout.strip())


def _all_processors(world: World, daemon: int) -> None:
    """Allow the daemon and its children (containerd, restarted containers) to use all CPUs again.

    A container's shim is not a child of the daemon; it is recognized by having one CPU and a later start time.
    """
    ours = os.sched_getaffinity(0)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(born(int(entry.name)) or 0) >= int(born(daemon) or 0):
            with contextlib.suppress(OSError):
                if os.sched_getaffinity(int(entry.name)) == {min(ours)} != ours:
                    every = ",".join(map(str, sorted(ours)))
                    run.capture(world, host.as_root(("taskset", "-a", "-c", "-p", every, entry.name)))


def clear_stale(world: World) -> list[str]:
    """Remove pid files of dead or unrelated processes, and a socket without a listener. Returns one line per removal.

    Keeps a containerd that outlived its killed daemon: the new daemon takes it over with its containers.
    """
    removed = []
    for path, program in PID_FILES:
        try:
            pid = int(path.read_text().strip() or "0")
        except (OSError, ValueError):
            continue
        if not (pid and alive(pid) and name(pid) == program):
            run.check(world, host.as_root(("rm", "-f", str(path))))
            removed.append(f"removed the stale file {path}: process {pid} is not {program}")
    if CONTAINERD_SOCKET.exists() and not listens(CONTAINERD_SOCKET):
        run.check(world, host.as_root(("rm", "-f", str(CONTAINERD_SOCKET))))
        removed.append(f"removed {CONTAINERD_SOCKET}: nothing is listening on it")
    return removed


def daemon_version(world: World) -> Version:
    """Return the version that the installed daemon reports; `()` if it cannot be determined."""
    daemon = host.which(world, "dockerd")
    if not daemon:
        return ()
    said = run.capture(world, Command((daemon, "--version"), Path("/")), timeout=10).stdout
    return version(said.partition("version")[2])


# ---- the record of what we started; nothing else is ever stopped ----


def _record_file(world: World) -> Path:
    return world.state_home / "engine" / "started.json"


def _remember(world: World, how: str, pid: int = 0, log: str = "") -> Started:
    if not pid:
        with contextlib.suppress(OSError, ValueError):
            pid = int(PID_FILES[0][0].read_text())
    started = Started(pid, born(pid), how, log)
    path = _record_file(world)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    files.replace(path, json.dumps(asdict(started)) + "\n", durable=False)
    return started


def started(world: World) -> Started | None:
    """Return the engine process that we started, if it is still running."""
    try:
        found = Started(**readfile.state(_record_file(world)))
        shapes.check(asdict(found), {"pid": int, "*": str})
    except (ValueError, TypeError):
        return None
    same = alive(found.pid) and name(found.pid) == "dockerd" and born(found.pid) == found.born
    return found if same else None


def stop(world: World, what: Started) -> None:
    """Stop the daemon we started, containers first, and wait for it to exit. Raises `Problem` engine-start-failed."""
    argv = tuple(what.how.split()) or ("kill", str(what.pid))
    run.check(world, host.as_root(argv))
    if not ended(what.pid, STOP_PATIENCE):
        raise Problem(
            "engine-start-failed",
            f"The engine (process {what.pid}) did not stop within {STOP_PATIENCE:.0f} s.",
            hint=f"see the engine's log: {what.log}" if what.log else "try again",
        )
    _record_file(world).unlink(missing_ok=True)


def _last(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
