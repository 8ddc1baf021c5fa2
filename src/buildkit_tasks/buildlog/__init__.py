"""Parses the output of a running build, and finds the causes of failures."""
