"""Explains a build from the history: why steps ran and crates compiled; also predicts the next build."""
