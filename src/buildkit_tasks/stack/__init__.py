"""The running stack: up, down, quickstart, verify, smoke test."""
