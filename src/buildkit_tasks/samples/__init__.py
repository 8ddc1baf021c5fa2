"""Benchmark samples: the cases and contenders, figures, the record of a run, comparisons and reports."""
