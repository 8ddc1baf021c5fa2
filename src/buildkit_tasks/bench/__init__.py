"""Benchmarks: running the cases, collecting samples, computing the figures."""
