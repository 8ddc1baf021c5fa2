"""Builds without bake or without BuildKit: decides what an engine supports, and runs one `docker build` per service."""
