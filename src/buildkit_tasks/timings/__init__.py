"""Timings: an HTML page for each recorded build, with its steps and crates on a timeline and its critical path."""
