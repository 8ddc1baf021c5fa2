"""Builds the command lines of docker, its plugins compose and buildx, and git, as values; runs nothing."""
