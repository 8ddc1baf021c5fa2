"""Analyze a repository before adopting it: its Dockerfiles, compose model and services. Runs and writes nothing."""
