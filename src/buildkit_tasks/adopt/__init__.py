"""`init`: reads a repository and writes the files it needs to build with cache mounts; also undo and upgrade."""
