"""The steps of each CI job: tasks and their arguments. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from buildkit_tasks.config.settings import Settings

#: Only the jobs `push` and `nightly` push packs.
READING = (("BUILDKIT_TASKS_PACKS_PUSH", "never"),)


@dataclass(frozen=True)
class Step:
    """A task with its arguments. `may_fail`: optional; the job continues without it."""

    title: str
    words: tuple[str, ...]
    may_fail: bool = False
    env: tuple[tuple[str, str], ...] = field(default=READING)

    @property
    def line(self) -> str:
        """The command that reproduces the step."""
        return " ".join(("invoke", *self.words))


#: Creates `.env` from `.env.example`.
DOTENV = Step("Create .env", ("dotenv",))


def build(services: Sequence[str] = ()) -> list[Step]:
    """Build the images as they would ship. If the mounts are empty, `build` pulls a pack first."""
    return [Step("Build", ("build", "--yes", "--no-incremental", *_services(services)))]


def test() -> list[Step]:
    """Run the workspace's tests. In new volumes, cargo tasks pull a pack first."""
    return [Step("Test", ("cargo.test",))]


def lint() -> list[Step]:
    """Run cargo fmt and clippy, installing them if the toolchain lacks them. The job itself checks Dockerfiles."""
    add = ("--install", "--yes")
    return [Step("Format", ("cargo.fmt", "--check", *add)), Step("Clippy", ("cargo.clippy", *add))]


def multiarch(platforms: Sequence[str], services: Sequence[str] = ()) -> list[Step]:
    """Build, inspect and start the images of each platform."""
    found = []
    for platform in platforms:
        more = ("--platform", platform, *_services(services))
        found += [
            Step(f"Build for {platform}", ("build", "--yes", *more)),
            Step(f"Check the images for {platform}", ("images.check", "--platform", platform)),
        ]
    return found


def push(settings: Settings, platforms: Sequence[str]) -> list[Step]:
    """Push images and packs."""
    found = []
    if settings.ci.images:
        words = ("build", "--yes", "--platform", ",".join(platforms), "--push", settings.ci.images)
        found.append(Step("Push the images", words))
    elif settings.packs.repository:
        found += [Step(f"Build for {p}", ("build", "--yes", "--platform", p)) for p in platforms]
    return found + _packs(settings, platforms)


def nightly(settings: Settings, platforms: Sequence[str]) -> list[Step]:
    """Compile the dependencies from scratch, push a pack, and delete old packs."""
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
    builds = [Step(f"Push the pack for {p}", ("cache.push", "--platform", p), may_fail=True, env=()) for p in platforms]
    return [
        *builds,
        Step("Compile the test dependencies", ("cache.warm", "--cargo"), may_fail=True),
        Step("Push the pack for tests", ("cache.push", "--cargo"), may_fail=True, env=()),
    ]


def _services(services: Sequence[str]) -> tuple[str, ...]:
    return ("--service", ",".join(services)) if services else ()
