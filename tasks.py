"""Tasks of this repository: `invoke --list`."""

from buildkit_tasks import namespace

__all__ = ["namespace"]
