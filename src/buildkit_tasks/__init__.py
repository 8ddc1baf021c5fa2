"""Invoke and nox tasks that make Docker builds of Rust services fast, portable and never stale."""

from __future__ import annotations

from typing import Any

__all__ = ["namespace"]


def __getattr__(name: str) -> Any:
    """Provide `namespace`, the only import that a tasks.py needs. Import it late, so nox does not load Invoke."""
    if name == "namespace":
        from buildkit_tasks.core import bytecode

        with bytecode.cached():
            from buildkit_tasks.tasks import namespace

        return namespace
    raise AttributeError(name)
