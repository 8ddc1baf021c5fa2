"""Inserts stages into the text of a Dockerfile: those of the images, and those that others copy files from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from buildkit_tasks.dockerfiles.syntax import Instruction
from buildkit_tasks.survey import recipe
from buildkit_tasks.survey.finding import Service
from buildkit_tasks.survey.recipe import Stage

from . import prepared, stage_lines
from .compiling import Kept
from .prepared import Prepared
from .stage_lines import Runtime


def append(
    text: str,
    stages: Mapping[str, Runtime],
    names: Mapping[str, str],
    kept: Kept,
    tools: bool,
    image: str,
) -> str:
    """Replace the template\'s runtime stages with one for each name, and add the stage with installed tools."""
    cut = text.index("\n# ---- one image per service")
    head = text[:cut].rstrip("\n")
    parts: list[str] = []
    if tools or kept.tools:
        runs = [stage_lines.with_registry(run) for run in kept.tools]
        parts.append(
            "\n".join(
                ["# ---- programs that are installed with cargo", "FROM toolchain AS tools", "ARG CACHE_SCOPE", *runs]
            )
        )
    done: set[str] = set()
    comment = "# ---- one image per service. A directory of the compile stage holds one program and its manifest."
    for service, stage in stages.items():
        name = names[service]
        if name in done:
            continue
        done.add(name)
        platform = f"--platform={stage.platform} " if stage.platform else ""
        base = "${RUNTIME_IMAGE}" if stage.image == image else stage.image
        head_line = comment if len(done) == 1 else f"# ---- {service}"
        parts.append("\n".join([head_line, f"FROM {platform}{base} AS {name}", *stage.lines]))
    return head + "\n\n" + "\n\n".join(parts) + "\n"


def insert(text: str, side: str, kept: Kept, before: Prepared | None) -> str:
    """Insert stages that others copy files from; if cargo reads such files, its sources also become a stage.

    `before`: what runs in that stage.
    """
    text = text.replace("# ---- the toolchain", f"{side}# ---- the toolchain", 1)
    if before:
        stage = prepared.text(before, kept.generated)
        text = text.replace("# ---- all binaries", f"{stage}\n\n# ---- all binaries", 1)
    elif kept.generated:
        copies = "".join(f"COPY --from={stage} {source} /{target}\n" for stage, source, target in kept.generated)
        head = "# ---- the sources, with the files that other stages generate\nFROM scratch AS sources\nCOPY . /\n"
        text = text.replace("# ---- all binaries", f"{head}{copies}\n# ---- all binaries", 1)
    return text


def side(services: Sequence[Service]) -> str:
    """Stages of the old Dockerfiles that images or cargo copy files from and that compile nothing; unchanged."""
    found: dict[str, str] = {}
    for service in services:
        for stage in service.recipe.side if service.recipe else ():
            first, *rest = lines(service, stage)
            found.setdefault(stage.name, "\n".join([f"{first} AS {stage.name}", *rest]))
    return "".join(f"{text}\n\n" for text in found.values())


def lines(service: Service, stage: Stage) -> list[str]:
    """A kept stage without its name, with paths relative to the root of the repository."""
    platform = f"--platform={stage.platform} " if stage.platform else ""
    return [f"FROM {platform}{stage.base}", *(_rebased(service, item) for item in stage.items)]


def _rebased(service: Service, item: Instruction) -> str:
    assert service.recipe is not None  # noqa: S101 - for the type checker: only services with a recipe have side stages
    copy = recipe.copied(item, service.recipe.values)
    if copy is None or copy.stage or service.context == ".":
        return stage_lines.with_ca(recipe.line(item).text)
    sources = [
        s if "://" in s or s.startswith("<<") else f"{service.context}/{s.lstrip('/')}".rstrip("/.")
        for s in copy.sources
    ]
    return " ".join([item.keyword, *copy.flags, *sources, copy.destination])


def side_context(service: Service) -> list[str]:
    """Paths in the context that the kept stages of a service copy."""
    assert service.recipe is not None  # noqa: S101 - as above
    found = []
    for stage in service.recipe.side:
        for item in stage.items:
            copy = recipe.copied(item, service.recipe.values)
            if copy and not copy.stage:
                for source in copy.sources:
                    path = re.split(r"[$*?\[]", f"{service.context}/{source.lstrip('/')}", maxsplit=1)[0]
                    found.append(path.removeprefix("./").rstrip("/.") or ".")
    return found
