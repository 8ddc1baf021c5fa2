"""Settings, the project root, and the session that every task starts with."""
