"""Continuous integration: where a run comes from, what it may write, which services changed, what its jobs run."""
