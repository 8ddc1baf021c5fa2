"""The base of all other packages: errors, processes, files, the docker command line and terminal output."""
