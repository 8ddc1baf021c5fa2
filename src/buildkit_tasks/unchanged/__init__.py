"""Skips a build if nothing has changed since the last one: records each build, and compares the record with the present."""
