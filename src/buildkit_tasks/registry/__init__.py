"""Image registries: check that one is reachable, list what it has, send and fetch blobs."""
