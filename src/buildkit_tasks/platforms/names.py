"""Checks and normalizes names of platforms: `--platform`, settings, compose files.

`check` decides whether the engine can build for a platform.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

from buildkit_tasks.core import lists
from buildkit_tasks.core.errors import Problem

SYSTEMS = ("linux", "windows", "darwin", "freebsd")

#: Architectures of Linux images: https://github.com/opencontainers/image-spec/blob/main/image-index.md
ARCHITECTURES = ("amd64", "arm64", "arm", "386", "riscv64", "ppc64le", "s390x", "mips64le", "mips64", "loong64")

#: Architectures by kernel name, as printed by `uname -m`.
ALIASES = {"x86_64": "amd64", "aarch64": "arm64"}


def named(words: Sequence[str]) -> tuple[str, ...]:
    """Normalize the user's platforms (`arm64`, `linux/arm64/v8`, comma-separated lists) like BuildKit; no duplicates.

    Raises `Problem` bad-argument for an invalid platform.
    """
    return tuple(dict.fromkeys(_full(name) for name in lists.names(words, "platform")))


def _full(name: str) -> str:
    parts = name.split("/") if "/" in name and name.split("/")[0] in SYSTEMS else ["linux", *name.split("/")]
    parts[1] = ALIASES.get(parts[1], parts[1])
    if parts[1:] == ["arm64", "v8"]:
        parts.pop()  # the only variant
    if len(parts) > 3 or not all(re.fullmatch(r"[a-z0-9_]+", part) for part in parts):
        raise Problem("bad-argument", f"{name!r} is not a platform.", hint="use, for example, --platform linux/arm64")
    if parts[0] == "linux" and parts[1] not in ARCHITECTURES:
        near = get_close_matches(parts[1], ARCHITECTURES, 1) or ["arm64"]
        raise Problem(
            "bad-argument",
            f"{parts[1]!r} is not a known Linux architecture.",
            causes=[f"known: {', '.join(ARCHITECTURES)}"],
            hint=f"use --platform linux/{near[0]}",
        )
    return "/".join(parts)


def long_form(given: str) -> str:
    """Normalize a single platform like `named`; empty stays empty. Raises `Problem` bad-argument, also for a list."""
    found = named((given,)) if given else ("",)
    if len(found) > 1:
        raise Problem(
            "bad-argument",
            f"{given!r} specifies more than one platform.",
            hint=f"use, for example, --platform {found[0]}",
        )
    return found[0]
