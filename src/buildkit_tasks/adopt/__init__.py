"""`init`: reads a repository and writes what it needs to build on cache mounts; also undo and upgrade."""
