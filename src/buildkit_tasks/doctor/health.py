"""Finds health checks that call a program missing from the image, if the Dockerfile clearly shows that."""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildkit_tasks.core.model import Service, Workspace
from buildkit_tasks.dockerfiles import stages as dockerfile_stages
from buildkit_tasks.dockerfiles.syntax import Instruction
from buildkit_tasks.project import sources

from .facts import Health

#: Programs that health checks often call but slim images do not include.
TOOLS = frozenset({"curl", "wget", "nc", "ncat", "netcat", "jq", "python", "python3", "grpc_health_probe", "ps"})

#: Base images with known content, and the tools in each.
_KNOWN: tuple[tuple[str, frozenset[str]], ...] = (
    (r"scratch", frozenset()),
    (r"(?:gcr\.io/distroless/(?:static|base|cc)[\w-]*)(?::.*)?", frozenset()),
    (r"(?:.*/)?debian(?::(?:bookworm|bullseye|trixie|sid|1[1-3]|stable)[\w.-]*)?", frozenset()),
    (r"(?:.*/)?ubuntu(?::[\w.-]*)?", frozenset({"ps"})),
    (r"(?:.*/)?alpine(?::[\w.-]*)?", frozenset({"wget", "nc", "ps"})),
    (r"(?:.*/)?busybox(?::[\w.-]*)?", frozenset({"wget", "nc", "ps"})),
)


def read(workspace: Workspace) -> tuple[tuple[Health, ...], tuple[Health, ...]]:
    """Return health checks that call a program missing from the image, and those where this is unknown."""
    lacking: list[Health] = []
    unsure: list[Health] = []
    built = {service.name: service for service in workspace.services}
    for name, entry in (workspace.config.get("services") or {}).items():
        for tool in _called(entry):
            if name not in built:
                unsure.append(Health(name, tool, str(entry.get("image", ""))))
            elif (has := _has(built[name], tool)) is not True:
                (unsure if has is None else lacking).append(Health(name, tool, built[name].image))
    return tuple(lacking), tuple(unsure)


def _called(entry: dict[str, object]) -> list[str]:
    check = entry.get("healthcheck")
    test = check.get("test") if isinstance(check, dict) and not check.get("disable") else None
    words = " ".join(map(str, test[1:])) if isinstance(test, list) else str(test or "")
    return sorted(TOOLS.intersection(re.findall(r"[\w.-]+", words)))


def _has(service: Service, tool: str) -> bool | None:
    """Return True if a step of the image's stages mentions the program, False if the base image is known to lack it."""
    file = sources.known(service)
    stages = dockerfile_stages.stages_of(file.items, service.args)
    if not stages:
        return None
    by_name = {stage.name: stage for stage in stages}
    stage = by_name.get(service.target.lower()) if service.target else stages[-1]
    while stage is not None:
        texts = [i.rest + "\n" + i.body for i in _steps(file.items, stage.number)]
        if any(re.search(rf"(?<![\w-]){re.escape(tool)}(?![\w-])", text) for text in texts):
            return True
        if any(re.search(r"--from=\S+\s+\S*/(?:s?bin|usr|local)?/?\s", text) for text in texts):
            return None  # whole directories are copied from elsewhere
        base = stage.base
        below = by_name.get(base.lower())
        if below is None or below.number >= stage.number:
            known = next((has for pattern, has in _KNOWN if re.fullmatch(pattern, base)), None)
            if base in service.contexts or known is None:
                return None
            return tool in known
        stage = below
    return None


def _steps(items: tuple[Instruction, ...], number: int) -> Iterator[Instruction]:
    at = -1
    for item in items:
        at += item.keyword == "FROM"
        if at == number and item.keyword in ("RUN", "COPY", "ADD"):
            yield item
