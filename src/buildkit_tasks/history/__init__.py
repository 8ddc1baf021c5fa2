"""The history of builds: the inputs and results of each. Bounded in size, outside the tree, safe to delete."""
