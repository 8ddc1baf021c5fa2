"""Timings: one HTML page per recorded build, with its steps and crates on a timeline and the critical path."""
