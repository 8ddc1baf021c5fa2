"""Convert a single-stage Dockerfile, where the image is the toolchain itself, to a slim image."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from buildkit_tasks.dockerfiles import syntax
from buildkit_tasks.existing import install, recipe
from buildkit_tasks.existing.recipe import Recipe
from buildkit_tasks.survey import called
from buildkit_tasks.survey.finding import Note, Service
from buildkit_tasks.workspaces.tree import Tree

from .stage_lines import BUILT, Runtime, is_alpine, labels, packages_step

#: Directories that a program running in its own source tree may read.
ASSETS = (
    *("templates", "static", "public", "assets", "config", "configs", "migrations", "locales", "views", "resources"),
    *(
        "data",
        "dist",
        "www",
        "web",
        "certs",
        "Rocket.toml",
        "log4rs.yaml",
        "log4rs.yml",
        "config.toml",
        "settings.toml",
    ),
)


def derive(files: Tree, service: Service, taken: Recipe, packages: Sequence[str], image: str) -> Runtime:
    """Replace an image that was the toolchain itself with a slim image that has everything the program may need."""
    items = [item for stage in taken.image for item in stage.items]
    workdir, notes = "/", list[Note]()
    lines: list[str] = []
    installed = [p for i in items for p in install.packages(i)]
    wanted = [
        p
        for p in installed
        if not re.search(
            r"-dev$|^(?:build-essential|pkg-config|cmake|clang|gcc|g\+\+|make|protobuf-compiler|git|musl-tools|lld|mold)$",
            p,
        )
    ]
    tools = () if is_alpine(image) else called.packages(taken.image[0].base, service.runs)
    names = tuple(dict.fromkeys((*packages, *wanted, *tools)))
    lines += packages_step(names, argument="RUNTIME_PACKAGES", alpine=is_alpine(image)) if names else ()
    context: list[str] = []
    tail: list[str] = []
    for item in items:
        if item.keyword == "WORKDIR":
            workdir = posixpath.join(workdir, syntax.expand(item.rest, taken.values))
        if item.keyword in ("WORKDIR", "USER", "EXPOSE", "VOLUME", "STOPSIGNAL", "HEALTHCHECK", "LABEL", "ENV"):
            if item.keyword != "ENV" or not re.search(r"CARGO_|RUST(?:FLAGS|UP)", item.rest):
                tail.append(_started(recipe.line(item).text, service.binary))
        elif item.keyword in ("ENTRYPOINT", "CMD"):
            tail.append(_started(recipe.line(item).text, service.binary))
    for name in ASSETS:
        path = posixpath.normpath(posixpath.join(service.context, name))
        if files.exists(path):
            context.append(path)
            tail.append(f"COPY {path} {posixpath.join(workdir, name)}")
    share = f"COPY --from=compile {BUILT}/${{BIN}}/ /usr/local/"
    lines += ["ARG CACHE_SCOPE", "ARG BIN", *labels(), share, *_ordered(tail)]
    if not any(t.startswith(("ENTRYPOINT", "CMD")) for t in tail):
        lines.append('ENTRYPOINT ["/usr/local/bin/service"]')
    held = f" with {', '.join(context)}" if context else ""
    notes.append(
        Note(
            taken.path,
            f"the image contained the toolchain and all sources; the new image is {image}{held}. "
            "Add any other files that the program reads",
            True,
        )
    )
    return Runtime(image, "", tuple(lines), tuple(context), (), False, tuple(notes))


def _started(text: str, binary: str) -> str:
    """Return the line with our path instead of `cargo run` or the program in cargo's target directory."""
    text = re.sub(
        r'"cargo"(?:\s*,\s*"[^"]*")*?\s*,\s*"run"(?:\s*,\s*"(?!--")[^"]*")*(?:\s*,\s*"--")?',
        '"/usr/local/bin/service"',
        text,
    )
    text = re.sub(r"cargo\s+run(?:\s+-(?!-\s)\S+(?:\s+\w[\w-]*)?)*(?:\s+--(?=\s))?", "/usr/local/bin/service", text)
    return re.sub(
        rf"[\w./$-]*target/(?:[\w-]+/)?(?:release|debug)/{re.escape(binary)}\b", "/usr/local/bin/service", text
    )


def _ordered(lines: Sequence[str]) -> list[str]:
    """Place COPY after WORKDIR and before USER, so no later step needs the user's permissions."""
    rank = {"ENV": 0, "LABEL": 0, "WORKDIR": 1, "COPY": 2, "VOLUME": 3, "EXPOSE": 3, "USER": 4}
    return sorted(lines, key=lambda text: rank.get(text.split()[0].upper(), 5))
