"""`import-makefile`: reads a Makefile or justfile, and replaces the recipes that our tasks cover; the names stay."""
