"""What each CI job runs: tasks of ours, in order, with the reason for each flag. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from buildkit_tasks.config.settings import Settings

#: Jobs that only look, or whose caches are written by the job `push`, do not push packs whoever runs them.
READING = (("BUILDKIT_TASKS_PACKS_PUSH", "never"),)


@dataclass(frozen=True)
class Step:
    """A task and its words. `may_fail`: it saves time, and the job goes on without it."""

    title: str
    words: tuple[str, ...]
    may_fail: bool = False
    env: tuple[tuple[str, str], ...] = field(default=READING)

    @property
    def line(self) -> str:
        """What reproduces it."""
        return " ".join(("invoke", *self.words))


#: Makes `.env` from `.env.example`, where compose needs one.
DOTENV = Step("Make .env", ("dotenv",))


def build(services: Sequence[str] = ()) -> list[Step]:
    """The images, as they would ship. A build with empty mounts pulls a pack first, by itself."""
    return [Step("Build", ("build", "--yes", "--no-incremental", *_services(services)))]


def test(settings: Settings) -> list[Step]:
    """The workspace's tests."""
    return [*_warm(settings), Step("Test", ("cargo.test",))]


def lint(settings: Settings) -> list[Step]:
    """Format and clippy; Dockerfiles are checked by the job itself."""
    return [Step("Format", ("cargo.fmt", "--check")), *_warm(settings), Step("Clippy", ("cargo.clippy",))]


def multiarch(platforms: Sequence[str], services: Sequence[str] = ()) -> list[Step]:
    """The images of each platform, inspected and started."""
    found = []
    for platform in platforms:
        more = ("--platform", platform, *_services(services))
        found += [
            Step(f"Build for {platform}", ("build", "--yes", *more)),
            Step(f"Check the images for {platform}", ("images.check", "--platform", platform)),
        ]
    return found


def push(settings: Settings, platforms: Sequence[str]) -> list[Step]:
    """Images and packs, to where the settings say."""
    found = []
    if settings.ci.images:
        words = ("build", "--yes", "--platform", ",".join(platforms), "--push", settings.ci.images)
        found.append(Step("Push the images", words))
    elif settings.packs.repository:
        found += [Step(f"Build for {p}", ("build", "--yes", "--platform", p)) for p in platforms]
    return found + _packs(settings, platforms)


def nightly(settings: Settings, platforms: Sequence[str]) -> list[Step]:
    """Compile the dependencies on a machine that has nothing, push them, delete old packs."""
    if not settings.packs.repository:
        return []
    words = ("cache.warm", "--platform", ",".join(platforms))
    return [
        Step("Compile the dependencies", words),
        *_packs(settings, platforms),
        Step("Delete old packs", ("cache.expire", "--yes"), may_fail=True),
    ]


def _packs(settings: Settings, platforms: Sequence[str]) -> list[Step]:
    if not settings.packs.repository:
        return []
    words = [(f"Push the pack for {p}", ("cache.push", "--platform", p)) for p in platforms]
    return [Step(title, one, may_fail=True, env=()) for title, one in words]


def _warm(settings: Settings) -> list[Step]:
    return [Step("Pull a pack", ("cache.pull",), may_fail=True)] if settings.packs.repository else []


def _services(services: Sequence[str]) -> tuple[str, ...]:
    return ("--service", ",".join(services)) if services else ()
