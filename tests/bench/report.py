"""Measure the sample and write docs/benchmarks (`nox -s bench_report`), or update the README (`nox -s bench_readme`).

REPORT.json has every sample; REPORT.md and REPORT.html show it. The README's table is made from REPORT.json, so no
figure is typed by hand.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from buildkit_tasks.samples import catalogue, figures, present
from buildkit_tasks.samples.figures import Row

REPOSITORY = Path(__file__).parents[2]
PLACE = REPOSITORY / "docs" / "benchmarks"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"

#: The cases and columns of the README.
CASES = ("line", "shared", "nothing", "dependency", "clone", "cold")
COLUMNS = ("ours", "classic", "incremental", "one-run", "cargo-chef", "cargo")

HEAD = """\
# Benchmark of the sample

Every way of building ran in turn on the same machine, after the same kind of edit ([how it
works](../reference/bench.md)). [REPORT.html](REPORT.html) has charts,
[REPORT.json](REPORT.json) every sample. Measured and written by:

    ./dev nox -s bench_report

"""


def main() -> None:
    """Measure and write the report, or update the README."""
    flags = sys.argv[1:]
    if flags == ["--readme"]:
        page = REPOSITORY / "README.md"
        page.write_text(readme(page.read_text("utf-8"), _document()), "utf-8")
    else:
        measure(flags)


def measure(flags: Sequence[str]) -> None:
    """Run the benchmark with these flags, then replace the report."""
    PLACE.mkdir(exist_ok=True)
    invoke = [str(Path(sys.executable).parent / "invoke"), "bench"]
    subprocess.run([*invoke, "--yes", *flags], cwd=REPOSITORY, check=True)
    done = subprocess.run(
        [*invoke, "--load=last", "--json"], cwd=REPOSITORY, capture_output=True, check=True, text=True
    )
    (PLACE / "REPORT.json").write_text(done.stdout, "utf-8")
    document = _document()
    (PLACE / "REPORT.md").write_text(f"{HEAD}{present.markdown(document, present.rows(document))}\n", "utf-8")
    page = ["--load", str(PLACE / "REPORT.json"), "--html", "--output", str(PLACE / "REPORT.html")]
    subprocess.run([*invoke, *page], cwd=REPOSITORY, check=True)


def _document() -> dict[str, Any]:
    path = PLACE / "REPORT.json"
    if not path.is_file():
        sys.exit(f"{path} does not exist: run `./dev nox -s bench_report` on an idle machine first")
    return dict(json.loads(path.read_text("utf-8"))["bench"])


def readme(text: str, document: Mapping[str, Any]) -> str:
    """Return the README with the table of this result."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table(document)}\n{END}{after}"


def table(document: Mapping[str, Any]) -> str:
    """Return the README's table: a row per case, a column per way of building."""
    rows = {(row.case, row.contender): row for row in present.rows(document)}
    ways = [catalogue.BY_KEY[key] for key in COLUMNS if any(who == catalogue.BY_KEY[key].name for _, who in rows)]
    lines = ["| case | " + " | ".join(way.name for way in ways) + " |", "|" + "---|" * (1 + len(ways))]
    for key in CASES:
        title = catalogue.CASE_BY_KEY[key].title
        cells = [_cell(rows.get((title, way.name))) for way in ways]
        if any(cells):
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    if row.wrong:
        return "WRONG"
    if row.contender == catalogue.OURS:
        return f"**{row.median:.1f}**"
    if row.ratio is None:
        return f"{row.median:.1f}"
    return f"{row.median:.1f} ({'=' if figures.same(row) else f'{row.ratio:.2f}'})"


if __name__ == "__main__":
    main()
