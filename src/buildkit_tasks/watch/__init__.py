"""`watch` and `dev`: keeps a running stack equal to the sources while they are edited."""
