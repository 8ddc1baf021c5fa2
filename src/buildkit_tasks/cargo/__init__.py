"""Runs cargo without Rust on the host: in the project's toolchain image, with volumes per project, and never stale."""
