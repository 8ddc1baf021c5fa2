"""What everything stands on: errors, settings, processes, the docker command line, terminal output."""
