"""Checks of processes and sockets: the parts of a start that do not need an engine."""

from __future__ import annotations

import json
import os
import socket
import threading
from pathlib import Path

import pytest

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command
from buildkit_tasks.core.world import World
from buildkit_tasks.engine import daemon, host
from buildkit_tasks.engine import start as engine_start
from tests.support import process


def world(home: Path) -> World:
    return World(env={"PATH": os.environ["PATH"]}, cwd=home, home=home)


def test_this_process_is_alive_and_has_a_birth() -> None:
    assert daemon.alive(os.getpid())
    assert daemon.born(os.getpid()).isdigit()


def test_a_process_that_ended_but_was_not_waited_for_is_not_alive() -> None:
    child = process.start(["true"], Path("/"))
    assert daemon.ended(child.pid, 10)
    assert not daemon.alive(child.pid)  # a zombie: nobody has waited for `child`
    child.communicate()
    assert not daemon.alive(child.pid)
    assert daemon.born(child.pid) == ""


def test_waiting_for_a_process_that_stays_gives_up() -> None:
    child = process.start(["cat", "/dev/zero"], Path("/"))  # blocks on its full pipe
    try:
        assert not daemon.ended(child.pid, 0.2)
    finally:
        child.kill()
        child.communicate()


def test_a_socket_without_a_listener_does_not_listen(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert daemon.listens(path)
    assert path.exists()
    assert not daemon.listens(path)


def test_waiting_ends_at_once_when_the_daemon_does(tmp_path: Path) -> None:
    assert not daemon.answers(tmp_path / "none", 60, lambda: False)


def test_waiting_ends_when_the_engine_answers(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(100)
                client.sendall(b"HTTP/1.0 200 OK\r\n\r\nOK")

        thread = threading.Thread(target=serve)
        thread.start()
        assert daemon.answers(path, 10)
        thread.join()


def test_a_record_of_another_process_is_not_ours_to_stop(tmp_path: Path) -> None:
    here = world(tmp_path)
    place = here.state_home / "engine" / "started.json"
    place.parent.mkdir(parents=True)
    mine = {"pid": os.getpid(), "born": daemon.born(os.getpid()), "how": "", "log": ""}
    for record in (mine, {**mine, "pid": 0}, {**mine, "extra": 1}):  # this process is not dockerd
        place.write_text(json.dumps(record))
        assert engine_start.started(here) is None
    place.write_text("not json")
    assert engine_start.started(here) is None


def test_a_daemon_that_ran_out_of_its_own_time_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = tmp_path / "dockerd"
    tries = tmp_path / "tries"
    daemon.write_text(f"#!/bin/sh\necho x >>{tries}\necho context deadline exceeded >&2\nexit 1\n")
    daemon.chmod(0o755)
    monkeypatch.setattr(engine_start, "DEFAULT_SOCKETS", (tmp_path / "nobody.sock",))
    monkeypatch.setattr(engine_start, "PID_FILES", ())
    monkeypatch.setattr(engine_start, "CONTAINERD_SOCKET", tmp_path / "nobody.sock")
    monkeypatch.setattr(host, "as_root", lambda argv, **_: Command(tuple(argv), Path("/")))
    said: list[str] = []
    with pytest.raises(Problem, match="exited immediately"):
        engine_start._start_daemon(world(tmp_path), str(daemon), [], said.append)
    assert tries.read_text().split() == ["x"] * engine_start.ATTEMPTS
    assert len(said) == engine_start.ATTEMPTS - 1
    daemon.write_text(f"#!/bin/sh\necho x >>{tries}\necho no such option >&2\nexit 1\n")
    with pytest.raises(Problem):
        engine_start._start_daemon(world(tmp_path), str(daemon), [], said.append)
    assert len(tries.read_text().split()) == engine_start.ATTEMPTS + 1
