"""One build: plan, transfer guard, bake solve, progress view, and the tiers below full BuildKit."""
