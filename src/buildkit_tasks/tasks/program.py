"""The command `buildkit-tasks`: the same tasks as `invoke`, in any directory, without a tasks.py."""

from __future__ import annotations

import sys

from invoke.program import Program

from buildkit_tasks.core import outside
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.release import VERSION

from . import edge, help_page, namespace, typed

NAME = "buildkit-tasks"


def main() -> None:
    """Run the command line."""
    try:
        words = typed.rewrite(sys.argv[1:], typed.tasks(namespace))
    except Problem as problem:
        sys.stderr.write(problem.text() + "\n")
        sys.exit(problem.exit_code)
    program = Program(version=VERSION, namespace=namespace, name=NAME, binary=NAME, binary_names=[NAME])
    help_page.attach(program)
    try:
        try:
            program.run([NAME, *words])
        finally:
            if sys.stdout is not None:  # closed by the caller
                sys.stdout.flush()  # Python's own flush at exit would complain about a closed pipe
    except OSError as error:  # Invoke reads its configuration in HOME
        if isinstance(error, BrokenPipeError):  # `buildkit-tasks --list | head`
            edge.silence(sys.stdout)
            sys.exit(141)
        refused = outside.refused(error)
        sys.stderr.write(refused.text() + "\n")
        sys.exit(refused.exit_code)
