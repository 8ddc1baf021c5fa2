"""Base images: choose, fetch, build offline, share, check."""
