"""A build: the plan, compile groups, the transfer guard, the bake solve, and the program manifests."""
