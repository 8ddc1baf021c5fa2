"""Talk to an image registry: is it reachable, what does it hold, send and fetch blobs."""
