"""Checks of `--platform` and of platforms in compose files: their names, and whether a build can make them."""
