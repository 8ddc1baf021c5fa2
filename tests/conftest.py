"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

# A busy machine is slow, which is not an error.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")
