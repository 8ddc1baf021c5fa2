"""Explains why the steps of a recorded build ran and its crates were compiled, and predicts the next build."""
