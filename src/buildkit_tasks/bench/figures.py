"""Benchmark values and arithmetic: cases, samples, medians, ratios, and text edits in a Rust workspace. Pure."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: Two medians that differ by less than this share of the larger one count as equal.
NO_DIFFERENCE = 0.05


@dataclass(frozen=True)
class Sample:
    """One timed build.

    `seconds`: wall time; `crates`: number compiled, None if unknown; `visible`: the program contains the edit.
    """

    contender: str
    case: str
    round: int
    seconds: float
    crates: int | None = None
    visible: bool | None = None


@dataclass(frozen=True)
class Row:
    """One contender in one case: median, minimum and maximum seconds of its samples, and our time relative to it."""

    case: str
    contender: str
    median: float
    least: float
    most: float
    samples: int
    ratio: float | None
    crates: str
    correct: str


def rows(samples: Sequence[Sample], ours: str) -> tuple[Row, ...]:
    """Return one row per case and contender, in order of first appearance.

    The ratio is the median, across rounds, of our time divided by the contender's in the same round, when the machine
    was in the same state.
    """
    found = []
    for case in dict.fromkeys(s.case for s in samples):
        base = {s.round: s.seconds for s in samples if s.case == case and s.contender == ours}
        for who in dict.fromkeys(s.contender for s in samples if s.case == case):
            mine = [s for s in samples if s.case == case and s.contender == who]
            pairs = [base[s.round] / s.seconds for s in mine if s.round in base and s.seconds > 0]
            seconds = [s.seconds for s in mine]
            seen = [s.visible for s in mine if s.visible is not None]
            crates = sorted({s.crates for s in mine if s.crates is not None})
            found.append(
                Row(
                    case=case,
                    contender=who,
                    median=statistics.median(seconds),
                    least=min(seconds),
                    most=max(seconds),
                    samples=len(mine),
                    ratio=None if who == ours or not pairs else statistics.median(pairs),
                    crates="-".join(map(str, (crates[0], crates[-1]) if len(crates) > 1 else crates)) or "?",
                    correct="" if not seen else "yes" if all(seen) else f"{seen.count(False)} of {len(seen)} STALE",
                )
            )
    return tuple(found)


def verdict(row: Row) -> str:
    """Format the ratio; a small difference is shown as no difference."""
    if row.ratio is None:
        return "-"
    if abs(1 - row.ratio) <= NO_DIFFERENCE:
        return f"{row.ratio:.2f} (no difference)"
    return f"{row.ratio:.2f}"


HEADINGS = ("case", "build", "median s", "min-max", "runs", "crates", "edit visible", "invoke build / this")


def cells(row: Row) -> tuple[str, ...]:
    """Return the cells of a row as text, in the order of `HEADINGS`."""
    spread = f"{row.least:.1f}-{row.most:.1f}" if row.samples > 1 else "-"
    head = (row.case, row.contender, f"{row.median:.1f}", spread, str(row.samples))
    return (*head, row.crates, row.correct or "-", verdict(row))


def markdown(table: Sequence[Row]) -> str:
    """Format the table in Markdown, for a README."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS)]
    return "\n".join([*lines, *("| " + " | ".join(cells(r)) + " |" for r in table)])


def edit_literal(text: str, find: str, marker: str) -> str:
    """Append the marker to the text `find` in a string literal. Replaces an earlier marker. Raises ValueError."""
    pattern = re.escape(find) + r"( bench-[0-9a-f]+)?"
    changed, count = re.subn(pattern, lambda _: f"{find} {marker}", text, count=1)
    if not count:
        raise ValueError(f"text {find!r} not found")
    return changed


def add_dependency(manifest: str, lock: str, package: str, crate: Mapping[str, str]) -> tuple[str, str]:
    """Add a crates.io dependency to `package` in Cargo.toml and Cargo.lock, as cargo would write them.

    `crate` has name, version and checksum. Raises ValueError if the dependency exists or the package does not.
    """
    name = crate["name"]
    if f'name = "{name}"\n' in lock:
        raise ValueError(f"{name} is already in Cargo.lock")
    new = (
        f'[[package]]\nname = "{name}"\nversion = "{crate["version"]}"\n'
        'source = "registry+https://github.com/rust-lang/crates.io-index"\n'
        f'checksum = "{crate["checksum"]}"\n'
    )
    head, *packages = re.split(r"\n(?=\[\[package\]\])", lock.rstrip("\n") + "\n")
    found = False
    for i, text in enumerate(packages):
        if text.startswith(f'[[package]]\nname = "{package}"\n') and "source =" not in text:
            inside = re.search(r"dependencies = \[\n(.*?)\]", text, re.DOTALL)
            names = sorted([*re.findall(r'"([^"]+)"', inside[1] if inside else ""), name])
            listing = "dependencies = [\n" + "".join(f' "{n}",\n' for n in names) + "]"
            bare = text.replace(inside[0], "").rstrip("\n") if inside else text.rstrip("\n")
            packages[i] = f"{bare}\n{listing}\n"
            found = True
    if not found:
        raise ValueError(f"no package {package!r} in Cargo.lock")
    # the lock file is in cargo's own order (numeric versions), so search only for the position of the new package
    place = next((i for i, t in enumerate(packages) if re.findall(r'"([^"]+)"', t)[0] > name), len(packages))
    lock = "\n".join([head, *packages[:place], new, *packages[place:]])
    manifest, count = re.subn(r"(?m)^\[dependencies\]\n", f'[dependencies]\n{name} = "={crate["version"]}"\n', manifest)
    if count != 1:
        raise ValueError("Cargo.toml has no [dependencies] section")
    return manifest, lock
