"""The benchmark's contenders and cases: their names, what they share, and who takes part in which case. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from buildkit_tasks.core.errors import Problem

OURS = "invoke build"
PLAIN = "docker compose build"
BEFORE = "your Dockerfile before init"
CLASSIC = "classic"
CLASSIC_INCREMENTAL = "classic, incremental"
ONE_RUN = "one RUN for all programs"
LOCKED = "classic, all mounts locked"
CHEF = "cargo-chef"
SCCACHE = "sccache"
BARE = "cargo without images"
#: `invoke build` on a machine that has never built, without a pack. Only in that case.
COLD = "invoke build without a pack"
#: Contenders that run code of buildkit-tasks, which may have changed between two runs.
OUR_CODE = (OURS, PLAIN, COLD)


@dataclass(frozen=True)
class Way:
    """One way of building. `family`: contenders that share a scratch tree and cache mounts.

    `leads`: fills the mounts of its family, so its first build is measured. `file`: its Dockerfile in data/bench, with
    `args`; `tool`: the file has a stage to build before measuring. `factor`: which row of an estimate applies.
    """

    key: str
    name: str
    family: str
    about: str
    leads: bool = False
    file: str = ""
    args: Mapping[str, str] = field(default_factory=dict)
    tool: bool = False
    factor: str = "whole"


WAYS = (
    Way("ours", OURS, "ours", "the whole command, as typed, including Python's startup", leads=True, factor="fast"),
    Way(
        "compose",
        PLAIN,
        "ours",
        "plain docker compose build with the project's current files and the same cache mounts",
        factor="fast",
    ),
    Way("before", BEFORE, "before", "docker compose build as it was before buildkit-tasks init", leads=True),
    Way(
        *("classic", CLASSIC, "classic", "three cache mounts, one cargo run per service"),
        leads=True,
        file="classic",
        args={"CARGO_INCREMENTAL": "0"},
    ),
    Way(
        *("incremental", CLASSIC_INCREMENTAL, "classic", "classic with CARGO_INCREMENTAL=1"),
        file="classic",
        args={"CARGO_INCREMENTAL": "1"},
        factor="incremental",
    ),
    Way(
        *("one-run", ONE_RUN, "classic", "all programs in a single RUN, incremental"),
        file="one-run",
        args={"CARGO_INCREMENTAL": "1"},
        factor="incremental",
    ),
    Way(
        *("locked", LOCKED, "classic", "sharing=locked on every mount"),
        file="locked",
        args={"CARGO_INCREMENTAL": "0"},
    ),
    Way("cargo-chef", CHEF, "chef", "dependencies in a layer of their own", leads=True, file="cargo-chef", tool=True),
    Way("sccache", SCCACHE, "sccache", "sccache in a cache mount", leads=True, file="sccache", tool=True),
    Way("cargo", BARE, "cargo", "the limit: the same toolchain image, no image built", leads=True, factor="fast"),
)
BY_KEY = {way.key: way for way in WAYS}
BY_NAME = {way.name: way for way in WAYS}


@dataclass(frozen=True)
class Case:
    """`every`: builds all services, not only the edited one; `rounds`: repeated in every round.

    `who`: keys of the contenders that take part. `share`: seconds of a build relative to a first build, by factor.
    """

    key: str
    title: str
    every: bool
    rounds: bool
    who: tuple[str, ...]
    share: Mapping[str, float]


ALL = tuple(way.key for way in WAYS)
#: Locked mounts make a difference only to builds that run in parallel.
_ONE = tuple(key for key in ALL if key != "locked")
_MAIN = ("ours", "before", "classic", "incremental", "cargo")

#: In the order in which they run. The shares were measured on the sample (README.md).
CASES = (
    Case("cold", "first build, one service", False, False, ALL, dict.fromkeys(("fast", "incremental", "whole"), 1.0)),
    Case(
        *("comment", "a comment, one service", False, True, _MAIN),
        share={"fast": 0.015, "incremental": 0.03, "whole": 0.08},
    ),
    Case(
        *("line", "one line, one service", False, True, _ONE), share={"fast": 0.015, "incremental": 0.03, "whole": 0.08}
    ),
    Case(
        *("shared", "one line in a shared crate, all", True, True, ALL),
        share={"fast": 0.025, "incremental": 0.07, "whole": 0.35},
    ),
    Case(
        *("nothing", "nothing changed, all", True, True, _ONE),
        share={"fast": 0.01, "incremental": 0.02, "whole": 0.02},
    ),
    Case(
        *("branch", "branch switch and back, one service", False, True, _MAIN),
        share={"fast": 0.05, "incremental": 0.1, "whole": 0.2},
    ),
    Case(
        *("clone", "fresh clone with one edit, one service", False, True, ("ours", "before", "classic", "cargo")),
        share={"fast": 0.05, "incremental": 0.1, "whole": 0.1},
    ),
    Case(
        *("dependency", "dependency added, one service", False, False, _ONE),
        share={"fast": 0.07, "incremental": 0.08, "whole": 0.2},
    ),
    Case(
        *("bump", "dependency bumped, one service", False, False, _MAIN),
        share={"fast": 0.07, "incremental": 0.08, "whole": 0.1},
    ),
    Case("pack", "new machine, pulled pack, one service", False, False, ("ours",), {"fast": 0.1}),
    Case("other", "another processor, first build, one service", False, False, ("ours",), {"fast": 1.2}),
    Case("other-line", "another processor, one line, one service", False, True, ("ours",), {"fast": 0.03}),
)
CASE_BY_KEY = {case.key: case for case in CASES}
#: The cases and contenders of `--quick`.
QUICK_CASES = ("cold", "line", "shared", "nothing", "dependency")
QUICK = ("ours", "compose", "before", "classic", "incremental")


def chosen(given: Sequence[str], known: Collection[str], flag: str) -> tuple[str, ...]:
    """Return the keys given on the command line, separated by commas or repeated, in the usual order; none means all.

    Problems: bad-argument.
    """
    words = [word.strip() for text in given for word in text.split(",") if word.strip()]
    if unknown := [word for word in words if word not in known]:
        raise Problem(
            "bad-argument", f"{flag} {unknown[0]!r} does not exist.", hint=f"use one of: {', '.join(sorted(known))}"
        )
    return tuple(key for key in known if not words or key in words)


def takes_part(way: Way, case: Case, *, quick: bool) -> bool:
    """Return whether a contender's builds are measured in a case."""
    if case.key == "cold":
        return way.leads
    if quick and way.key == "compose":
        return case.key == "nothing"
    return way.key in case.who


def seconds(case: Case, way: Way, cold: float) -> float:
    """Return the estimated seconds of one build, from those of a first build."""
    if way.key == "cargo-chef" and case.key in ("dependency", "bump"):
        return cold  # a new recipe compiles every dependency again
    return cold * case.share.get(way.factor, case.share.get("whole", 0.0))
