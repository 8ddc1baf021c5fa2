"""`import-makefile`: replace recipes in a Makefile or justfile with task calls; targets keep their names."""
