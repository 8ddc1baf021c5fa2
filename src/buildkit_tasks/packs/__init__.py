"""Packs: compiled dependencies that travel through a registry."""
