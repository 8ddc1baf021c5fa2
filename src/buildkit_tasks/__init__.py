"""Invoke and nox tasks for fast, never stale and portable Docker builds of Rust services."""

from __future__ import annotations

from typing import Any

__all__ = ["namespace"]


def __getattr__(name: str) -> Any:
    """Provides `namespace`, the only import that a tasks.py needs. Imported late, so that nox does not load Invoke."""
    if name == "namespace":
        from buildkit_tasks.tasks import namespace

        return namespace
    raise AttributeError(name)
