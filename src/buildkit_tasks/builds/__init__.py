"""One build: plan, transfer guard, the bake solve, its view, and the tiers below full BuildKit."""
