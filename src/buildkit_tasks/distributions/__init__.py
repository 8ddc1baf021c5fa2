"""Converts Dockerfiles based on Alpine or other Debian releases to Debian 12: images and package names. Pure."""
