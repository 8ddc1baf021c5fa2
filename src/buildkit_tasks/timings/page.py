"""The page of one build: facts, the chart, the critical path, tables, and what the times mean. Pure.

Without scripts and without anything from elsewhere; the policy in its head forbids both.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from datetime import datetime

from buildkit_tasks.core import units
from buildkit_tasks.core.model import Past
from buildkit_tasks.history.model import Build

from . import chart, timeline
from .markup import seconds, table, text
from .style import CSS
from .timeline import Bar, Timeline

#: Rows of a table. What is left out is counted.
MANY = 3000

_HEAD = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{css}</style>
</head>
<body>
<main>
"""


def html(build: Build, project: str, past: Sequence[Past] = ()) -> str:
    """The page as text. `past`: builds of the same kind, to compare with."""
    line = timeline.of(build)
    title = f"{project}: build {build.id}"
    parts = [
        _HEAD.format(title=text(title), css=CSS),
        f"<h1>{text(title)}</h1>",
        f"<p><code>invoke {text(build.command)}</code></p>",
        f'<p class="dim">{text(_when(build))}</p>',
        _facts(build, line),
    ]
    if line.ran:
        parts += ["<h2>Time line</h2>", chart.html(line), *_hidden(line), "<h2>Critical path</h2>", *_path(line)]
    else:
        parts.append("<p>No step ran: every step was cached, or the build reported none.</p>")
    parts += _warmth(build, past)
    if line.bars:
        parts += ["<h2>Steps</h2>", _steps(line)]
    if line.crates:
        parts += ["<h2>Crates</h2>", _crates(line)]
    parts += ["<h2>What is measured</h2>", _notes(build), "</main>\n</body>\n</html>\n"]
    return "\n".join(parts)


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
    cells = "".join(f"<div><dt>{n}</dt><dd>{text(v)}<small>{text(more)}</small></dd></div>" for n, v, more in facts)
    return f'<dl class="facts">{cells}</dl>'


def _compiled(build: Build) -> tuple[str, str]:
    cargo = build.cargo
    if not cargo.crates and cargo.fresh is None:
        return "none", "cargo did not run"
    return f"{len(cargo.crates)} compiled", "" if cargo.fresh is None else f"{cargo.fresh} reused"


def _target(build: Build) -> tuple[str, str]:
    """What cargo found in its target mount, as far as the compile step reports it."""
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
        yield f'<p class="dim">{units.counted(left, "shorter step")} not drawn; the table has all of them.</p>'


def _path(line: Timeline) -> Iterator[str]:
    path = line.path
    spent = sum(bar.seconds or 0.0 for bar in path)
    rest = max(0.0, line.span - spent)
    yield (
        f"<p>These steps waited for each other, one after the other. They took {seconds(spent)} of "
        f"{seconds(line.span)}: only what makes one of them faster can make a build like this faster. "
        f"For {seconds(rest)} none of them was running: BuildKit prepared a step or stored its result.</p>"
    )
    items = "".join(
        f"<li><strong>{seconds(bar.seconds)}</strong> {text(chart.name(bar))}{_tail(bar)}</li>\n" for bar in path
    )
    yield f"<ol>{items}</ol>"


def _tail(bar: Bar) -> str:
    if bar.finished is None or bar.ended - bar.finished < 0.05:
        return ""
    return f' <span class="dim">(cargo was done {seconds(bar.ended - bar.finished)} before its end)</span>'


def _warmth(build: Build, past: Sequence[Past]) -> Iterator[str]:
    """What builds of this kind took whose target mount was warm: measured ones, no estimate."""
    warm = [one.seconds for one in past if not one.empty and one.crates]
    if build.cargo.total is not None and warm:
        yield "<h2>With a warm cache</h2>"
        yield (
            f"<p>{units.counted(len(warm), 'build')} of the same services with a filled target mount took "
            f"{seconds(min(warm))} to {seconds(max(warm))}, in the median {seconds(statistics.median(warm))}. "
            "What they compiled depends on what was edited before.</p>"
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
    caption = f"Steps, in the order in which they began{_more(len(bars))}"
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
    about = "The pause is the time until the next crate started, or cargo was done. Several may compile meanwhile."
    caption = f"Crates, in the order in which cargo started them{_more(len(line.crates))}"
    made = table(caption, ("crate", "#started", "#pause", "version", "from"), rows)
    return f'<p class="dim">{about}</p>\n{made}'


def _more(count: int) -> str:
    return f" (the first {MANY} of {count})" if count > MANY else ""


def _notes(build: Build) -> str:
    notes = [
        "Time 0 is when BuildKit began its first step. The total is that of the whole build as the command measured "
        "it, with the start of docker and the parts that are not steps.",
        "Steps: from start to end, by BuildKit's clock. A step that waits for its cache mount is running.",
        "A crate's time is when cargo printed “Compiling”. cargo prints nothing when a crate is done, so the length of "
        "a compilation, and how many compile at the same time, are not known here. A long pause often is the link of "
        "a program, or a large crate that others wait for.",
        "Critical path: from the step that ended last, always to the one that ended last of those it waited for. Where "
        "a step could not be matched to a line of a Dockerfile, that is whatever ended before it began.",
        "The target mount is empty if the compile step of buildkit-tasks reported so. It knows nothing of mounts that "
        "other Dockerfiles use.",
    ]
    if build.pulled:
        notes.append("A pack was pulled before this build; that is not on the time line.")
    items = "".join(f"<li>{note}</li>\n" for note in notes)
    return f'<ul class="notes">{items}</ul>'
