"""A .dockerignore for the lint rules, which may be missing or invalid."""

from __future__ import annotations

from buildkit_tasks.dockerfiles.ignore import Ignore


class IgnoreFile:
    """The patterns of one file. A file that is missing or that docker rejects excludes nothing."""

    def __init__(self, text: str | None) -> None:
        try:
            self._ignore = Ignore.parse(text or "")
        except ValueError:
            self._ignore = Ignore()

    def excludes(self, path: str) -> bool:
        """Return whether `path` (relative to the context, with /) is not part of the context."""
        return self._ignore.excludes(path.strip("/"))
