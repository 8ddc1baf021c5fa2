"""A .dockerignore as lint sees it: text that may be missing or invalid."""

from __future__ import annotations

from buildkit_tasks.dockerfiles.ignore import Ignore


class IgnoreFile:
    """The patterns of one file. A missing file excludes nothing, nor does one that docker rejects."""

    def __init__(self, text: str | None) -> None:
        try:
            self._ignore = Ignore.parse(text or "")
        except ValueError:
            self._ignore = Ignore()

    def excludes(self, path: str) -> bool:
        """True if `path` (relative to the context, with /) is not part of the context."""
        return self._ignore.excludes(path.strip("/"))
