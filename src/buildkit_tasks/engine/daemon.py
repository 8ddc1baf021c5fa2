"""Checks a daemon's process and socket: whether it runs, listens and responds."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path


def alive(pid: int) -> bool:
    """Return whether the process is running; False for a zombie."""
    return _stat(pid)[:1] not in ([], ["Z"])


def name(pid: int) -> str:
    """Return the program that a process runs, as reported by the kernel (at most 15 characters)."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def born(pid: int) -> str:
    """Return the start time of a process in clock ticks since boot; empty if it does not exist."""
    return next(iter(_stat(pid)[19:20]), "")


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the name, which may contain spaces and brackets. See proc(5)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def listens(path: Path) -> bool:
    """Return whether something accepts connections at the socket. True if we have no permission to connect."""
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(2)
        try:
            door.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            pass
    return True


def answers(path: Path, seconds: float, running: Callable[[], bool] = lambda: True) -> bool:
    """Wait until the engine behind the socket responds. False at the timeout, or when `running` returns False.

    The daemon listens before it is ready and delays the response until then, so most of the time is spent in that
    request. Before it listens, there is no event to wait for, so we poll with increasing pauses.
    """
    end = time.monotonic() + seconds
    pause = 0.01
    while time.monotonic() < end:
        if ping(path, end - time.monotonic()):
            return True
        if not running():
            return False
        time.sleep(pause)
        pause = min(pause * 1.5, 0.25)
    return False


def ping(path: Path, seconds: float) -> bool:
    """Query the engine's health endpoint once. A socket that we are not allowed to open counts as up."""
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(max(0.1, seconds))
        try:
            door.connect(str(path))
            door.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            return b" 200 " in door.recv(200).partition(b"\r\n")[0]
        except PermissionError:
            return True
        except OSError:
            return False


def ended(pid: int, seconds: float) -> bool:
    """Wait for a process that is not our child to exit; False if it still runs after the timeout."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    except OSError:  # a kernel before 5.3
        end = time.monotonic() + seconds
        while alive(pid) and time.monotonic() < end:
            time.sleep(0.1)
        return not alive(pid)
    try:
        watch = select.poll()
        watch.register(handle, select.POLLIN)
        return bool(watch.poll(seconds * 1000)) or not alive(pid)
    finally:
        os.close(handle)
