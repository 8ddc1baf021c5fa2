"""Read a repository that is to be adopted: crates, Dockerfiles, compose model; nothing is run or written."""
