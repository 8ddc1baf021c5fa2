"""Image registries: check whether a registry is reachable, list its contents, send and fetch blobs."""
