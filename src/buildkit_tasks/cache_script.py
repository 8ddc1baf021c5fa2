"""The Dockerfiles of short builds that open cache mounts: one to list what is inside, one to remove paths. Pure text.

A mount is opened with the sharing that the project's own Dockerfile gives it. Any other would not wait for a build that
holds it but make a second, empty mount of the same id:
https://github.com/moby/buildkit/blob/v0.13.1/solver/llbsolver/mounts/mount.go
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: Exit code of a removal that found a mount changed since it was listed. As sysexits' EX_TEMPFAIL: try again.
CHANGED = 75

# Directories that cargo or the compile program change with every build; their times tell one state from another.
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
    """A mount to open: its id and sharing (shared, locked or private)."""

    id: str
    sharing: str


def listing(base: str, mounts: Sequence[Opened], nonce: str) -> str:
    """Files `N/list`, `N/texts`, `N/generation` for the N-th mount, in the order given, as the build's output."""
    steps = [
        f"mkdir -p /out/{n} && cd /mnt/{n} && {_GENERATION} > /out/{n}/generation"
        f" && find . -exec stat -c '%f %b %Y %i %n' {{}} + > /out/{n}/list"
        f" && {{ {_TEXTS} > /out/{n}/texts || :; }}"
        for n, _ in enumerate(mounts)
    ]
    return _dockerfile(base, mounts, nonce, steps) + "FROM scratch\nCOPY --from=open /out /\n"


def removal(base: str, mounts: Sequence[Opened], generations: Sequence[str], nonce: str) -> str:
    """Removes the paths in the context's files `N` from the N-th mount, all or none: not where a mount has changed.

    Every mount is checked before anything goes, and all are held until it is done. Fingerprints go first (the files
    are in that order): a removal that is killed leaves objects that cargo no longer knows, never the reverse.
    """
    checks = [
        f'cd /mnt/{n} && [ "$({_GENERATION})" = "{generation}" ] || exit {CHANGED}'
        for n, generation in enumerate(generations)
    ]
    steps = [f"cd /mnt/{n} && tr '\\n' '\\0' < /paths/{n} | xargs -0 rm -rf --" for n, _ in enumerate(mounts)]
    return _dockerfile(base, mounts, nonce, [*checks, *steps], extra="--mount=type=bind,target=/paths ")


def _dockerfile(base: str, mounts: Sequence[Opened], nonce: str, steps: Sequence[str], extra: str = "") -> str:
    flags = " ".join(f"--mount=type=cache,id={m.id},target=/mnt/{n},sharing={m.sharing}" for n, m in enumerate(mounts))
    # the nonce makes the step a new one: what a mount holds is no part of BuildKit's key
    return f"FROM {base} AS open\nRUN {extra}{flags} : {nonce}; {'; '.join(f'({s}) || exit $?' for s in steps)}\n"
