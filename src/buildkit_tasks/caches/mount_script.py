"""Generates the Dockerfiles of short builds that open cache mounts to list them, remove paths or empty them. Pure.

A mount is opened with the sharing mode of the project's own Dockerfile. With another mode, BuildKit would not wait for
a build that holds the mount, but would create a second, empty mount with the same id:
https://github.com/moby/buildkit/blob/v0.13.1/solver/llbsolver/mounts/mount.go
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from buildkit_tasks.core.errors import Problem

# These Dockerfiles may contain text from a project's files, an engine's listing or a step's output only in these forms.
# Other characters could inject instructions.
_FORMS = {
    "id": re.compile(r"[\w./:@+-]+", re.ASCII),
    "sharing": re.compile(r"shared|locked|private"),
    "image": re.compile(r"[\w./:@\[\]-]+", re.ASCII),
    "state": re.compile(r"[0-9a-z]+ +-"),
}

#: Exit code of a removal if a mount has changed since it was listed: EX_TEMPFAIL of sysexits, "try again".
CHANGED = 75

#: Paths of this length (in bytes) inside a mount may be too long for the engine to list: the kernel's limit is 4,096,
#: and the engine prepends its own directory.
LONG_PATH = 2000

#: Printed by the step of `emptying` for each emptied mount, followed by the mount's number.
EMPTIED = "buildkit-tasks: emptied "

# Directories that cargo or the compile program changes in every build; their modification times identify a state.
_GENERATION = (
    "find . -maxdepth 5 \\( -path './*/state/*' -o -name deps -o -name .fingerprint -o -name build"
    " -o -name incremental -o -path './cache/*' -o -path './src/*' -o -path './checkouts/*' \\)"
    " -exec stat -c '%n %y' {} + 2>/dev/null | LC_ALL=C sort | sha256sum"
)
_TEXTS = (
    "find . \\( -path '*/.fingerprint/*/*' ! -name 'dep-*' ! -name '*.timestamp' -type f"
    " -o -path './*/src/*' -name Cargo.lock -type f \\) -exec grep -H '' {} +"
)


@dataclass(frozen=True)
class Opened:
    """A mount to open: its id and sharing mode (shared, locked or private)."""

    id: str
    sharing: str

    def __post_init__(self) -> None:
        _checked("id", self.id)
        _checked("sharing", self.sharing)


def listing(base: str, mounts: Sequence[Opened], nonce: str) -> str:
    """Return a build that outputs `N/list`, `N/texts` and `N/generation` for the N-th mount, in the given order."""
    steps = [
        f"mkdir -p /out/{n} && cd /mnt/{n} && {_GENERATION} > /out/{n}/generation"
        f" && find . -exec stat -c '%f %b %Y %i %n' {{}} + > /out/{n}/list"
        f" && {{ {_TEXTS} > /out/{n}/texts || :; }}"
        for n, _ in enumerate(mounts)
    ]
    return _dockerfile(base, mounts, nonce, steps) + "FROM scratch\nCOPY --from=open /out /\n"


def removal(base: str, mounts: Sequence[Opened], generations: Sequence[str], nonce: str) -> str:
    """Return a build that removes the paths in the context's file `N` from the N-th mount, unless a mount changed.

    It checks every mount before it removes anything, and holds all mounts until it finishes. It removes fingerprints
    first (the files are in that order). If killed, it leaves objects without fingerprints, never the reverse.
    """
    checks = [
        f'cd /mnt/{n} && [ "$({_GENERATION})" = "{_checked("state", generation)}" ] || exit {CHANGED}'
        for n, generation in enumerate(generations)
    ]
    steps = [f"cd /mnt/{n} && tr '\\n' '\\0' < /paths/{n} | xargs -0 rm -rf --" for n, _ in enumerate(mounts)]
    return _dockerfile(base, mounts, nonce, [*checks, *steps], extra="--mount=type=bind,target=/paths ")


def emptying(base: str, mounts: Sequence[Opened], nonce: str) -> str:
    """Return a build that empties only the mounts that contain a path of `LONG_PATH` bytes or more."""
    long = f"LC_ALL=C awk 'length >= {LONG_PATH} {{ found = 1; exit }} END {{ exit !found }}'"
    steps = [
        # a newline in a name must not split a long line into two short lines
        f"cd /mnt/{n}; if find . -print0 | tr '\\n\\0' 'x\\n' | {long};"
        f" then find . -mindepth 1 -maxdepth 1 -exec rm -rf -- {{}} + && echo '{EMPTIED}{n}'; fi"
        for n, _ in enumerate(mounts)
    ]
    return _dockerfile(base, mounts, nonce, steps)


def _dockerfile(base: str, mounts: Sequence[Opened], nonce: str, steps: Sequence[str], extra: str = "") -> str:
    flags = " ".join(f"--mount=type=cache,id={m.id},target=/mnt/{n},sharing={m.sharing}" for n, m in enumerate(mounts))
    # the nonce makes this a new step, because BuildKit's cache key does not include the contents of mounts
    shell = "; ".join(f"({step}) || exit $?" for step in steps)
    return f"FROM {_checked('image', base)} AS open\nRUN {extra}{flags} : {nonce}; {shell}\n"


def _checked(what: str, text: str) -> str:
    """Return the text if it has the expected form. Raises `Problem` cache-missing."""
    if not _FORMS[what].fullmatch(text):
        raise Problem(
            "cache-missing",
            f"The {what} {text[:200]!r} of a cache mount contains characters that are not allowed in a Dockerfile.",
            hint="run `invoke cache.clear`, which clears whole mounts without opening them",
        )
    return text
