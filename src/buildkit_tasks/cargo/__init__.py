"""cargo without Rust on the host: in the project's toolchain image, on volumes of the project, never stale."""
