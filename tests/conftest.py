"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

# a busy machine is slow, not wrong
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")
