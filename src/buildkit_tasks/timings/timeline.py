"""A recorded build as a timeline: bars, number of concurrent steps, pauses between crates. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from buildkit_tasks.buildlog.states import brief
from buildkit_tasks.history.model import CUT, Build, Seen

from . import critical

#: `[api compile 2/3] RUN …`, `[internal] load build context`
_BRACKET = re.compile(r"^\[(?P<words>[^\]]*)\] (?P<text>.*)$", re.DOTALL)
_COUNT = re.compile(r"^\d+/\d+$")
#: Maximum length of a displayed instruction, in characters.
WIDTH = 160


@dataclass(frozen=True)
class Bar:
    """A step: when it began, in seconds after the build's first step, and how many seconds it ran, if it ran.

    `state`: ran, cached, failed, canceled or not finished.

    `services`: the services it ran for; `stage`: its stage, or BuildKit's name for it; `step`: its position in
    `seen`; `finished`: when cargo finished, if the step ran cargo; `on_path`: whether it is on the critical path.
    """

    step: int
    services: tuple[str, ...]
    stage: str
    text: str
    kind: str
    began: float
    seconds: float | None
    state: str = "ran"
    finished: float | None = None
    on_path: bool = False

    @property
    def ended(self) -> float:
        """When the step ended."""
        return self.began + (self.seconds or 0.0)


@dataclass(frozen=True)
class Start:
    """A crate: when cargo printed `Compiling`, and the seconds until the next crate started or cargo finished.

    `pause`: None if nothing was recorded after it; `own`: the crate belongs to the project, not to a registry.
    """

    name: str
    version: str
    own: bool
    step: int | None
    began: float
    pause: float | None


@dataclass(frozen=True)
class Timeline:
    """Everything on the page that has a time. `running`: pairs (second, number of steps running from then on)."""

    bars: tuple[Bar, ...]
    crates: tuple[Start, ...]
    span: float
    running: tuple[tuple[float, int], ...]

    @property
    def ran(self) -> tuple[Bar, ...]:
        """The steps that ran, in the order in which they began."""
        return tuple(sorted((bar for bar in self.bars if bar.seconds is not None), key=lambda bar: bar.began))

    @property
    def path(self) -> tuple[Bar, ...]:
        """The critical path, from first to last step."""
        return tuple(bar for bar in self.ran if bar.on_path)


def of(build: Build) -> Timeline:
    """Return the timeline of a build."""
    chosen = critical.path(build)
    bars = tuple(replace(_bar(build, number, seen), on_path=number in chosen) for number, seen in enumerate(build.seen))
    crates = _starts(build)
    ends = [bar.ended for bar in bars if bar.seconds is not None] + [crate.began for crate in crates]
    return Timeline(bars, crates, max([0.001, *ends]), _running(bars))


def _bar(build: Build, number: int, seen: Seen) -> Bar:
    found = _BRACKET.match(seen.name)
    words = [word for word in found["words"].split() if not _COUNT.match(word)] if found else []
    text = found["text"] if found else seen.name
    if seen.at is not None and len(seen.name) >= CUT:
        text = build.inputs.steps[seen.at].text.replace("\\\n", " ")
    names = {service.name.replace(".", "_"): service.name for service in build.inputs.services}
    if seen.at is None:
        services: tuple[str, ...] = (names[words[0]],) if words and words[0] in names else ()
        stage = " ".join(words[1:] if services else words)
    else:
        services = tuple(s.name for s in build.inputs.services if seen.at in s.steps)
        stage = words[-1] if words and words[-1] not in names else ""
    return Bar(
        step=number,
        services=services,
        stage=stage,
        text=brief(text, WIDTH),
        kind=_kind(seen, text),
        began=max(0.0, seen.began),
        seconds=None if seen.cached else seen.seconds,
        state=seen.error or ("cached" if seen.cached else "ran" if seen.seconds is not None else "not finished"),
        finished=seen.finished,
    )


def _kind(seen: Seen, text: str) -> str:
    """Return the kind of step, which determines the bar's color: run, copy, export or internal."""
    word = text.partition(" ")[0].upper()
    if critical.exports(seen):
        return "export"
    if seen.internal:
        return "internal"
    return "run" if word == "RUN" else "copy"


def _starts(build: Build) -> tuple[Start, ...]:
    found: list[Start] = []
    crates = sorted(build.cargo.crates, key=lambda crate: crate.began)
    after: dict[int | None, float | None] = {
        None: None,
        **{number: seen.finished for number, seen in enumerate(build.seen)},
    }
    for crate in reversed(crates):
        later = after.get(crate.step)
        pause = max(0.0, later - crate.began) if later is not None else None
        found.append(Start(crate.name, crate.version, crate.place is not None, crate.step, crate.began, pause))
        after[crate.step] = crate.began
    return tuple(reversed(found))


def _running(bars: Sequence[Bar]) -> tuple[tuple[float, int], ...]:
    changes: dict[float, int] = {0.0: 0}
    for bar in bars:
        if bar.seconds:
            changes[bar.began] = changes.get(bar.began, 0) + 1
            changes[bar.ended] = changes.get(bar.ended, 0) - 1
    return _summed(changes)


def _summed(changes: Mapping[float, int]) -> tuple[tuple[float, int], ...]:
    count, found = 0, []
    for second in sorted(changes):
        count += changes[second]
        found.append((second, count))
    return tuple(found)
