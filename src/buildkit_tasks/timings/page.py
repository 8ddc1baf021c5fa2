"""The page of one build: facts, chart, critical path, tables, and an explanation of the times. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from datetime import datetime

from buildkit_tasks.core import units
from buildkit_tasks.core.model import Past
from buildkit_tasks.history.model import Build

from . import chart, timeline
from .markup import bullets, document, seconds, table, text, tiles
from .timeline import Bar, Timeline

#: Maximum rows of a table; the caption shows the total.
MANY = 3000


def html(build: Build, project: str, past: Sequence[Past] = ()) -> str:
    """Return the page as text. `past`: earlier builds of the same kind, for comparison."""
    line = timeline.of(build)
    title = f"{project}: build {build.id}"
    parts = [
        f"<p><code>invoke {text(build.command)}</code></p>",
        f'<p class="dim">{text(_when(build))}</p>',
        _facts(build, line),
    ]
    if line.ran:
        parts += ["<h2>Timeline</h2>", chart.html(line), *_hidden(line), "<h2>Critical path</h2>", *_path(line)]
    else:
        parts.append("<p>No steps ran: all steps were cached, or the build did not report any.</p>")
    parts += _warmth(build, past)
    if line.bars:
        parts += ["<h2>Steps</h2>", _steps(line)]
    if line.crates:
        parts += ["<h2>Crates</h2>", _crates(line)]
    parts += ["<h2>What is measured</h2>", _notes(build)]
    return document(title, parts)


def _when(build: Build) -> str:
    began = datetime.fromtimestamp(build.began).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
    commit = f", commit {build.inputs.commit[:12]}" if build.inputs.commit else ""
    mode = "incremental" if build.inputs.incremental else "not incremental"
    profile = f", profile {build.inputs.profile}, {mode}" if build.inputs.profile else ""
    return f"{began}{profile}{commit}, engine {build.inputs.engine_version}"


def _facts(build: Build, line: Timeline) -> str:
    outcome = "built" if build.outcome == "built" else f"failed: {build.problem or 'unknown'}"
    path = sum(bar.seconds or 0.0 for bar in line.path)
    cached = sum(bar.state == "cached" for bar in line.bars)
    facts = [
        ("Total", seconds(build.seconds), outcome),
        ("Critical path", seconds(path), units.counted(len(line.path), "step")),
        ("Steps", f"{len(line.ran)} ran", f"{cached} cached"),
        ("Crates", *_compiled(build)),
        ("Target mount", *_target(build)),
        ("Registry mount", *_registry(build)),
    ]
    return tiles(facts)


def _compiled(build: Build) -> tuple[str, str]:
    cargo = build.cargo
    if not cargo.crates and cargo.fresh is None:
        return "none", "cargo did not run"
    return f"{len(cargo.crates)} compiled", "" if cargo.fresh is None else f"{cargo.fresh} reused"


def _target(build: Build) -> tuple[str, str]:
    """Return the state of the target mount before cargo ran, if the compile step reported it."""
    cargo = build.cargo
    if cargo.total is not None:
        return "empty", f"{cargo.total} crates to compile"
    if cargo.fresh is not None:
        return "warm", "filled from a pack" if build.pulled else "contained objects from earlier builds"
    return ("not used", "cargo did not run") if not cargo.crates else ("unknown", "not reported")


def _registry(build: Build) -> tuple[str, str]:
    cargo = build.cargo
    if cargo.downloaded:
        return f"{units.counted(cargo.downloaded, 'crate')} missing", "downloaded"
    if not cargo.crates and cargo.fresh is None:
        return "not used", "cargo did not run"
    return "nothing missing", "nothing downloaded"


def _hidden(line: Timeline) -> Iterator[str]:
    left = len(line.ran) - len(chart.rows(line))
    if left:
        yield f'<p class="dim">{units.counted(left, "shorter step")} not shown here; the table lists all steps.</p>'


def _path(line: Timeline) -> Iterator[str]:
    path = line.path
    spent = sum(bar.seconds or 0.0 for bar in path)
    rest = max(0.0, line.span - spent)
    yield (
        f"<p>Each of these steps waited for the one before it. They took {seconds(spent)} of "
        f"{seconds(line.span)}: a build like this gets faster only if one of these steps gets faster. "
        f"For {seconds(rest)}, none of them was running: BuildKit was preparing a step or storing its result.</p>"
    )
    items = "".join(
        f"<li><strong>{seconds(bar.seconds)}</strong> {text(chart.name(bar))}{_tail(bar)}</li>\n" for bar in path
    )
    yield f"<ol>{items}</ol>"


def _tail(bar: Bar) -> str:
    if bar.finished is None or bar.ended - bar.finished < 0.05:
        return ""
    return f' <span class="dim">(cargo finished {seconds(bar.ended - bar.finished)} before the step ended)</span>'


def _warmth(build: Build, past: Sequence[Past]) -> Iterator[str]:
    """Yield how long builds of this kind took with a warm target mount: measured, not estimated."""
    warm = [one.seconds for one in past if not one.empty and one.crates]
    if build.cargo.total is not None and warm:
        yield "<h2>With a warm cache</h2>"
        yield (
            f"<p>{units.counted(len(warm), 'build')} of the same services with a filled target mount took "
            f"{seconds(min(warm))} to {seconds(max(warm))}, with a median of {seconds(statistics.median(warm))}. "
            "What each build compiled depends on the edits since the previous build.</p>"
        )


def _steps(line: Timeline) -> str:
    bars = sorted(line.bars, key=lambda bar: (bar.began, bar.step))
    rows = (
        (
            f"<code>{text(bar.text)}</code>",
            seconds(bar.seconds),
            seconds(bar.began),
            text(bar.state),
            "◆ yes" if bar.on_path else "",
            text(", ".join(bar.services)),
            text(bar.stage),
        )
        for bar in bars[:MANY]
    )
    caption = f"Steps, in the order they started{_more(len(bars))}"
    headings = ("step", "#took", "#began", "state", "critical path", "services", "stage")
    return table(caption, headings, rows)


def _crates(line: Timeline) -> str:
    rows = (
        (
            text(crate.name),
            seconds(crate.began),
            seconds(crate.pause),
            text(crate.version),
            "project" if crate.own else "dependency",
        )
        for crate in line.crates[:MANY]
    )
    about = (
        "The pause is the time until the next crate started or cargo finished. Other crates may compile "
        "during the pause."
    )
    caption = f"Crates, in the order cargo started them{_more(len(line.crates))}"
    made = table(caption, ("crate", "#started", "#pause", "version", "from"), rows)
    return f'<p class="dim">{about}</p>\n{made}'


def _more(count: int) -> str:
    return f" (the first {MANY} of {count})" if count > MANY else ""


def _notes(build: Build) -> str:
    notes = [
        "Time 0 is when BuildKit started its first step. The total is the whole build's duration, as measured by "
        "the command. It includes starting docker and everything else that is not a step.",
        "Steps: from start to end, by BuildKit's clock. A step counts as running while it waits for its cache mount.",
        "A crate starts when cargo prints “Compiling”. cargo prints nothing when a crate is finished, so "
        "the page cannot show how long a crate took, or how many were compiled at the same time. A long pause often "
        "means that a program was being linked, or that other crates were waiting for a large one.",
        "Critical path: starts at the step that ended last and repeatedly follows the dependency that ended last. "
        "A step that could not be matched to a line in a Dockerfile is assumed to have waited for every step that "
        "ended before it started.",
        "The target mount is shown as empty if the compile step of buildkit-tasks reported it as empty. This does not "
        "apply to mounts used by other Dockerfiles.",
    ]
    if build.pulled:
        notes.append("A pack was pulled before this build; the pull is not shown on the timeline.")
    return bullets(notes)
