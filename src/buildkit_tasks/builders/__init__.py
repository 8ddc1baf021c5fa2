"""Builders beyond the engine's own: create, show, certificates."""
