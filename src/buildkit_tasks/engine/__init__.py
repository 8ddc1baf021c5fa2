"""The Docker engine of this machine: what it is, install it, start it."""
