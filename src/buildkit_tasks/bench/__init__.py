"""Benchmarks: samples, arithmetic, the runs."""
