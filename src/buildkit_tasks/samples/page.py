"""The HTML report of a benchmark: a bar chart per case, the figures, every sample, and the machine. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from buildkit_tasks.core import units
from buildkit_tasks.timings import chart
from buildkit_tasks.timings.markup import bullets, document, seconds, table, text, tiles

from . import figures
from .catalogue import BY_NAME, OURS
from .figures import Row

#: Added to the style sheet of all pages: bars, and marks for the samples of more than one round.
CSS = """
h2 small { font-weight: 400; color: var(--dim); }
.row { grid-template-columns: minmax(9rem, 17rem) 1fr 11.5rem; }
.bar.ours { background: var(--copy); } .bar.wrong { background: var(--failed); }
.dot { position: absolute; top: .57rem; width: .55rem; height: .55rem; margin-left: -.275rem; border-radius: 50%;
  background: var(--text); border: 1px solid var(--back); }
td.wrong, .much.wrong { color: var(--failed); font-weight: 600; }
.ours .name { font-weight: 600; }
@media (max-width: 640px) { .row { grid-template-columns: 1fr auto; } }
"""
LEGEND = (("ours", "invoke build"), ("run", "another way of building"), ("wrong", "the program lacked the edit"))
_HEADINGS = (
    "build",
    "#median",
    "#min–max",
    "#runs",
    "#crates",
    "#cargo",
    "#memory",
    "edit visible",
    "invoke build / this",
)


def html(content: Mapping[str, Any], rows: Sequence[Row], notes: Sequence[str], name: str) -> str:
    """Return the page. `content`: the document of the run; `name`: the project."""
    parts = [_facts(content), _intro(), _legend()]
    for case in dict.fromkeys(row.case for row in rows):
        of_case = [row for row in rows if row.case == case]
        samples = [sample for sample in content["samples"] if sample["case"] == case]
        parts += [_case(case, of_case, samples), _figures(case, of_case)]
    parts += ["<h2>Notes</h2>", bullets(map(text, notes)), _ways(rows), _samples(content)]
    return document(f"Benchmark of {name}", parts, CSS)


def _facts(content: Mapping[str, Any]) -> str:
    facts, options = content.get("facts") or {}, content.get("options") or {}
    edits = content.get("edits") or {}
    return tiles(
        [
            ("processors", str(facts.get("cpus", "–")), f"{facts.get('memory_gb', '–')} GB of memory"),
            ("engine", str(facts.get("engine", "–")), f"buildx {facts.get('buildx')}, compose {facts.get('compose')}"),
            ("system", str(facts.get("kernel", "–")), str(facts.get("system", ""))),
            ("services", str(facts.get("services", "–")), f"edited: {edits.get('service', '–')}"),
            ("rounds", str(options.get("rounds", "–")), f"ended {content.get('ended', '–')}"),
        ]
    )


def _intro() -> str:
    return (
        "<p>Bars are median times, dots are single builds. All ways of building ran in turn, each after the same kind "
        "of edit in its own copy of the sources. The last column is the time of <code>invoke build</code> divided by "
        "this time, within the same round; in parentheses: "
        f"{figures.SPREAD}. “No difference”: 1 is between these two numbers, or the times differ by at most 10% (5% "
        f"from {figures.ENOUGH} rounds). A build whose program lacks the edit is wrong, whatever its time.</p>"
    )


def _legend() -> str:
    items = "".join(f'<li><i class="{_color(kind)}"></i>{text(words)}</li>' for kind, words in LEGEND)
    return f'<ul class="legend" aria-hidden="true">{items}</ul>'


def _color(kind: str) -> str:
    return {"ours": "copy", "wrong": "failed"}.get(kind, kind)


def _case(case: str, rows: Sequence[Row], samples: Sequence[Mapping[str, Any]]) -> str:
    span = max([0.001, *(row.most for row in rows)]) * 1.02
    tick = chart.ticks(span)
    marks = [n * tick for n in range(int(span / tick) + 1) if n * tick <= 0.97 * span]
    axis = "".join(f'<span style="left:{chart.share(mark, span)}">{text(_short(mark))}</span>' for mark in marks)
    lines = [
        f'<div class="row axis"><div class="name"></div><div class="track">{axis}</div><div class="much"></div></div>'
    ]
    for row in rows:
        kind = "wrong" if row.wrong else "ours" if row.contender == OURS else "run"
        dots = "".join(
            f'<span class="dot" style="left:{chart.share(sample["seconds"], span)}"></span>'
            for sample in samples
            if sample["contender"] == row.contender and row.samples > 1
        )
        about = text(f"{row.contender}: {seconds(row.median)}")
        bar = f'<span class="bar {kind}" style="left:0;width:{chart.share(row.median, span)}" title="{about}"></span>'
        ratio = "" if row.contender == OURS else f" · {_brief(row)}"
        wrong = " wrong" if row.wrong else ""
        own = " ours" if row.contender == OURS else ""
        lines.append(
            f'<div class="row{own}"><div class="name" title="{text(row.contender)}">{text(row.contender)}</div>'
            f'<div class="track">{bar}{dots}</div>'
            f'<div class="much{wrong}">{text(seconds(row.median))}{text(ratio)}</div></div>'
        )
    spoken = ", ".join(f"{row.contender} {seconds(row.median)}" for row in rows)
    label = text(f"{case}: {spoken}. The table below has the same data.", 1000)
    return (
        f"<h2>{text(case)}</h2>\n"
        f'<div class="chart" style="--tick:{chart.share(tick, span)}" role="img" aria-label="{label}">'
        + "\n".join(lines)
        + "</div>"
    )


def _short(value: float) -> str:
    return f"{value / 60:g} min" if value >= 60 else f"{value:g} s"


def _brief(row: Row) -> str:
    if row.wrong:
        return "WRONG"
    if row.ratio is None:
        return "–"
    return "no difference" if figures.same(row) else f"{row.ratio:.2f}"


def _figures(case: str, rows: Sequence[Row]) -> str:
    cells = []
    for row in rows:
        spread = f"{row.least:.1f}–{row.most:.1f} s" if row.samples > 1 else "–"
        compiling = seconds(row.compile) if row.compile is not None else "–"
        memory = units.human(row.memory) if row.memory is not None else "–"
        verdict = text(figures.verdict(row))
        cells.append(
            [
                *(text(row.contender), seconds(row.median), spread, str(row.samples), text(row.crates), compiling),
                *(memory, text(row.correct or "–"), f"<strong>{verdict}</strong>" if row.wrong else verdict),
            ]
        )
    return "<p></p>" + table(f"{case}: figures", _HEADINGS, cells)


def _ways(rows: Sequence[Row]) -> str:
    names = dict.fromkeys(row.contender for row in rows)
    cells = [[text(name), text(BY_NAME[name].about)] for name in names if name in BY_NAME]
    return "<h2>Ways of building</h2>" + table("What was compared", ("build", "how"), cells)


def _samples(content: Mapping[str, Any]) -> str:
    cells = [
        [
            *(text(sample["case"]), text(sample["contender"]), str(sample.get("round", 0) + 1)),
            f"{sample['seconds']:.2f} s",
            {True: "yes", False: "<strong>no</strong>"}.get(sample.get("visible"), "–"),
            "yes" if sample.get("busy") else "",
        ]
        for sample in content["samples"]
    ]
    headings = ("case", "build", "#round", "#time", "edit visible", "busy machine")
    return "<h2>Samples</h2>" + table("Every measured build", headings, cells)
