"""The output of a running build, and the causes of a failure found in it."""
