"""Reads a repository to adopt: crates, Dockerfiles, compose model; runs and writes nothing."""
