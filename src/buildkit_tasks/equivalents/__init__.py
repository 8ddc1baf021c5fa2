"""Map shell commands to our tasks. Pure: takes a command, returns a task call or the reason for keeping it."""
