"""Benchmarks: runs the cases, collects samples, computes the figures."""
