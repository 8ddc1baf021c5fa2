"""`invoke build` from end to end: pull a pack, build, push, trim; uses several builders for several platforms."""
