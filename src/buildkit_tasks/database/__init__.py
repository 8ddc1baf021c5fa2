"""The project's databases: create, migrate, seed, dump, restore, drop; the client is the one in their container."""
