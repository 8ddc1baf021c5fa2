"""Cache mounts: view, open, clear, trim, warm, prune."""
