"""Builds without bake or without BuildKit: which of them an engine allows, and `docker build` one by one."""
