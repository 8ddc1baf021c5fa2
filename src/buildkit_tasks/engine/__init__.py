"""The Docker engine of this machine: find, install and start it."""
