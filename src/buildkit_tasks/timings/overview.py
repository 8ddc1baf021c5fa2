"""The page of the history: build times, hit rates and sizes over time, medians, and a table of the builds. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from buildkit_tasks.core import units
from buildkit_tasks.history.model import Build, Sizes

from . import plots, scales
from . import points as data
from .markup import bullets, document, seconds, table, text, tiles
from .points import Point
from .style import HISTORY

#: Maximum rows of the table of builds; the caption shows the total.
MANY = 3000
#: The parts of a project's caches, in the order in which they are stacked; other kinds of mounts follow.
PARTS = {
    "target": "target mounts",
    "cargo-registry": "cargo registry",
    "cargo-git": "cargo git",
    "layers": "layers",
}
OTHER = "other mounts"


def html(
    builds: Sequence[Build],
    project: str,
    sizes: Sequence[Sizes] = (),
    *,
    services: Sequence[str] = (),
    pages: Collection[int] = (),
) -> str:
    """Return the page as text. `builds`: oldest first; `services`: the services to which the builds are limited.

    `sizes`: all recorded sizes, oldest first; `pages`: ids of builds that have a page in the same directory.
    """
    points = [data.of(build) for build in builds]
    taken, elsewhere = _of_one_builder(sizes)
    parts = [_scope(points, services)]
    if points:
        parts += [
            plots.shapes(),
            _facts(points, taken),
            "<h2>Build times</h2>",
            *_few(points),
            plots.times(points),
            _medians(points),
            "<h2>Hit rates</h2>",
            *_hits(points),
        ]
    parts += ["<h2>Cache sizes</h2>", *_caches(taken, elsewhere)]
    if points:
        parts += ["<h2>Image sizes</h2>", *_images(points)]
        parts += ["<h2>Builds</h2>", _table(points, pages)]
        parts += ["<h2>What is measured</h2>", bullets(_notes())]
    return document(f"{project}: build history", parts, HISTORY)


def _scope(points: Sequence[Point], services: Sequence[str]) -> str:
    only = f" of {', '.join(services)}" if services else ""
    if not points:
        return f"<p>The history contains no builds{text(only)}. Run <code>invoke build</code> to record one.</p>"
    first, last = points[0], points[-1]
    if len(points) == 1:
        said = f"Build {last.id}{only}, {scales.when(last.began)}"
    else:
        said = f"Builds {first.id} to {last.id}{only}, {scales.when(first.began)} to {scales.when(last.began)}"
    return f'<p class="dim">{text(said)}</p>'


def _facts(points: Sequence[Point], taken: Sequence[Sizes]) -> str:
    kinds = data.by_kind(points)
    failed = len(kinds.get("failed", ()))
    facts = [("Builds", f"{len(points):,}", f"{failed:,} failed" if failed else "none failed")]
    for name, title in (("edit", "Project crates only"), ("cold", "Cold")):
        of_kind = kinds.get(name, [])
        middle = data.median(point.seconds for point in of_kind)
        facts.append((title, seconds(middle), _median_of(len(of_kind))))
    for title, hits in (
        ("Crates reused", [point.crate_hits for point in points]),
        ("Steps cached", [point.step_hits for point in points]),
    ):
        known = sum(hit is not None for hit in hits)
        facts.append((title, _share(data.median(hits)), _median_of(known)))
    if taken:
        size = units.human(sum(taken[-1].parts.values()))
        facts.append(("Caches", size, f"on {scales.when(taken[-1].taken, '%Y-%m-%d')}"))
    else:
        facts.append(("Caches", "–", "not recorded yet"))
    return tiles(facts)


def _median_of(count: int) -> str:
    return f"median of {units.counted(count, 'build')}" if count else "no such builds"


def _share(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}"


def _few(points: Sequence[Point]) -> Iterator[str]:
    if len(points) == 1:
        yield "<p>There is only one build so far. Medians and trends require more builds.</p>"


def _medians(points: Sequence[Point]) -> str:
    words = {name: word for name, _, word in data.KINDS}
    rows = []
    for name, of_kind in data.by_kind(points).items():
        took = [point.seconds for point in of_kind]
        crates = data.median(point.compiled for point in of_kind)
        recent = seconds(data.median(took[-data.WINDOW :])) if len(took) > data.WINDOW else "–"
        rows.append(
            (
                text(words[name]),
                f"{len(of_kind):,}",
                seconds(data.median(took)),
                recent,
                seconds(min(took)),
                seconds(max(took)),
                "–" if crates is None else f"{crates:,.0f}",
            )
        )
    headings = (
        "what",
        "#builds",
        "#median",
        f"#median of last {data.WINDOW}",
        "#fastest",
        "#slowest",
        "#crates compiled",
    )
    return table("Median durations, by what the builds compiled", headings, rows)


def _hits(points: Sequence[Point]) -> Iterator[str]:
    if any(point.crate_hits is not None for point in points):
        yield "<h3>Crates</h3>"
        yield plots.shares(points, lambda p: p.crate_hits, ("reused", "compiled"), _crates)
        yield '<p class="dim">No bar: cargo did not run, or did not report how many crates it reused.</p>'
    else:
        yield '<p class="dim">None of these builds reported how many crates cargo reused.</p>'
    if any(point.step_hits is not None for point in points):
        yield "<h3>Steps</h3>"
        yield plots.shares(points, lambda p: p.step_hits, ("cached", "run"), _steps)
    else:
        yield '<p class="dim">No steps are recorded for any of these builds.</p>'


def _crates(point: Point) -> str:
    return f"{point.compiled or 0} crates compiled, {point.reused or 0} reused"


def _steps(point: Point) -> str:
    return f"{point.ran} steps run, {point.cached} cached"


def _of_one_builder(sizes: Sequence[Sizes]) -> tuple[list[Sizes], int]:
    """Return the sizes on the engine and builder that were listed last, and how many others there are."""
    taken = [one for one in sizes if (one.engine, one.builder) == (sizes[-1].engine, sizes[-1].builder)]
    return taken, len(sizes) - len(taken)


def _caches(taken: Sequence[Sizes], elsewhere: int) -> Iterator[str]:
    if not taken:
        yield f"<p>No sizes are recorded yet. {_RECORDED}</p>"
        return
    names = {name for sizes in taken for name, size in sizes.parts.items() if size}
    parts = {name: word for name, word in PARTS.items() if name in names}
    if names - set(PARTS):
        parts[OTHER] = OTHER
    stacked = sorted(map(_joined, taken), key=lambda sizes: sizes.taken)  # the clock may have been set back
    last = stacked[-1]
    if len(stacked) > 1:
        yield plots.caches(stacked, parts)
    else:
        said = ", ".join(f"{word} {units.human(last.parts.get(name, 0))}" for name, word in parts.items())
        yield f"<p>Only one listing so far: {text(said or 'no caches')}.</p>"
    builder = f" on the builder {last.builder}" if last.builder else ""
    said = (
        f"This project's caches{builder}. The entire build cache, for all projects, "
        f"was {units.human(last.total)} on {scales.when(last.taken)}."
    )
    yield f'<p class="dim">{text(said)} {_RECORDED}</p>'
    if elsewhere:
        yield f'<p class="dim">{units.counted(elsewhere, "listing")} from other engines or builders not shown.</p>'


_RECORDED = (
    "Builds do not measure the caches, because measuring them takes time. Their sizes are recorded when "
    "<code>invoke cache</code> or <code>invoke cache.trim</code> lists them, and after each build if "
    "<code>caches.budget</code> is set."
)


def _joined(sizes: Sizes) -> Sizes:
    """Merge all other kinds of mounts into one part."""
    parts = {name: size for name, size in sizes.parts.items() if name in PARTS}
    other = sum(sizes.parts.values()) - sum(parts.values())
    return Sizes(sizes.taken, sizes.engine, sizes.builder, {**parts, OTHER: other} if other else parts, sizes.total)


def _images(points: Sequence[Point]) -> Iterator[str]:
    if not any(point.images for point in points):
        yield '<p class="dim">No image sizes are recorded: only an engine on this machine reports them.</p>'
        return
    drawn, left = plots.images(points)
    yield drawn
    if left:
        yield f'<p class="dim">{units.counted(left, "service")} with smaller images not shown.</p>'


def _table(points: Sequence[Point], pages: Collection[int]) -> str:
    words = {name: short for name, short, _ in data.KINDS}
    linked = any(point.id in pages for point in points)
    rows = (
        (
            f'<a id="build-{p.id}" href="#build-{p.id}">{p.id}</a>',
            *((f'<a href="build-{p.id}.html">timeline</a>' if p.id in pages else "",) if linked else ()),
            f'<span class="when">{text(scales.when(p.began))}</span>',
            seconds(p.seconds),
            f'<span class="bad">{text(p.problem or "failed")}</span>' if p.kind == "failed" else words[p.kind],
            _number(p.compiled),
            _number(p.reused),
            str(p.ran),
            str(p.cached),
            f"{p.changed} of {p.targets}" if p.targets else "–",
            f"<code>{text(p.command, 120)}</code>{', pack pulled' if p.pulled else ''}",
        )
        for p in reversed(points[-MANY:])
    )
    headings = ["build", *(["page"] if linked else []), "began", "#took", "compiled", "#crates", "#reused"]
    headings += ["#steps run", "#cached", "#new images", "command"]
    more = f" (the newest {MANY} of {len(points)})" if len(points) > MANY else ""
    return table(f"Builds, newest first{more}", headings, rows)


def _number(count: int | None) -> str:
    return "–" if count is None else f"{count:,}"


def _notes() -> list[str]:
    return [
        "Duration: the whole build as measured by the command, including starting docker and exporting images. "
        "Builds that were up to date or interrupted are not recorded.",
        "Builds of different services, profiles and platforms are in the same charts. "
        "<code>--service</code> limits the page to builds of a service.",
        "What a build compiled: as printed by cargo. “Cold” means that the compile step of buildkit-tasks reported an "
        "empty target mount. “Compiled no crates” includes builds that only copied files. <code>invoke explain "
        "--build NUMBER</code> prints the cause.",
        "Crates reused: crates that cargo reported as fresh. Only the compile step of buildkit-tasks reports them.",
        "Steps: the instructions of Dockerfiles that BuildKit reported as run or cached, without image exports.",
        "<code>invoke history --timings --build NUMBER</code> writes one build's timeline.",
    ]
