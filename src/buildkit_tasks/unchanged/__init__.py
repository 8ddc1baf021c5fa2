"""Skips a build if nothing has changed: records each build, and compares the record with the current state."""
