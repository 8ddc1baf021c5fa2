"""The tables of docs/explanation/never-stale.md, made from the cases and the recorded results of the classic recipe."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.engine.staleness.cases import CASES, Case
from tests.engine.staleness.mutations import MUTATIONS

PAGE = Path(__file__).parents[3] / "docs/explanation/never-stale.md"
_RECORD = Path(__file__).with_name("classic.json")


def recorded() -> dict[str, str]:
    """What each case gave with the classic recipe, when that was last recorded."""
    return json.loads(_RECORD.read_text()) if _RECORD.exists() else {}


def record(cells: dict[str, str]) -> None:
    """Write it down, in the order of the cases; cases that are no more are dropped."""
    ordered = {one.name: cells[one.name] for one in CASES if one.name in cells and one.classic is None}
    _RECORD.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n")


def wrong(cells: str) -> bool:
    """Whether any of a case's builds was stale, failed wrongly or succeeded wrongly."""
    return any(cell[0] in "SW" for cell in cells.split())


def goes_wrong(one: Case) -> bool:
    """Whether the classic recipe was seen to go wrong here, or is not known yet."""
    return wrong(recorded().get(one.name, "S"))


def _row(one: Case, classic: dict[str, str]) -> str:
    cells = [
        classic.get(one.name, {"?": "varies", "-": "–"}.get(one.classic or "", "")),
        one.unguarded or "",
        one.cells,
    ]
    if one.name.startswith("sync dies"):
        cells[2] = cells[2].replace("W ", "")  # the build that is made to die
    shown = [" ".join(f"**{cell}**" if cell[0] in "SW" else cell for cell in text.split()) for text in cells]
    return f"| {one.name.replace('|', chr(92) + '|')} | {' | '.join(shown)} |"


def matrix() -> str:
    """One row per case."""
    classic = recorded()
    counted = [one for one in CASES if one.classic is None]
    broken = sum(wrong(classic[one.name]) for one in counted)
    plain = sum(wrong(one.unguarded or "") for one in CASES)
    return "\n".join(
        [
            f"Wrong: the classic recipe in **{broken} of {len(counted)}** cases, our Dockerfile built by plain "
            f"`docker build` in {plain} of {len(CASES)}, with the guard in **0 of {len(CASES)}**.",
            "",
            "| case | classic | ours, plain `docker build` (where it differs) | ours |",
            "|---|---|---|---|",
            *(_row(one, classic) for one in CASES),
        ]
    )


def mutations() -> str:
    """One row per step of the compile script."""
    return "\n".join(
        ["| left out or spoilt | the case that then goes wrong |", "|---|---|"]
        + [f"| {one.name} | {one.case} |" for one in MUTATIONS]
    )


def fill(page: str) -> str:
    """The page with its tables as they should be."""
    for name, table in {"matrix": matrix(), "mutations": mutations()}.items():
        page, count = re.subn(
            rf"(?s)(<!-- {name}: generated -->\n).*?(\n<!-- {name}: end -->)",
            lambda found, table=table: found[1] + table + found[2],  # type: ignore[misc]
            page,
        )
        if count != 1:
            raise ValueError(f"the page has no place for the table {name!r}")
    return page
