"""Generate the Dockerfile and ignore file that `init` writes, from the survey of the repository. Pure."""
