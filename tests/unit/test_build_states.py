"""What the views of a running build print: states of images, shared steps, silence, and both renderings."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from buildkit_tasks.buildlog import lines, live, notices, source_paths, states
from buildkit_tasks.core.model import BuildPlan, Past, Service, Workspace
from buildkit_tasks.core.progress import Progress

RUN = "RUN --mount=type=cache,id=x-target-amd64,target=/build,sharing=locked /compile build"
AT = "2026-01-01T00:00:0{}Z"


class Said:
    """A report that keeps its messages, with a clock that the test controls."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.world = self
        self.seconds = 0.0

    def clock(self) -> float:
        return self.seconds

    def say(self, line: str = "", **_: str) -> None:
        self.lines.append(line)


def plan(*names: str) -> BuildPlan:
    services = tuple(Service(n, f"shop/{n}:dev", Path(), Path("Dockerfile"), n, key=n) for n in names)
    workspace = Workspace(Path(), "shop", "shop", (), services, {}, ())
    return BuildPlan(workspace, services, "", False, {}, groups=(services[:3],))


def vertex(name: str, *, started: bool = True, completed: bool = False, error: str = "") -> dict[str, Any]:
    item: dict[str, Any] = {"digest": name, "name": name, "error": error}
    if started:
        item["started"] = AT.format(1)
    if completed:
        item["completed"] = AT.format(3)
    return {"vertexes": [item]}


def log(name: str, text: str) -> dict[str, Any]:
    return {"logs": [{"vertex": name, "data": base64.b64encode(text.encode()).decode()}]}


def fold(*items: dict[str, Any]) -> Progress:
    progress = Progress()
    for item in items:
        progress.update(item)
    return progress


def found(progress: Progress, *names: str) -> dict[str, str]:
    return {image.service: image.state for image in states.States(plan(*names), progress).images()}


SHARED = (vertex(f"[api compile 2/2] {RUN}"), vertex(f"[worker compile 2/2] {RUN}", started=False))


@pytest.mark.parametrize(
    ("news", "expected"),
    [
        ((), {"api": "waiting", "worker": "waiting"}),
        ((vertex("[api internal] load build context"),), {"api": "preparing", "worker": "waiting"}),
        (SHARED, {"api": "compiling", "worker": "compiling"}),
        (
            (vertex("[api tools 1/2] RUN make"), *SHARED[1:]),
            {"api": "[api tools 1/2] RUN make", "worker": "waiting"},
        ),
        (
            (vertex("[api runtime 1/2] COPY a /"), vertex("[worker] exporting to image")),
            {"api": "[api runtime 1/2] COPY a /", "worker": "exporting"},
        ),
        ((vertex("[api] exporting to image", completed=True),), {"api": "done", "worker": "waiting"}),
        (
            (vertex("[api a 1/2] RUN false", completed=True, error="exit code: 1"),),
            {"api": "failed", "worker": "waiting"},
        ),
        (
            (vertex("[worker a 1/2] RUN x", completed=True, error="context canceled"),),
            {"api": "waiting", "worker": "preparing"},
        ),
    ],
)
def test_every_image_has_a_state(news: tuple[dict[str, Any], ...], expected: dict[str, str]) -> None:
    assert found(fold(*news), "api", "worker") == expected


def test_services_compile_together_whatever_name_the_step_has() -> None:
    progress = fold(vertex(f"[api compile 2/2] {RUN}"), vertex("[four internal] load build context", completed=True))
    names = ("api", "worker", "sensor", "four")
    assert found(progress, *names) == {
        "api": "compiling",
        "worker": "compiling",
        "sensor": "compiling",
        "four": "preparing",
    }
    assert (
        states.States(plan(*names), progress).label(next(iter(progress.vertexes.values())))
        == "[compile 2/2] RUN /compile build"
    )


def test_a_single_image_has_no_name_in_its_steps() -> None:
    assert found(fold(vertex(f"[compile 2/2] {RUN}")), "api") == {"api": "compiling"}
    assert found(fold(vertex("exporting to image")), "api") == {"api": "exporting"}


def test_a_step_that_services_share_has_no_service_s_name() -> None:
    progress = fold(*SHARED, vertex("[api runtime 1/2] COPY --from=compile /out/api /"))
    view = states.States(plan("api", "worker"), progress)
    labels = [view.label(v) for v in progress.vertexes.values()]
    assert labels == ["[compile 2/2] RUN /compile build"] * 2 + ["[api runtime 1/2] COPY --from=compile /out/api /"]


def test_lines_name_what_takes_long() -> None:
    report, progress = Said(), fold(*SHARED)
    view = lines.Lines(report, plan("api", "worker"), progress)  # type: ignore[arg-type]
    view.tick()
    assert report.lines == []
    report.seconds = 2.5
    view.tick()
    view.tick()
    assert report.lines == [f"  {lines.WAITING}"]
    progress.update(
        log(f"[api compile 2/2] {RUN}", "buildkit-tasks: total 3\n   Compiling serde v1\n   Compiling api v0\n")
    )
    report.seconds = 40.0
    view.tick()
    assert report.lines[1:] == ["  40 s: compiling 2/3  api, serde"]
    report.seconds = 41.0
    view.tick()
    assert len(report.lines) == 2


def test_a_compile_step_that_printed_is_not_blocked() -> None:
    report, progress = Said(), fold(*SHARED, log(f"[api compile 2/2] {RUN}", "buildkit-tasks: compared"))
    view = lines.Lines(report, plan("api", "worker"), progress)  # type: ignore[arg-type]
    for report.seconds in (0.0, 5.0):
        view.tick()
    assert report.lines == []


def test_earlier_builds_give_an_estimate() -> None:
    report, progress = Said(), fold(*SHARED)
    progress.past = (Past(250.0, (), True), Past(240.0, (), True), Past(3.0, ("api",), False))
    view = lines.Lines(report, plan("api", "worker"), progress)  # type: ignore[arg-type]
    view.tick()
    assert report.lines == []
    progress.update(log(f"[api compile 2/2] {RUN}", "buildkit-tasks: total 3\n   Compiling serde v1\n"))
    for report.seconds in (1.0, 2.0, 40.0):
        view.tick()
    assert report.lines == [
        "  earlier builds like this one took about 240 s",
        "  40 s of about 240 s: compiling 1/3  serde",
    ]
    out = io.StringIO()
    shown = live.Live(report, plan("api", "worker"), progress)  # type: ignore[arg-type]
    report.seconds = 41.5
    Console(file=out, width=80, highlight=False).print(shown)
    assert "elapsed  1.5 s of about 240 s" in out.getvalue()


def test_bytes_are_those_of_the_running_transfers() -> None:
    def status(layer: str, current: int, **more: object) -> dict[str, Any]:
        return {
            "statuses": [
                {"vertex": "[api context x] x", "id": layer, "name": "downloading", "current": current, **more}
            ]
        }

    progress = fold(vertex("[api context x] x"), status("a", 10, total=100), status("b", 5, total=50))
    assert progress.moving() == ("downloading", 15, 150)
    progress.update(status("a", 100, total=100, completed=AT.format(2)))
    assert progress.moving() == ("downloading", 5, 50)
    progress.update(vertex("[api context x] x", completed=True))
    assert progress.moving() is None


@pytest.mark.parametrize("width", [40, 80, 140])
@pytest.mark.parametrize("count", [1, 5, 50])
def test_the_terminal_view_fits_the_terminal(width: int, count: int) -> None:
    names = [f"service-{number}" for number in range(count)]
    prefix = f"{names[0]} " if count > 1 else ""
    step = f"[{prefix}compile 2/2] {RUN}"
    text = "buildkit-tasks: total 298\n" + "".join(f"   Compiling crate-{n}-with-a-long-name v1\n" for n in range(40))
    progress = fold(vertex(step), log(step, text))
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=False, highlight=False)
    console.print(live.Live(Said(), plan(*names), progress))  # type: ignore[arg-type]
    shown = out.getvalue()
    assert all(len(line) <= width for line in shown.splitlines())
    assert "40/298" in shown
    assert ("service-0" in shown) == (count <= live.LISTED)
    assert len(shown.splitlines()) <= 16


def test_warnings_are_counted_and_printed_once(tmp_path: Path) -> None:
    (tmp_path / "app/src").mkdir(parents=True)
    (tmp_path / "app/src/main.rs").write_text("")
    rustc = (
        "\x1b[33mwarning\x1b[0m: unused variable: `x`\n   --> src/main.rs:3:9\n    |\n\n"
        "warning: unused import\n --> /root/.cargo/registry/src/a/b.rs:1:1\nwarning: `api` generated 1 warning\n"
    )
    check = base64.b64encode(b"LegacyKeyValueFormat: \x1b[2Juse key=value").decode()
    steps = [f"[{name} compile 2/2] {RUN}" for name in ("api", "worker")]
    progress = fold(*(log(step, rustc) for step in steps), {"warnings": [{"short": check}, {"short": check}]})
    report, made = Said(), plan("api", "worker")
    services = tuple(replace(service, context=tmp_path / "app") for service in made.services)
    made = replace(made, services=services, workspace=replace(made.workspace, root=tmp_path))
    notices.show(report, made, progress)  # type: ignore[arg-type]
    assert report.lines == [
        "1 warning from rustc:",
        "  unused variable: `x`  app/src/main.rs:3",
        "1 warning from BuildKit:",
        "  LegacyKeyValueFormat:  [2Juse key=value",
    ]


@pytest.mark.parametrize(
    ("cwd", "shown"),
    [(".", "app/src/main.rs"), ("app", "src/main.rs"), ("app/src", "main.rs"), ("web", "../app/src/main.rs")],
)
def test_paths_in_compile_errors_start_where_the_user_is(tmp_path: Path, cwd: str, shown: str) -> None:
    for folder in ("app/src", "web"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "app/src/main.rs").write_text("")
    made = plan("api")
    services = tuple(replace(service, context=tmp_path / "app") for service in made.services)
    made = replace(made, services=services, workspace=replace(made.workspace, root=tmp_path))
    rest = "    |\n3 |     a --> b::c:1:2\n    ::: /root/.cargo/registry/src/a/b.rs:1:1\n"
    blue = "\x1b[0m   \x1b[0m\x1b[38;5;12m-->\x1b[0m \x1b[1m"
    text = "error[E0308]: wrong\n{}{}:3:5\x1b[0m\n  ::: {}:9:1\n" + rest
    printed = text.format(blue, "src/main.rs", "/build/shop/src/src/main.rs")
    assert source_paths.from_here(printed, made, tmp_path / cwd) == text.format(blue, shown, shown)
