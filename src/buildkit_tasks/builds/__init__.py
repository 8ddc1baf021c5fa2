"""One build: plan, compile groups, transfer guard, bake solve, what its programs were made from."""
