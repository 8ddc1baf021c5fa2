"""Buildx builders other than the engine's own: create, show, remove, certificates."""
