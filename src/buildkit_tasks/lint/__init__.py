"""What is wrong with the cache mounts of a Dockerfile: text in, findings out. Pure; flows/lint.py reads the files."""
