"""CI: identifies a run and what it may push, finds changed services, runs the jobs and writes workflows."""
