"""Builds the command lines of docker, its compose and buildx plugins, and git. Runs nothing."""
