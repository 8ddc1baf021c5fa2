"""Reads a repository to adopt: Dockerfiles, compose model, what each service ships; runs and writes nothing."""
