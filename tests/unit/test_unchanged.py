"""The proof that nothing changed: what it detects, what it cannot know, and how it handles a corrupt record."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from buildkit_tasks.core.model import BuildRequest
from buildkit_tasks.engine import ask
from buildkit_tasks.unchanged import fingerprint, inputs, record
from buildkit_tasks.unchanged.record import Moment
from tests.support.engine_socket import EngineSocket, listening
from tests.support.unchanged_site import BASE, Site

Act = Callable[[Site], object]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with listening(tmp_path / "s") as engine:
        yield Site(tmp_path, engine)


def _settle() -> None:
    """Wait until the files are older than the margin."""
    time.sleep(fingerprint.MARGIN / 1e9 + 0.01)


def _kept(path: Path, text: str) -> None:
    before = path.stat()
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _swap(one: Path, two: Path) -> None:
    between = one.with_name("between")
    one.rename(between)
    two.rename(one)
    between.rename(two)


def _relink(path: Path, to: str) -> None:
    path.unlink()
    path.symlink_to(to)


CHANGES: dict[str, Act] = {
    "a file edited, old size and time": lambda s: _kept(s.root / "app/a", "AAAA\n"),
    "two files exchanged": lambda s: _swap(s.root / "app/a", s.root / "app/b"),
    "a link leads elsewhere": lambda s: _relink(s.root / "app/link", "b"),
    "permissions": lambda s: (s.root / "app/a").chmod(0o755),
    "permissions of a directory": lambda s: (s.root / "app/sub").chmod(0o700),
    "an empty directory": lambda s: (s.root / "app/empty").mkdir(),
    "a file gone": lambda s: (s.root / "app/sub/c").unlink(),
    "the ignore file": lambda s: (s.root / "app/.dockerignore").write_text("nothing\n"),
    "an ignore file of the Dockerfile": lambda s: (s.root / "app/Dockerfile.dockerignore").touch(),
    "the Dockerfile": lambda s: _kept(s.root / "app/Dockerfile", "FROM debian:bookworm-slim\nCOPY . /dst\n"),
    "the compose file": lambda s: _kept(s.root / "compose.yaml", (s.root / "compose.yaml").read_text()),
    "an override": lambda s: (s.root / "docker-compose.override.yml").touch(),
    ".env": lambda s: (s.root / ".env").write_text("WORD=rel\n"),
    ".env gone": lambda s: (s.root / ".env").unlink(),
    "settings": lambda s: (s.root / "pyproject.toml").write_text("[tool.buildkit-tasks.build]\nprofile = 'dev'\n"),
    "a variable": lambda s: s.env.update(WORD="x"),
    "a variable gone": lambda s: s.env.pop("PATH"),
    "a builder": lambda s: s.env.update(BUILDX_BUILDER="other"),
    "a tag moves": lambda s: s.engine.images.update({"shop/one:dev": "sha256:" + "0" * 64}),
    "an image goes": lambda s: s.engine.images.pop("shop/two:dev"),
    "a base image moves": lambda s: s.engine.images.update({BASE: "sha256:" + "0" * 64}),
    "a base image goes": lambda s: s.engine.images.pop(BASE),
    "another engine": lambda s: setattr(s.engine, "engine", "engine-2"),
    "another version of the engine": lambda s: setattr(s.engine, "version", "29.0.0"),
    "an answer that is none": lambda s: setattr(s.engine, "raw", b"HTTP/1.0 200 OK\r\n\r\n[]"),
    "docker's configuration": lambda s: _write(s.place / ".docker/config.json", "{}"),
    "the builder in use": lambda s: _write(s.place / ".docker/buildx/current", '{"Name": "other"}'),
    "a default builder": lambda s: _write(s.place / ".docker/buildx/defaults/x", "other"),
    "another docker": lambda s: _write(s.place / "bin/docker", ""),
    "a plugin": lambda s: _write(s.place / ".docker/cli-plugins/docker-buildx", ""),
    "a base image is chosen anew": lambda s: _write(s.session().state / "images.json", "{}"),
}

SAME: dict[str, Act] = {
    "nothing": lambda _: None,
    "an ignored file": lambda s: (s.root / "app/ignored/x").write_text("y"),
    "a file beside the context": lambda s: (s.root / "other/a").write_text("y"),
    "another terminal": lambda s: s.env.update(TERM="dumb", SHLVL="3"),
    "the builder's file written anew": lambda s: _write(s.place / ".docker/buildx/current", ""),
}


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen(site: Site, change: str) -> None:
    _settle()
    assert site.build() == ""
    assert site.holds()
    CHANGES[change](site)
    assert site.holds() is None


@pytest.mark.parametrize(("change", "asked"), [("a file edited, old size and time", False), ("a tag moves", True)])
def test_an_edit_is_seen_before_the_engine_is_asked(
    site: Site, change: str, asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    _settle()
    assert site.build() == ""
    questions: list[Path] = []
    images = ask.images

    def counted(path: Path, names: Iterable[str]) -> ask.Answer:
        questions.append(path)
        return images(path, names)

    monkeypatch.setattr(ask, "images", counted)
    CHANGES[change](site)
    assert site.holds() is None
    assert bool(questions) is asked


@pytest.mark.parametrize("change", SAME)
def test_what_a_build_does_not_depend_on_is_no_change(site: Site, change: str) -> None:
    _write(site.place / ".docker/buildx/current", "")
    _settle()
    assert site.build() == ""
    SAME[change](site)
    outcome = site.holds()
    assert outcome
    assert outcome.up_to_date
    assert [(t.service, t.changed) for t in outcome.targets] == [("one", False), ("two", False)]


def test_the_record_of_all_services_holds_for_some_of_them(site: Site) -> None:
    _settle()
    assert site.build() == ""
    every = site.holds()
    assert every is not None
    for target in every.targets:
        some = site.holds(BuildRequest(services=(target.service,)))
        assert some is not None
        assert some.targets == (target,)
    assert site.holds(BuildRequest(services=("other",))) is None
    assert site.holds(BuildRequest(services=("*",))) is None


def test_the_newer_of_two_records_counts(site: Site) -> None:
    one = BuildRequest(services=("one",))
    _settle()
    assert site.build(request=one) == ""
    (site.root / "app/new.rs").write_text("x")
    _settle()
    assert site.holds(one) is None
    assert site.build() == ""
    assert site.holds(one) is not None


def test_what_lies_behind_a_link_counts_too(site: Site) -> None:
    for name in (".env", "app/Dockerfile"):
        (site.root / name).rename(site.root / "other" / Path(name).name)
        (site.root / name).symlink_to(site.root / "other" / Path(name).name)
    _settle()
    assert site.build() == ""
    assert site.holds()
    _kept(site.root / "other/.env", "WORD=rel\n")
    assert site.holds() is None
    _settle()
    assert site.build() == ""
    with (site.root / "other/Dockerfile").open("a") as file:
        file.write("LABEL x=y\n")
    assert site.holds() is None


def test_a_harmless_variable_that_a_compose_file_names_counts(site: Site) -> None:
    with (site.root / "compose.yaml").open("a") as file:
        file.write("# ${TERM}\n")
    site.env["TERM"] = "xterm"
    _settle()
    assert site.build() == ""
    assert site.holds()
    site.env["TERM"] = "dumb"
    assert site.holds() is None


def test_an_env_file_of_a_service_is_no_input_of_a_build(site: Site) -> None:
    """Its values are the container's environment: they do not affect build arguments, variables or secrets."""
    with (site.root / "compose.yaml").open("a") as file:
        file.write("# env_file: [values.env]\n# label_file: [labels]\n")
    _settle()
    assert site.build() == ""
    (site.root / "values.env").write_text("WORD=other\n")
    assert site.holds()


@pytest.mark.parametrize(
    "request_", [{"no_cache": True}, {"push": "x/y"}, {"oci": "out"}, {"platforms": ("linux/arm64",)}]
)
def test_a_request_that_has_to_ask_buildkit_is_never_proven(site: Site, request_: dict[str, object]) -> None:
    _settle()
    assert site.build() == ""
    assert site.holds(replace(BuildRequest(), **request_)) is None  # type: ignore[arg-type]


UNKNOWN: dict[str, tuple[Act, str]] = {
    "an included file": (lambda s: (s.root / "compose.yaml").write_text("include: [x.yaml]\n"), "may include"),
    "an escape": (lambda s: (s.root / "compose.yaml").write_text('"incl\\u0075de": [x.yaml]\n'), "may include"),
    "more .env files": (lambda s: s.env.update(COMPOSE_ENV_FILES="x"), "COMPOSE_ENV_FILES is set"),
    "more .env files, in .env": (lambda s: (s.root / ".env").write_text("COMPOSE_ENV_FILES=x\n"), "COMPOSE_ENV_FILES"),
    "a base image of a registry": (
        lambda s: _write(s.root / "app/Dockerfile", "FROM alpine:3\n"),
        "newer version of alpine:3",
    ),
    "a frontend": (
        lambda s: _write(s.root / "app/Dockerfile", "# syntax=docker/dockerfile:1\n"),
        "docker/dockerfile:1",
    ),
    "a URL": (
        lambda s: _write(s.root / "app/Dockerfile", f"FROM {BASE}\nADD https://x/y /\n"),
        "uses ADD with a URL or variable",
    ),
    "pull": (lambda s: s.more.update(pull=True), "uses the key pull"),
    "ssh": (lambda s: s.more.update(ssh=["default"]), "uses the key ssh"),
    "a secret of the environment": (
        lambda s: s.more.update(secret=["id=x,type=env,env=X"]),
        "a build secret is not a file",
    ),
    "a cache that is written": (lambda s: s.more.update({"cache-to": ["type=inline"]}), "uses the key cache-to"),
    "another output": (lambda s: s.more.update(output=["type=local,dest=x"]), "is not stored in the engine"),
    "a named image": (lambda s: s.more.update(contexts={"x": "docker-image://alpine"}), "is built from"),
    "an image that this build does not make": (
        lambda s: s.more.update(contexts={"x": "target:three"}),
        "is built from",
    ),
    "docker over the network": (lambda s: s.env.update(DOCKER_HOST="tcp://127.0.0.1:1"), "another machine"),
    "git's state in labels": (lambda s: s.env.update(BUILDX_GIT_LABELS="1"), "git metadata"),
    "plugins elsewhere": (
        lambda s: _write(s.place / ".docker/config.json", '{"cliPluginsExtraDirs": ["/x"]}'),
        "additional plugin directories",
    ),
    "the base image is missing": (lambda s: s.engine.images.clear(), "does not have"),
}


@pytest.mark.parametrize("doubt", UNKNOWN)
def test_a_build_that_depends_on_more_is_not_recorded(site: Site, doubt: str) -> None:
    _settle()
    assert site.build() == ""
    act, why = UNKNOWN[doubt]
    act(site)
    _settle()
    assert why in site.build()
    assert site.holds() is None


def test_an_image_that_the_same_build_makes_is_known(site: Site) -> None:
    site.more.update(contexts={"shop/two": "target:two", "debian:bookworm-slim": f"docker-image://{BASE}"})
    _settle()
    assert site.build() == ""
    assert site.holds()


def test_an_image_that_only_a_mount_or_a_copy_takes_counts(site: Site) -> None:
    for line in ("COPY --from=alpine:3 /a /a", "RUN --mount=type=bind,from=alpine:3,target=/x true"):
        (site.root / "app/Dockerfile").write_text(f"FROM debian:bookworm-slim\n{line}\n")
        _settle()
        assert "newer version of alpine:3" in site.build()


def test_a_file_written_while_the_build_begins_is_not_believed(site: Site) -> None:
    """Git's racy problem: a second write in the same clock tick does not change anything that stat shows."""
    _settle()
    (site.root / "app/a").write_text("AAAA\n")
    assert "a file changed" in site.build()
    (site.root / "app/a").write_text("BBBB\n")
    assert site.holds() is None


@pytest.mark.parametrize("when", ["first", "during", "last"])
def test_a_file_written_during_the_build_is_not_what_was_built(site: Site, when: str) -> None:
    _settle()

    def write() -> None:
        (site.root / "app/a").write_text("AAAA\n")

    first, during, last = (write if name == when else lambda: None for name in ("first", "during", "last"))
    site.build(first, during, last)
    assert site.holds() is None


def test_whole_seconds_are_not_trusted_as_far() -> None:
    assert fingerprint.settled(5 * 10**9) == 5 * 10**9 + fingerprint.COARSE
    assert fingerprint.settled(5 * 10**9 + 1) == 5 * 10**9 + 1 + fingerprint.MARGIN


@pytest.mark.parametrize(
    ("before", "after", "fine"),
    [
        (Moment(100, "a", 100), Moment(200, "a", 200), True),
        (Moment(100, "a", 100), Moment(90, "a", 200), False),  # set back
        (Moment(0, "a", 0), Moment(9 * 10**9, "a", 10 * 10**9), False),  # set back by less than the elapsed time
        (Moment(0, "a", 0), Moment(60 * 10**9, "a", 10 * 10**9), True),  # set ahead
        (Moment(100, "a", 100), Moment(200, "b", 1), True),  # another boot
        (Moment(100, "a", 100), Moment(99, "b", 1), False),
        (Moment(100, "", 0), Moment(200, "", 0), True),
    ],
)
def test_a_clock_that_goes_back_proves_nothing(before: Moment, after: Moment, fine: bool) -> None:
    assert inputs.forward(before, after) is fine


def test_a_record_from_the_future_proves_nothing(site: Site) -> None:
    _settle()
    site.build()
    (path,) = (site.session().state / record.FOLDER).iterdir()
    content = json.loads(path.read_text())
    content["written"]["wall"] += 60 * 10**9
    path.write_text(json.dumps(content))
    assert site.holds() is None


DAMAGE: dict[str, Callable[[dict[str, object]], object]] = {
    "version": lambda c: c.update(version=0),
    "a field gone": lambda c: c.pop("engine"),
    "no images": lambda c: c.update(targets=[]),
    "an image without tags": lambda c: c["targets"][0].update(tags=[]),  # type: ignore[index]
    "an image without ids": lambda c: c["targets"][0].update(ids=[""]),  # type: ignore[index]
    "places that are no list": lambda c: c.update(places="x"),
    "a relative place": lambda c: c.update(places=["x"]),
    "a salt that is none": lambda c: c.update(salt="x"),
    "harmless variables that are not": lambda c: c.update(harmless=["WORD"]),
    "a time that is none": lambda c: c.update(written={"wall": "0", "boot": "", "running": 0}),
    "a tree that is none": lambda c: c.update(trees=[1]),
    "another request": lambda c: c.update(request="x"),
    "bases that are no map": lambda c: c.update(bases=[]),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_record_that_is_not_as_we_write_it_proves_nothing(site: Site, damage: str) -> None:
    _settle()
    site.build()
    (path,) = (site.session().state / record.FOLDER).iterdir()
    content = json.loads(path.read_text())
    DAMAGE[damage](content)
    path.write_text(json.dumps(content))
    assert site.holds() is None


def test_no_value_of_the_environment_is_in_the_record(site: Site) -> None:
    site.env["PASSWORD"] = "hunter2-hunter2"
    _settle()
    assert site.build() == ""
    (path,) = (site.session().state / record.FOLDER).iterdir()
    assert "hunter2" not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0


def test_records_are_bounded_and_forgotten(site: Site, tmp_path: Path) -> None:
    _settle()
    site.build()
    state = site.session().state
    (path,) = (state / record.FOLDER).iterdir()
    found = record.load(path)
    assert found
    for number in range(record.KEPT + 5):
        record.save(path.with_name(str(number)), found)
    assert len(list(path.parent.iterdir())) == record.KEPT
    record.forget(state)
    assert not list(path.parent.iterdir())
    record.forget(tmp_path / "nowhere")


def test_builds_at_once_leave_a_whole_record(site: Site) -> None:
    _settle()
    site.build()
    (path,) = (site.session().state / record.FOLDER).iterdir()
    found = record.load(path)
    assert found
    lost: list[int] = []

    def write() -> None:
        for _ in range(50):
            record.save(path, found)
            lost.extend([1] if record.load(path) != found else [])

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not lost
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_what_lies_on_other_filesystems_is_not_believed(tmp_path: Path) -> None:
    assert fingerprint.untrusted({tmp_path.stat().st_dev: tmp_path}) == ""
    assert fingerprint.untrusted({1: Path("/proc/self")}) == "proc"


@pytest.mark.parametrize(
    ("env", "config", "expected"),
    [
        ({}, "", "/var/run/docker.sock"),
        ({"DOCKER_HOST": "unix:///x"}, "", "/x"),
        ({"DOCKER_HOST": "ssh://x"}, "", None),
        ({"DOCKER_CONTEXT": "desk"}, "", "/desk.sock"),
        ({}, '{"currentContext": "desk"}', "/desk.sock"),
        ({"DOCKER_CONTEXT": "default"}, '{"currentContext": "desk"}', "/var/run/docker.sock"),
        ({"DOCKER_CONTEXT": "far"}, "", None),
    ],
)
def test_the_engine_s_socket_is_that_of_the_context(
    site: Site, env: dict[str, str], config: str, expected: str | None
) -> None:
    del site.env["DOCKER_HOST"]
    site.env |= env
    world = site.session().world
    for name, host in (("desk", "unix:///desk.sock"), ("far", "tcp://far:2376")):
        _write(ask.context_file(world, name), json.dumps({"Endpoints": {"docker": {"Host": host}}}))
    if config:
        _write(site.place / ".docker/config.json", config)
    assert ask.address(world) == (Path(expected) if expected else None)


@pytest.mark.parametrize("raw", [b"", b"x", b"HTTP/1.0 200 OK\r\n\r\n{", b"HTTP/1.0 200 OK\r\n\r\n{}", b"\r\n\r\n{}"])
def test_what_is_no_answer_of_an_engine_is_refused(raw: bytes, tmp_path: Path) -> None:
    with listening(tmp_path / "s") as engine:
        engine.raw = raw
        with pytest.raises(ValueError, match=r"engine|Expecting"):
            ask.images(engine.path, ["x"])


def test_a_name_that_no_image_has_is_not_asked(tmp_path: Path) -> None:
    with listening(tmp_path / "s") as engine:
        for name in ("a b", "../x", "x\r\nHost: y", "a?b", "a/../b"):
            with pytest.raises(ValueError, match="not a valid image name"):
                ask.images(engine.path, [name])
        assert set(engine.asked) == {"/info"}


def test_the_record_survives_its_own_writing(site: Site) -> None:
    _settle()
    site.build()
    (path,) = (site.session().state / record.FOLDER).iterdir()
    found = record.load(path)
    assert found
    record.save(path, found)
    assert asdict(record.load(path) or found) == asdict(found)


def test_an_engine_that_is_there_is_asked_once_a_name(site: Site, tmp_path: Path) -> None:
    assert isinstance(site.engine, EngineSocket)
    _settle()
    site.build()
    site.engine.asked.clear()
    assert site.holds()
    names = (BASE, "shop/one:dev", "shop/two:dev")
    assert site.engine.asked == ["/info", *(f"/images/{name}/json" for name in names)]


def test_the_two_clocks_are_read_together_on_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the process is preempted between reading the clocks, the clock seems to have been set back later."""

    class Preempted:
        """Both clocks, and a process that does not run for 50 ms the first time it reads the wall clock."""

        CLOCK_BOOTTIME = time.CLOCK_BOOTTIME
        running, pauses = 1_000_000_000, [50_000_000]

        def clock_gettime_ns(self, _clock: int) -> int:
            self.running += 1_000
            return self.running

        def time_ns(self) -> int:
            self.running += self.pauses.pop() if self.pauses else 0
            return 5_000_000_000 + self.running

    monkeypatch.setattr(inputs, "time", Preempted())
    before = inputs.now()
    assert inputs.forward(before, inputs.now())
