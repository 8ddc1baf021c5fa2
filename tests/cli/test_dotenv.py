"""`invoke dotenv`, and the messages of other commands about .env."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Bench
from tests.support import process

EXAMPLE = "# ports\nAPI_PORT=8080\nDB_PASSWORD=\n"


@pytest.fixture
def shop(bench: Bench) -> Bench:
    """The project `shop` with a .env.example."""
    (bench.root / ".env.example").write_text(EXAMPLE)
    return bench


def test_a_new_file_is_made_for_its_owner_alone(shop: Bench) -> None:
    done = shop.invoke("dotenv")
    assert done.code == 0, done.all
    path = shop.root / ".env"
    head, secret = path.read_text().rsplit("=", 1)
    assert head + "=\n" == EXAMPLE
    assert len(secret.strip()) == 32
    assert secret.strip() not in done.all
    assert path.stat().st_mode & 0o777 == 0o600
    assert done.err == f"{path}: completed; added API_PORT, DB_PASSWORD\n"
    assert shop.invoke("dotenv").err == f"{path}: up to date\n"
    assert sorted(p.name for p in shop.root.glob(".env*")) == [".env", ".env.example"]


def test_a_link_stays_a_link_and_bytes_stay_bytes(shop: Bench, tmp_path: Path) -> None:
    place = tmp_path / "kept.env"
    place.write_bytes(b"\xef\xbb\xbf# caf\xe9\r\nexport DB_PASSWORD=  # mine\r\nK='a\nAPI_PORT=\n'\r\n")
    (shop.root / ".env").symlink_to(place)
    done = shop.invoke("dotenv")
    assert done.code == 0, done.all
    assert (shop.root / ".env").is_symlink()
    before, rest = place.read_bytes().split(b"export DB_PASSWORD=")
    assert before == b"\xef\xbb\xbf# caf\xe9\r\n"
    assert rest[32:] == b"  # mine\r\nK='a\nAPI_PORT=\n'\r\nAPI_PORT=8080\r\n"
    assert "added API_PORT; filled DB_PASSWORD" in done.err


def test_what_a_killed_run_left_is_removed(shop: Bench) -> None:
    (shop.root / ".env.buildkit-tasks-abc").write_text("DB_PASSWORD=half")
    assert shop.invoke("dotenv").code == 0
    assert not (shop.root / ".env.buildkit-tasks-abc").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A=1\nPW='hunter2\n", "line 2: unterminated quoted value"),
        ("PW=hunter${2\n", "line 1: Invalid template"),
        ("my hunter2=1\n", "line 1: key cannot contain a space"),
    ],
)
def test_a_file_that_compose_refuses_is_not_written(shop: Bench, text: str, words: str) -> None:
    (shop.root / ".env").write_text(text)
    for command in ("dotenv", "build"):
        done = shop.invoke(command)
        assert done.code == 5
        assert f"error[dotenv-invalid]: {shop.root / '.env'} cannot be read: {words}" in done.err
        assert "hunter" not in done.all
    assert (shop.root / ".env").read_text() == text


def test_nothing_is_written_that_could_not_be_read(shop: Bench) -> None:
    (shop.root / ".env.example").write_text("URL=http://${HOST_NAME:?set it}/\n")
    (shop.root / ".env").write_text("A=1\n")
    done = shop.invoke("dotenv")
    assert done.code == 5
    assert "with the additions from .env.example: required variable HOST_NAME is missing a value" in done.err
    assert (shop.root / ".env").read_text() == "A=1\n"


@pytest.mark.parametrize(("name", "kind"), [("fifo", "a FIFO"), ("directory", "a directory"), ("device", "a device")])
@pytest.mark.parametrize("file", [".env", ".env.example"])
def test_what_is_not_a_file_is_refused_at_once(shop: Bench, file: str, name: str, kind: str) -> None:
    path = shop.root / file
    path.unlink(missing_ok=True)
    if name == "fifo":
        os.mkfifo(path)
    elif name == "directory":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    done = shop.invoke("dotenv")
    assert done.code == 5
    assert f"error[dotenv-unreadable]: {path} cannot be read: it is {kind}." in done.err
    assert shop.invoke("doctor", "--json").code == 37


def test_compose_does_not_read_a_file_of_gigabytes(shop: Bench) -> None:
    with (shop.root / ".env").open("wb") as file:
        file.truncate(10 << 30)
    for task in (("build", "--plan"), ("ps",)):
        done = shop.invoke(*task)
        assert done.code == 5, done.all
        assert "it is larger than 1024 KiB" in done.err
    assert not [call for call in shop.calls if "config" in call["argv"]]


def test_a_large_file_is_refused(shop: Bench) -> None:
    (shop.root / ".env").write_text("A=1\n" * 300_000)
    done = shop.invoke("dotenv")
    assert done.code == 5
    assert "it is larger than 1024 KiB" in done.err


def test_a_second_run_waits_and_says_so(shop: Bench) -> None:
    handle = os.open(shop.root, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    running = process.start([process.BIN / "invoke", "dotenv"], shop.root, shop.environment())
    began = time.monotonic()
    assert running.stderr
    first = running.stderr.readline()
    assert first == f"waiting for another run that is changing {shop.root / '.env'}\n"
    assert time.monotonic() - began > 2
    assert not (shop.root / ".env").exists()
    os.close(handle)
    _, err = running.communicate(timeout=20)
    assert running.returncode == 0, err
    assert "completed" in err


def test_runs_at_once_make_one_file(shop: Bench) -> None:
    start: list[str | Path] = [process.BIN / "invoke", "dotenv"]
    running = [process.start(start, shop.root, shop.environment()) for _ in range(4)]
    said = [one.communicate(timeout=60)[1] for one in running]
    assert sum("completed" in words for words in said) == 1, said
    assert sum("up to date" in words for words in said) == 3


WANTS = "error while interpolating services.api.image: required variable SHOP_KEY is missing a value: :err hunter22\n"


def test_without_an_example_all_say_which_variable_compose_wants_and_where(bench: Bench) -> None:
    bench.reply("config --format json", code=1, stderr=WANTS)
    path = bench.root / ".env"
    hint = f"add SHOP_KEY=VALUE to {path}, or set SHOP_KEY in the environment"
    for command in ("build", "dotenv"):
        done = bench.invoke(command)
        assert done.code == 5
        assert "error[dotenv-incomplete]: The variable SHOP_KEY has no value." in done.err
        assert f"because: {path} does not set SHOP_KEY (the file does not exist)" in done.err
        assert hint in done.err
        assert "up to date" not in done.err
        assert "invoke dotenv" not in done.err
    checks = {c["name"]: c for c in json.loads(bench.invoke("doctor", "--json").out)["checks"]}
    assert checks["dotenv-names"]["state"] == "fail"
    assert checks["dotenv-names"]["found"] == "The variable SHOP_KEY has no value."
    assert checks["dotenv-names"]["remedy"] == hint


def test_a_reason_of_the_compose_file_is_shown_without_values(bench: Bench) -> None:
    (bench.root / ".env").write_text("PW=hunter22\nSHOP_KEY=\n")
    bench.reply("config --format json", code=1, stderr=WANTS)
    done = bench.invoke("build")
    assert "because: compose: required variable SHOP_KEY is missing a value: :err ***" in done.err
    assert f"because: {bench.root / '.env'} sets SHOP_KEY to an empty string" in done.err
    bench.env["SHOP_KEY"] = ""
    assert "unset SHOP_KEY" in bench.invoke("build").err


def test_other_words_of_compose_are_shown_without_values(bench: Bench) -> None:
    (bench.root / ".env").write_text("PW=hunter22\n")
    bench.reply("config --format json", code=1, stderr="services.api.ports.0: invalid port hunter22\n")
    done = bench.invoke("build")
    assert done.code == 6
    assert "services.api.ports.0: invalid port ***" in done.err


def test_without_docker_the_file_is_made_all_the_same(shop: Bench) -> None:
    (shop.place / "bin" / "docker").unlink()
    shop.env["PATH"] = str(process.BIN)
    assert shop.invoke("dotenv").code == 0
    assert (shop.root / ".env").exists()


def test_a_broken_file_does_not_stop_what_needs_none(bench: Bench) -> None:
    (bench.root / ".env").write_text("BUILDKIT_TASKS_PROFILE=fast\nPW='hunter22\n")
    done = bench.invoke("settings")
    assert done.code == 0
    assert "line 2: unterminated quoted value" in done.err
    assert "The settings in .env are ignored." in done.err
    assert "hunter22" not in done.all
