"""Creates, migrates, seeds, dumps, restores and drops the project's databases, with the client in the container."""
