"""The project's databases: create, migrate, seed, dump, restore and drop them with the client in their container."""
