"""Runs cargo in the project's toolchain image, with per-project volumes, no Rust on the host and no stale code."""
