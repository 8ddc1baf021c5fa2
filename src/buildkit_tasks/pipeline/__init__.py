"""`invoke build` from end to end: pull a pack, build, push, trim; several builders for several platforms."""
