"""`watch` and `dev`: keeps a running stack in sync with the sources while they are edited."""
