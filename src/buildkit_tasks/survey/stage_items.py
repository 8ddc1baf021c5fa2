"""What the stages of a Dockerfile run, and which arguments they declare. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from buildkit_tasks.dockerfiles import syntax

from .recipe import Recipe, Stage, assignments


def runs(stages: Iterable[Stage]) -> list[str]:
    """The commands of each RUN, with its options and here-documents."""
    return [f"{i.rest}\n{i.body}" for stage in stages for i in stage.items if i.keyword == "RUN"]


def arguments(stages: Iterable[Stage]) -> list[tuple[str, str | None]]:
    """The arguments that stages declare; None for one without a value."""
    return [pair for stage in stages for i in stage.items if i.keyword == "ARG" for pair in assignments(i)]


def declared(taken: Recipe) -> set[str]:
    """The arguments that a Dockerfile declares."""
    return {name for name, _ in arguments(taken.stages)} | {
        name for line in taken.header for name in syntax.arguments(line.text)
    }
