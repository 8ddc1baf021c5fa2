"""The command `buildkit-tasks`, also as `python -m buildkit_tasks`."""

from __future__ import annotations

import sys


def main() -> None:
    """Load the tasks, then run the command line. Ctrl-C during loading exits without a traceback."""
    try:
        from buildkit_tasks.tasks import program

        program.main()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
