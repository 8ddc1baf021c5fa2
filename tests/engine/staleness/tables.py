"""The tables of docs/explanation/never-stale.md, generated from the cases and the classic recipe's recorded results."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.engine.staleness.cases import CASES, Case
from tests.engine.staleness.mutations import MUTATIONS

PAGE = Path(__file__).parents[3] / "docs/explanation/never-stale.md"
_RECORD = Path(__file__).with_name("classic.json")


def recorded() -> dict[str, str]:
    """Return the result of each case with the classic recipe, as last recorded."""
    return json.loads(_RECORD.read_text()) if _RECORD.exists() else {}


def record(cells: dict[str, str]) -> None:
    """Record the results, in the order of the cases; drop cases that no longer exist."""
    ordered = {one.name: cells[one.name] for one in CASES if one.name in cells and one.classic is None}
    _RECORD.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n")


def wrong(cells: str) -> bool:
    """Return whether any of a case's builds was stale, failed wrongly or succeeded wrongly."""
    return any(cell[0] in "SW" for cell in cells.split())


def goes_wrong(one: Case) -> bool:
    """Return whether the classic recipe went wrong in this case, or has not been recorded yet."""
    return wrong(recorded().get(one.name, "S"))


def _row(one: Case, classic: dict[str, str]) -> str:
    cells = [
        classic.get(one.name, {"?": "varies", "-": "–"}.get(one.classic or "", "")),
        one.unguarded or "",
        one.cells,
    ]
    if one.name.startswith("sync killed"):
        cells[2] = cells[2].replace("W ", "")  # the build that is killed
    shown = [" ".join(f"**{cell}**" if cell[0] in "SW" else cell for cell in text.split()) for text in cells]
    return f"| {one.name.replace('|', chr(92) + '|')} | {' | '.join(shown)} |"


def matrix() -> str:
    """Return a table with one row per case."""
    classic = recorded()
    counted = [one for one in CASES if one.classic is None]
    broken = sum(wrong(classic[one.name]) for one in counted)
    plain = sum(wrong(one.unguarded or "") for one in CASES)
    return "\n".join(
        [
            f"The classic recipe gives wrong results in **{broken} of {len(counted)}** cases. Our Dockerfile gives "
            f"wrong results in {plain} of {len(CASES)} cases with plain `docker build`, and in **0 of {len(CASES)}** "
            "cases with the guard.",
            "",
            "| case | classic | ours, plain `docker build` (where it differs) | ours |",
            "|---|---|---|---|",
            *(_row(one, classic) for one in CASES),
        ]
    )


def mutations() -> str:
    """Return a table with one row per step of the compile script."""
    return "\n".join(
        ["| removed or broken | case that fails as a result |", "|---|---|"]
        + [f"| {one.name} | {one.case} |" for one in MUTATIONS]
    )


def fill(page: str) -> str:
    """Return the page with the current tables."""
    for name, table in {"matrix": matrix(), "mutations": mutations()}.items():
        page, count = re.subn(
            rf"(?s)(<!-- {name}: generated -->\n).*?(\n<!-- {name}: end -->)",
            lambda found, table=table: found[1] + table + found[2],  # type: ignore[misc]
            page,
        )
        if count != 1:
            raise ValueError(f"the page has no place for the table {name!r}")
    return page
