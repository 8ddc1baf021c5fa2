"""Builds the command lines for docker, its compose and buildx plugins, and git. Runs nothing."""
