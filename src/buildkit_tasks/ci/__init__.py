"""CI: identify a run and what it may push, find changed services, run the jobs and write workflows."""
