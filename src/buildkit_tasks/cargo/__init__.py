"""cargo without Rust on the host: runs in the project's toolchain image, on the project's volumes, never stale."""
