"""One build: plan, compile groups, transfer guard, bake solve, and the manifests of its programs."""
