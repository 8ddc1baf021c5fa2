"""Invoke and nox tasks for fast, never stale and portable Docker builds of Rust services."""

from .tasks import namespace

__all__ = ["namespace"]
