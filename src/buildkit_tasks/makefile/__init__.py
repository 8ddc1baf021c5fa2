"""`import-makefile`: replace recipes of a Makefile or justfile with task calls; targets keep their names."""
