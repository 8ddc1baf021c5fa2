"""The output of a running build, and the causes of failure found in it."""
