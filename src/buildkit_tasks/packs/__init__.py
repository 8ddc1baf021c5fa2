"""Packs: compiled dependencies, shared through a registry."""
