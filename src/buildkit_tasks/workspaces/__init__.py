"""Reads a repository's files and its cargo workspaces: crates, lock file, configuration, and files that builds read."""
