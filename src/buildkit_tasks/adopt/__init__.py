"""`init`: read a repository and write the files it needs to build with cache mounts; also undo and upgrade."""
