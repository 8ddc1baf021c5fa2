"""Finds mistakes with cache mounts in a Dockerfile: text in, findings out. Pure; project.py reads the files."""
