"""Dockerfiles and ignore files as values: stages, arguments, mounts, platforms."""
