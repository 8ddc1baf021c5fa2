"""What watch decides: bursts and rounds, the meaning of files, and compose's develop sections."""

from __future__ import annotations

import os
import queue
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Service, Workspace
from buildkit_tasks.dockerfiles.ignore import Ignore, walk
from buildkit_tasks.stack.running import Running
from buildkit_tasks.watch import containers, develop, targets
from buildkit_tasks.watch.events import Ear
from buildkit_tasks.watch.keeper import alike
from buildkit_tasks.watch.look import Root, changed, look
from buildkit_tasks.watch.machine import (
    LONGEST,
    QUIET,
    Decision,
    Do,
    Done,
    Event,
    Look,
    Looked,
    Noise,
    Phase,
    State,
    Tick,
    Wait,
    step,
)
from buildkit_tasks.watch.rules import Action, Below, Rule, Work, work

NOTHING = Work()
API = Work(frozenset({"api"}))


@pytest.mark.parametrize(
    ("events", "last"),
    [
        ([Tick(5)], Wait()),
        ([Noise(5)], Wait(5 + QUIET)),
        ([Noise(5), Tick(5 + QUIET / 2)], Wait(5 + QUIET)),
        ([Noise(5), Tick(5 + QUIET)], Look()),
        ([Noise(5), Noise(5 + QUIET / 2)], Wait(5 + QUIET / 2 + QUIET)),
        ([Noise(5), Tick(5 + QUIET), Looked(NOTHING)], Wait()),
        ([Noise(5), Tick(5 + QUIET), Looked(API)], Do(API)),
        ([Noise(5), Tick(5 + QUIET), Looked(API), Done(9)], Look()),
        ([Noise(5), Tick(5 + QUIET), Looked(API), Noise(8)], Wait()),
        # changes that arrived during the work may still be going on
        ([Noise(5), Tick(5 + QUIET), Looked(API), Noise(8), Done(9)], Wait(9 + QUIET)),
        ([Noise(5), Tick(5 + QUIET), Looked(API), Noise(8), Done(9), Tick(9 + QUIET)], Look()),
        # the check after the work finds what was saved in the meantime, with or without an event
        ([Noise(5), Tick(5 + QUIET), Looked(API), Done(9), Looked(API)], Do(API)),
        ([Noise(5), Tick(5 + QUIET), Looked(API), Done(9), Looked(NOTHING)], Wait()),
    ],
)
def test_a_burst_is_one_change_and_nothing_during_the_work_is_lost(events: list[Event], last: Decision) -> None:
    state, decision = State(), Wait()
    for event in events:
        state, decision = step(state, event)  # type: ignore[assignment]
    assert decision == last


def test_an_endless_burst_is_cut() -> None:
    state, at = State(), 0.0
    while True:
        state, decision = step(state, Noise(at))
        if isinstance(decision, Look):
            break
        at += QUIET / 2
        assert at < LONGEST + QUIET
    assert at >= LONGEST - QUIET


def test_what_failed_for_another_reason_is_built_again_with_the_next_change() -> None:
    state, _ = step(
        State(phase=Phase.WORKING),
        Done(1, Work(frozenset({"db"}), {"web": {"/a": "/x"}}, frozenset({"web"}), reload=True)),
    )
    state, decision = step(state, Looked(NOTHING))
    assert decision == Wait()  # it does not retry automatically: the next save shows that someone is working
    state, _ = step(state, Noise(2))
    state, _ = step(state, Tick(2 + QUIET))
    state, decision = step(state, Looked(API))
    assert isinstance(decision, Do)
    assert decision.work.rebuild == {"api", "db"}
    assert decision.work.sync["web"] == {"/a": "/x"}
    assert decision.work.restart == {"web"}
    assert decision.work.reload
    state, _ = step(state, Done(5))
    state, decision = step(state, Looked(API))
    assert decision == Do(API)


@given(st.lists(st.sampled_from(["save", "tick", "done"]), max_size=60))
def test_in_any_order_of_events_every_save_is_in_some_work_and_work_never_overlaps(script: list[str]) -> None:
    """Model of the loop: each check finds everything saved since the previous check."""
    state, at, unseen, working = State(), 0.0, 0, False
    decision: Decision = Wait()
    for what in [*script, *["tick", "done"] * 4]:
        at += QUIET
        if what == "save":
            unseen += 1
            state, decision = step(state, Noise(at))
        elif what == "done" and working:
            working = False
            state, decision = step(state, Done(at))
        elif what == "tick" and not working:
            state, decision = step(state, Tick(at))
        while isinstance(decision, Look):
            assert not working
            found, unseen = (API if unseen else NOTHING), 0
            state, decision = step(state, Looked(found))
        if isinstance(decision, Do):
            assert not working
            working, decision = True, Wait()
    assert unseen == 0
    assert state.phase in (Phase.IDLE, Phase.WORKING)


PATTERNS = st.lists(
    st.sampled_from(["*", "!a", "a", "a/b", "!a/b/c", "**/c", "!**/b", "*/b", "a*", "b/**", "!b/a", "/a", "c/"]),
    max_size=5,
)
PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join)


@settings(max_examples=150)
@given(PATTERNS, st.sets(PATHS, max_size=6))
def test_a_path_is_excluded_exactly_where_a_walk_leaves_it_out(patterns: list[str], paths: set[str]) -> None:
    ignore = Ignore.parse("\n".join(patterns))
    files = {p for p in paths if not any(other.startswith(f"{p}/") for other in paths)}
    seen = {path for path, _ in _walked(files, ignore)}
    assert seen == {path for path in files if not ignore.excludes(path)}


def _walked(files: set[str], ignore: Ignore) -> list[tuple[str, os.DirEntry[str]]]:
    with tempfile.TemporaryDirectory() as place:
        for file in files:
            Path(place, file).parent.mkdir(parents=True, exist_ok=True)
            Path(place, file).touch()
        return list(walk(Path(place), ignore))


def rule(action: str = "rebuild", path: str = "/p", **more: Any) -> Rule:
    return Rule("api", Action(action), path, **more)


@pytest.mark.parametrize(
    ("rules", "paths", "expected"),
    [
        ([rule()], ["/p/a", "/q/a"], Work(frozenset({"api"}), causes=("/p/a",))),
        ([rule()], ["/pa"], NOTHING),
        ([rule(ignores=(Below("/p", Ignore.parse("*.md")),))], ["/p/a.md"], NOTHING),
        ([rule("sync", target="/app")], ["/p/a/b"], Work(sync={"api": {"/p/a/b": "/app/a/b"}}, causes=("/p/a/b",))),
        ([rule("sync", "/p/f", target="/etc/f")], ["/p/f"], Work(sync={"api": {"/p/f": "/etc/f"}}, causes=("/p/f",))),
        ([rule("restart")], ["/p/a"], Work(restart=frozenset({"api"}), causes=("/p/a",))),
        (
            [rule("sync+restart", target="/x/")],
            ["/p/a"],
            Work(sync={"api": {"/p/a": "/x/a"}}, restart=frozenset({"api"}), causes=("/p/a",)),
        ),
        (  # all matching rules apply
            [rule(), rule("sync", "/p/web", target="/w")],
            ["/p/web/a"],
            Work(frozenset({"api"}), {"api": {"/p/web/a": "/w/a"}}, causes=("/p/web/a",)),
        ),
        (
            [rule("sync", target="/w", include=Below("/p", Ignore.parse("**/*.js")))],
            ["/p/a.js", "/p/a.ts"],
            Work(sync={"api": {"/p/a.js": "/w/a.js"}}, causes=("/p/a.js",)),
        ),
        (
            [Rule("", Action.RELOAD, "/p/compose.yaml")],
            ["/p/compose.yaml"],
            Work(reload=True, causes=("/p/compose.yaml",)),
        ),
    ],
)
def test_what_a_changed_file_means(rules: list[Rule], paths: list[str], expected: Work) -> None:
    assert work(rules, paths) == expected


def test_a_directory_matters_if_something_below_it_may() -> None:
    ignore = Below("/p", Ignore.parse("*\n!src/keep"))
    one = rule(ignores=(ignore,))
    assert [one.may_concern(p) for p in ("/p/src", "/p/src/keep", "/p/other", "/", "/q")] == [
        *(True, True, False, True, False),
    ]


def entry(**watch: Any) -> dict[str, Any]:
    return {"build": {"context": "/p"}, "develop": {"watch": [{"path": "/p", "action": "rebuild", **watch}]}}


def test_a_service_without_a_section_has_no_triggers() -> None:
    assert develop.triggers("api", {"build": {}}) is None
    assert develop.triggers("api", {"develop": {"watch": []}}) == ()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"develop": {"profile": 1}}, "`develop.profile` of the service 'api' is not supported"),
        (entry(follow=True), "`develop.watch.follow`"),
        (entry(action="sync+exec", target="/x"), "`develop.watch.action: sync+exec`"),
        (entry(exec={"command": ["x"]}), "`develop.watch.exec`"),
        (entry(action="sync"), "is invalid"),
        (entry(action="sync", target="relative"), "is invalid"),
        (entry(path="relative"), "is invalid"),
        ({**entry(), "build": None}, "is invalid"),
    ],
)
def test_what_we_do_not_know_is_refused_by_name(given: Mapping[str, Any], words: str) -> None:
    with pytest.raises(Problem) as refused:
        develop.triggers("api", given)
    assert words in refused.value.message


def test_keys_that_compose_fills_in_and_extensions_are_no_obstacle() -> None:
    found = develop.triggers("api", entry(**{"exec": {"command": None}, "x-mine": 1, "initial_sync": True}))
    assert found == (develop.Trigger("/p", Action.REBUILD, initial=True),)


@pytest.mark.parametrize(
    ("patterns", "path", "triggers"),
    [
        ((), "/p/a", True),
        (("node_modules/",), "/p/node_modules/x/y", False),
        (("*.log",), "/p/a.log", False),
        (("*.log",), "/p/b/a.log", True),
        (("*", "!src"), "/p/other", True),  # compose keeps only the exceptions
        ((), "/p/.git/index", False),
        ((), "/p/.main.rs.swp", False),
        ((), "/p/main.rs~", False),
        ((), "/p/4913", False),
        ((), "/p/ignored", False),
    ],
)
def test_ignore_adds_to_the_ignore_file_and_to_what_editors_leave(
    patterns: tuple[str, ...], path: str, triggers: bool
) -> None:
    ignored = Below("/p", Ignore.parse("ignored"))
    found = develop.Trigger("/p", Action.REBUILD, ignore=patterns)
    (made,) = develop.rules("api", [found], ignored, (), pytest.fail)
    assert made.matches(path) is triggers


def test_a_synced_path_that_is_a_bind_mount_is_left_out_and_reported() -> None:
    said: list[str] = []
    volumes = [{"type": "bind", "source": "/p"}, {"type": "volume", "source": "/q"}]
    found = [
        develop.Trigger("/p/src", Action.SYNC, "/app"),
        develop.Trigger("/q", Action.SYNC, "/q"),
        develop.Trigger("/p/src", Action.REBUILD),
    ]
    made = list(develop.rules("api", found, None, develop.mounts({"volumes": volumes}), said.append))
    assert [(r.path, r.action) for r in made] == [("/q", Action.SYNC), ("/p/src", Action.REBUILD)]
    assert said == ["api: /p/src is a bind mount, so it is not synced"]


Edit = Callable[[Path], object]


@pytest.mark.parametrize(
    ("edit", "paths"),
    [
        (lambda p: (p / "a/f").write_text("2"), {"a/f"}),
        (lambda p: (p / "a/f").chmod(0o755), {"a/f"}),
        (lambda p: os.utime(p / "a/f", (1, 1)), {"a/f"}),
        (lambda p: (p / "a/f").rename(p / "a/g"), {"a/f", "a/g"}),
        (lambda p: shutil.rmtree(p / "a"), {"a", "a/f"}),
        (lambda p: (p / "b").mkdir(), {"b"}),
        (lambda p: (p / "l").symlink_to("a"), {"l"}),
        (lambda p: (p / "x.log").write_text("2"), set()),
        (lambda p: (p / ".git/index").write_text("2"), set()),
        (lambda p: (p / "target/o").write_text("2"), set()),
        (lambda _: None, set()),
    ],
)
def test_a_look_sees_every_change_of_what_matters(tmp_path: Path, edit: Edit, paths: set[str]) -> None:
    for name in ("a", ".git", "target"):
        (tmp_path / name).mkdir()
    (tmp_path / "a/f").write_text("1")
    (tmp_path / "target/CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55")
    roots = [Root(str(tmp_path), ".", Ignore.parse("*.log\n**/.git"))]
    before = look(roots)
    edit(tmp_path)
    after = look(roots)
    assert {str(Path(p).relative_to(tmp_path)) for p in changed(before, after)} == paths
    assert not {p for p in after.directories if p.endswith((".git", "target"))}


def test_one_file_and_a_directory_in_a_context_are_looked_at_alone(tmp_path: Path) -> None:
    for name in ("src/deep", "other"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "f").write_text("1")
    (tmp_path / "Dockerfile").write_text("FROM x")
    place = str(tmp_path)
    found = look(
        [Root(place, "Dockerfile"), Root(place, "src"), Root(place, "missing/later"), Root(place, "src/deep/f")]
    )
    assert {p.removeprefix(f"{place}/") for p in found.paths} == {"Dockerfile", "src", "src/deep", "src/deep/f"}
    assert found.directories == {place, f"{place}/src", f"{place}/src/deep"}


def heard(ear: Ear, edit: Callable[[], object]) -> bool:
    edit()
    try:
        return ear.heard.get(timeout=3)
    except queue.Empty:
        return False


def again(place: Path) -> None:
    shutil.rmtree(place)
    place.mkdir()


def test_a_directory_that_is_removed_and_made_again_is_still_heard(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    covered = frozenset({str(tmp_path), str(tmp_path / "a")})
    with Ear({}, lambda path: not path.endswith(".log")) as ear:
        assert ear.cover(covered)
        assert not ear.cover(covered)
        (tmp_path / "a/x.log").touch()
        assert heard(ear, (tmp_path / "a/f").touch)
        assert heard(ear, lambda: again(tmp_path / "a"))
        assert ear.cover(covered)  # the same names, but not the same directory
        assert heard(ear, (tmp_path / "a/f").touch)


def service(root: Path, name: str, context: str = "", **more: Any) -> Service:
    place = root / context
    place.mkdir(parents=True, exist_ok=True)
    file = place / "Dockerfile"
    if not file.exists():
        file.write_text(more.pop("text", "FROM debian\n"))
    return Service(name, f"shop/{name}", place, file, name, **more)


def workspace(root: Path, *services: Service, **entries: Any) -> Workspace:
    config = {"services": {**{s.name: {"build": {}} for s in services}, **entries}}
    return Workspace(root, "shop", "shop", (), services, {}, (), config)


def test_a_context_its_dockerfile_and_what_compose_reads_are_watched(tmp_path: Path) -> None:
    api = service(tmp_path, "api", "api")
    (tmp_path / "api/.dockerignore").write_text("*\n!src\n")
    (tmp_path / "more.yaml").write_text("services: {}")
    (tmp_path / "a.env").write_text("A=1")
    file = tmp_path / "compose.yaml"
    file.write_text("include: [more.yaml]\nservices: {api: {env_file: ./a.env, image: 'x:missing.env'}}")
    found = targets.find(workspace(tmp_path, api), ["api"], [file])

    def means(name: str) -> tuple[bool, bool]:
        made = work(found.rules, [str(tmp_path / name)])
        return "api" in made.rebuild, made.reload

    assert [means(n) for n in ("api/src/a", "api/other", "api/Dockerfile", "api/.dockerignore")] == [
        *((True, False), (False, False), (True, False), (True, False)),
    ]
    assert [means(n) for n in ("compose.yaml", "more.yaml", "a.env", ".env", "b.env")] == [
        *((False, True), (False, True), (False, True), (False, True), (False, False)),
    ]


def test_a_service_is_built_again_when_the_image_it_starts_from_changes(tmp_path: Path) -> None:
    base = service(tmp_path, "base", "base")
    api = service(tmp_path, "api", "api", text="FROM shop/base\n")
    other = service(tmp_path, "other", "other")
    found = targets.find(workspace(tmp_path, base, api, other), ["base", "api", "other"], [])
    assert work(found.rules, [str(tmp_path / "base/file")]).rebuild == {"base", "api"}
    assert work(found.rules, [str(tmp_path / "api/file")]).rebuild == {"api"}


def test_only_its_triggers_count_for_a_service_with_a_section(tmp_path: Path) -> None:
    api = service(tmp_path, "api")
    watch = [{"path": str(tmp_path / "web"), "action": "sync", "target": "/web", "initial_sync": True}]
    found = targets.find(workspace(tmp_path, api, api={"develop": {"watch": watch}}), ["api"], [])
    assert not work(found.rules, [str(tmp_path / "src")])
    assert work(found.rules, [str(tmp_path / "web/a")]).sync == {"api": {str(tmp_path / "web/a"): "/web/a"}}
    assert [name for name, _ in found.initial] == ["api"]


def test_nothing_to_watch_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Problem) as refused:
        targets.find(workspace(tmp_path, db={"image": "postgres"}), ["db"], [])
    assert refused.value.code == "no-built-service"


@pytest.mark.parametrize(
    ("there", "entries", "expected"),
    [
        ([Running("1", "api-1", "running", "api", "sha256:new")], {}, ()),
        ([Running("1", "api-1", "running", "api", "sha256:old")], {}, ("api",)),
        ([Running("1", "api-1", "exited", "api", "sha256:new")], {}, ()),
        ([Running("1", "api-1", "created", "api", "sha256:new")], {}, ("api",)),
        ([Running("1", "a-1", "running", "api", "sha256:new"), Running("2", "a", "running", "api", "x")], {}, ("api",)),
        ([], {}, ("api",)),
        ([], {"api": {"scale": 0}}, ()),
        ([], {"api": {"deploy": {"replicas": 0}}}, ()),
    ],
)
def test_which_containers_are_outdated(
    tmp_path: Path, there: list[Running], entries: Mapping[str, Any], expected: tuple[str, ...]
) -> None:
    services = [service(tmp_path, "api"), service(tmp_path, "unbuilt")]
    assert containers.outdated(services, entries, there, {"shop/api": "sha256:new"}) == expected


def test_dev_has_started_what_did_not_run_before_and_left_what_was_stopped() -> None:
    def one(service: str, state: str, number: str = "1") -> Running:
        return Running(f"{service}{number}", f"shop-{service}-{number}", state, service, "sha256:1")

    before = [one("db", "running"), one("worker", "exited"), one("job", "exited"), one("web", "exited")]
    after = [one("db", "running", "2"), one("worker", "exited"), one("job", "running"), one("web", "exited", "2")]
    assert containers.started(before, [*after, one("api", "running")]) == ("api", "job", "web")


def test_services_with_other_containers_than_before_were_replaced() -> None:
    one, two = Running("1", "a", "running", "api", "x"), Running("2", "b", "running", "web", "x")
    assert containers.replaced([one, two], [two, Running("3", "a", "running", "api", "y")]) == ("api",)


def test_services_of_one_build_are_one_group(tmp_path: Path) -> None:
    api, worker, web = service(tmp_path, "api"), service(tmp_path, "worker"), service(tmp_path, "web", "web")
    assert [[s.name for s in group] for group in alike([api, web, worker])] == [["api", "worker"], ["web"]]
