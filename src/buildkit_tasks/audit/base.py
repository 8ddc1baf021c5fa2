"""Determines which layers of an image come from its base image, from the steps of its Dockerfile. Pure.

BuildKit does not record this, and the engine often does not have the base image under any name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from buildkit_tasks.dockerfiles.document import Dockerfile
from buildkit_tasks.dockerfiles.stages import stages_of

#: The instructions that create a layer.
_LAYERS = ("RUN", "COPY", "ADD", "WORKDIR")


def layers(file: Dockerfile, args: Mapping[str, str], target: str, steps: Sequence[str]) -> int | None:
    """Return how many of the first layers come from the base image; None if the steps do not match the Dockerfile."""
    made = _made(file, args, target)
    if made is None or len(made) > len(steps):
        return None
    count = len(steps) - len(made)
    own = zip(made, steps[count:], strict=True)
    return count if all(words.upper().startswith(f"{keyword} ") for keyword, words in own) else None


def _made(file: Dockerfile, args: Mapping[str, str], target: str) -> list[str] | None:
    """Return the instructions of the target and the stages below it that create layers; None without the target."""
    every = stages_of(file.items, args)
    wanted = target.lower()
    stage = next((s for s in reversed(every) if wanted in ("", s.name, str(s.number))), None)
    if stage is None:
        return None
    made: list[str] = []
    while stage is not None:
        own, number = [], -1
        for item in file.items:
            number += item.keyword == "FROM"
            if number == stage.number and item.keyword in _LAYERS:
                own.append(item.keyword)
        made = [*own, *made]
        below = stage
        stage = next((s for s in every[: below.number] if s.name == below.base.lower()), None)
    return made
