"""Benchmarks: prepares copies of the repository and the contenders, then runs and times every case."""
