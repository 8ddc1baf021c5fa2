"""Which of our tasks does what a shell command does. Pure: a command in, a call or the reason against it out."""
