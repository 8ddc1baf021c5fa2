"""The build history: the inputs and results of each build. Bounded in size, outside the tree, safe to delete."""
