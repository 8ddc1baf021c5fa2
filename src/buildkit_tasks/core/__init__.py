"""The base of all other packages: errors, settings, processes, the docker command line, terminal output."""
