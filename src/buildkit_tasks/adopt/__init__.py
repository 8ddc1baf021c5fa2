"""`init`: read a repository, write what it needs to build on cache mounts, undo it, upgrade it."""
