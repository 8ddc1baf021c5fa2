"""`python -m buildkit_tasks`: the command `buildkit-tasks`."""

from buildkit_tasks.tasks.program import main

main()
