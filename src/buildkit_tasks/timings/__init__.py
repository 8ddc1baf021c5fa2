"""Timings: one HTML page per recorded build, with its steps and crates on a time line and the critical path."""
