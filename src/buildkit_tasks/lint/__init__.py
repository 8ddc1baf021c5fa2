"""What is wrong with the cache mounts of a Dockerfile: text in, findings out. Pure; project.py reads the files."""
