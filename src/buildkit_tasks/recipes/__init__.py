"""The Dockerfile and ignore file that `init` writes, made from what the survey found. Pure."""
