"""`watch` and `dev`: keep a running stack in sync with the sources as you edit them."""
