"""`invoke build` from end to end: pull a pack, build, push, trim; uses multiple builders for multiple platforms."""
