"""Shows a benchmark's result: as a table, JSON, Markdown or HTML, and compared with an earlier one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import files, readfile, units
from buildkit_tasks.core.errors import Problem

from . import compare, figures
from .catalogue import BEFORE, CASE_BY_KEY, OURS
from .figures import Row, Sample

#: The name of the last result in the state directory.
LAST = "last.json"
#: The first build that uses no layers at all (`docker compose build --no-cache`).
FIRST = (BEFORE, CASE_BY_KEY["cold"].title)
#: Version of the document, the value of `schema` next to it.
SCHEMA = 1


@dataclass(frozen=True)
class Asked:
    """The flags of `invoke bench`. `load`: show an earlier result; `compare`: compare with an earlier result."""

    quick: bool = False
    rounds: int = 3
    cases: tuple[str, ...] = ()
    contenders: tuple[str, ...] = ()
    resume: bool = False
    markdown: bool = False
    html: bool = False
    output: str = ""
    load: str = ""
    compare: str = ""


def read(session: Session, path: str) -> dict[str, Any]:
    """Read a result that `bench --json` printed, relative to the working directory; `last` is the last run's result.

    Raises `Problem` bad-argument.
    """
    place = session.state / "bench" / LAST if path == "last" else session.world.cwd / path
    try:
        return compare.read(readfile.text(place))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise Problem(
            "bad-argument",
            f"Cannot read the benchmark {path}: {why}.",
            hint="pass a file that `invoke bench --json > FILE` wrote, or `last` for the last run",
        ) from None


def text(document: Mapping[str, Any]) -> str:
    """Return the JSON document."""
    return json.dumps({"schema": SCHEMA, "bench": document}, indent=2) + "\n"


def rows(document: Mapping[str, Any]) -> tuple[Row, ...]:
    """Return the rows of a document, computed from its samples."""
    known = Sample.__dataclass_fields__
    samples = [
        Sample(**{"round": 0, **{name: value for name, value in sample.items() if name in known}})
        for sample in document["samples"]
    ]
    return figures.rows(samples, OURS)


def facts(document: Mapping[str, Any]) -> str:
    """Return the machine and versions on one line."""
    return "; ".join(f"{k} {v}" for k, v in (document.get("facts") or {}).items())


def notes(document: Mapping[str, Any]) -> list[str]:
    """Return what a reader must know: exclusions, what ratios mean, busy rounds, sizes, the duration."""
    taken = Counter(sample[kind] for sample in document["samples"] for kind in ("contender", "case"))
    found = []
    for what, why in (document.get("left_out") or {}).items():
        how = f"excluded after {units.counted(taken[what], 'sample')}" if taken[what] else "not measured"
        found.append(f"{what}: {how}, because {why}")
    if any(row.rounds > 1 for row in rows(document)):
        found.append(f"in parentheses after a ratio: {figures.SPREAD}")
    if any((sample["contender"], sample["case"]) == FIRST for sample in document["samples"]):
        found.append(f"{BEFORE}, first build: runs every step again; the others may use layers of their toolchain")
    busy = sum(bool(sample.get("busy")) for sample in document["samples"])
    if busy:
        found.append(f"{units.counted(busy, 'sample')} of {len(document['samples'])}: taken while other processes ran")
    caches = document.get("caches") or {}
    if caches:
        sizes = ", ".join(f"{name} {units.human(size)}" for name, size in sorted(caches.items()))
        found.append(f"cache mounts and layers: {sizes}")
    if document.get("seconds"):
        found.append(f"measured in {document['seconds'] / 60:.0f} minutes, ended {document.get('ended', '')}")
    return found


def show(session: Session, document: Mapping[str, Any], asked: Asked) -> None:
    """Print the result in the requested form."""
    table = rows(document)
    if session.report.json_only:
        session.report.envelope({"bench": document})
    if asked.html:
        _write(session, document, table, asked.output)
    elif asked.markdown and not session.report.json_only:
        session.report.answer(markdown(document, table))
    elif not session.report.json_only:
        for case in dict.fromkeys(row.case for row in table):
            cells = [figures.narrow(row) for row in table if row.case == case]
            session.report.table(figures.NARROW, cells, title=f"\n{case}")
        for note in (*notes(document), facts(document)):
            session.report.say(note)


def markdown(document: Mapping[str, Any], table: Sequence[Row]) -> str:
    """Return the result in Markdown: the table, what is missing, and the machine."""
    lines = [figures.markdown(table), ""]
    lines += [f"- {note}" for note in (*notes(document), facts(document))]
    return "\n".join(lines)


def _write(session: Session, document: Mapping[str, Any], table: Sequence[Row], output: str) -> None:
    from . import page

    place = session.world.cwd / output if output else session.state / "bench" / "report.html"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        content = page.html(document, table, notes(document), session.root.name)
        files.replace(place, content, mode=None if output else 0o600, durable=False)
    except OSError as error:
        raise Problem(
            "bad-argument",
            f"Cannot write {place}: {error.strerror or error}.",
            hint="run `invoke bench --load FILE --html --output FILE` with a writable path",
        ) from error
    if session.report.json_only:
        session.report.envelope({"html": str(place)})
    else:
        session.report.answer(str(place))


def compared(session: Session, old: Mapping[str, Any], new: Mapping[str, Any], asked: Asked) -> int:
    """Print the comparison with an earlier result. Returns 1 if `invoke build` became slower or wrong, else 0."""
    found = compare.compare(old, new, OURS)
    changes = [
        {**change.__dict__, "before": round(change.before, 3), "now": round(change.now, 3)} for change in found.changes
    ]
    if session.report.json_only:
        content = {"with": asked.compare, "drift": round(found.drift, 3), "changes": changes}
        session.report.envelope({"compare": {**content, "differing": list(found.differing)}})
    else:
        session.report.table(compare.HEADINGS, [compare.cells(change) for change in found.changes])
        if found.drift != 1.0:
            session.report.say(
                f"ways of building without buildkit-tasks take {found.drift:.2f} times as long as before; corrected"
            )
        for difference in found.differing:
            session.report.warn(f"the machines differ: {difference}")
    return 1 if found.regressions else 0
