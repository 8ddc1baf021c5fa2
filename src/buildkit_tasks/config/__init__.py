"""Settings, the project root, and the session with which every task starts."""
