"""The results of the fault suite, and the page that reports them: docs/explanation/reliability.md."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs/explanation/reliability.md"
RECORD = Path(__file__).with_name("seen.json")

#: The kinds of findings. `lost`: something of the user's changed, or a second run does not fix it; `wrong`: a program
#: that does not match its sources; `leaked`: a secret; `left`: a process that keeps running; `rough`: a traceback, no
#: exit, or an undocumented exit code.
KINDS = ("lost", "wrong", "leaked", "left", "rough")


@dataclass
class Row:
    """One fault: the number of tries, how often it hit a running command, and the findings."""

    tries: int = 0
    hits: int = 0
    found: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    note: str = ""


@dataclass
class Tally:
    """The rows of one run of the suite. `objections`: the text of every finding."""

    rows: dict[str, Row] = field(default_factory=dict)
    objections: list[str] = field(default_factory=list)

    def count(self, fault: str, *, hit: bool, findings: list[tuple[str, str]], note: str = "") -> None:
        """Count a try with its findings: pairs of a kind and a sentence."""
        row = self.rows.setdefault(fault, Row())
        row.tries += 1
        row.hits += hit
        row.note = note or row.note
        for kind, words in findings:
            row.found[kind] += 1
            self.objections.append(f"{fault}, try {row.tries}: {kind}: {words}")

    def of(self, fault: str) -> list[str]:
        """Return the findings of one fault."""
        return [words for words in self.objections if words.startswith(f"{fault}, try ")]

    def write(self, fault: str) -> None:
        """Replace the row in the record, and the table on the page."""
        kept = recorded() | {fault: asdict(self.rows[fault])}
        RECORD.write_text(json.dumps(kept, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
        PAGE.write_text(fill(PAGE.read_text("utf-8")), "utf-8")


def recorded() -> dict[str, dict[str, object]]:
    """Return the rows as they were last recorded."""
    return dict(json.loads(RECORD.read_text("utf-8"))) if RECORD.exists() else {}


def table() -> str:
    """Return a table with one row per fault."""
    rows = [Row(**row) for row in recorded().values()]  # type: ignore[arg-type]
    lines = [
        f"**{sum(row.tries for row in rows)} tries**, {sum(row.hits for row in rows)} of them while the command ran: "
        + ", ".join(f"{sum(row.found[kind] for row in rows)} {words}" for kind, words in WORDS.items())
        + ".",
        "",
        f"| fault | tries | hits | {' | '.join(WORDS.values())} | measured |",
        f"|---|{'--:|' * (len(WORDS) + 2)}---|",
    ]
    for name, row in zip(recorded(), rows, strict=True):
        counts = (row.tries, row.hits, *(row.found[kind] for kind in WORDS))
        lines.append(f"| {name} | {' | '.join(map(str, counts))} | {row.note} |")
    return "\n".join(lines)


#: The column headings.
WORDS = {
    "lost": "losses",
    "wrong": "wrong programs",
    "leaked": "leaks",
    "left": "processes left",
    "rough": "bad endings",
}


def fill(page: str) -> str:
    """Return the page with the current table."""
    filled, count = re.subn(
        r"(?s)(<!-- faults: generated -->\n).*?(\n<!-- faults: end -->)", lambda m: m[1] + table() + m[2], page
    )
    assert count == 1
    return filled
