"""The base of all other packages: errors, processes, files and terminal output."""
