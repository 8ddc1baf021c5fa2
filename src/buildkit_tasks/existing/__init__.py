"""Reads a repository's existing Dockerfiles: what their stages compile, install and ship. Pure."""
