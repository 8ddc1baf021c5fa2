"""The proof that nothing changed since a build: what is recorded after it, and the decision of the next one."""
