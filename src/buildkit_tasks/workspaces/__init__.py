"""Reads the files of a repository and its cargo workspaces: crates, lock file, configuration, what builds read."""
