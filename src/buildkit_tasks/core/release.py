"""The version of this package. pyproject.toml reads it here, so it is known without installed metadata."""

from __future__ import annotations

VERSION = "0.1.0"
