"""The history of builds: what each was made from, and what it did. Bounded, outside the tree, safe to delete."""
