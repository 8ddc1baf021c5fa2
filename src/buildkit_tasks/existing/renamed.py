"""Give the stages of a Dockerfile other names, in their FROM lines and wherever they are used. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from buildkit_tasks.dockerfiles.syntax import Instruction

from .recipe import Stage


def stage(one: Stage, names: Mapping[str, str]) -> Stage:
    """Return a stage with new names for itself and for the stages and images (in lower case) that it uses."""
    return replace(
        one,
        name=names.get(one.name, one.name),
        base=names.get(one.base.lower(), one.base),
        items=tuple(_instruction(item, names) for item in one.items),
    )


def _instruction(item: Instruction, names: Mapping[str, str]) -> Instruction:
    if item.keyword not in ("COPY", "ADD", "RUN"):
        return item

    def other(text: str) -> str:
        # the flag of COPY and the option of a mount
        return re.sub(
            r"(--from=|[,=]from=)([\w./:@-]+)(?=[\s,\\]|$)", lambda m: m[1] + names.get(m[2].lower(), m[2]), text
        )

    return replace(item, rest=other(item.rest), parts=tuple((number, other(part)) for number, part in item.parts))
