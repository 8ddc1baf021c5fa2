"""CI: identifies a run and what it may push, finds the services that changed, runs the jobs, writes workflows."""
