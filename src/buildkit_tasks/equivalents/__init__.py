"""Maps shell commands to tasks. Pure: takes a command, returns a task call or the reason for keeping it."""
