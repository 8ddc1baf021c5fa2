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
        words = typed.rewrite(sys.argv[1:], typed.Known(namespace))
    except Problem as problem:
        sys.stderr.write(problem.text() + "\n")
        sys.exit(problem.exit_code)
    program = Program(version=VERSION, namespace=namespace, name=NAME, binary=NAME, binary_names=[NAME])
    help_page.attach(program)
    typed.print_safely(program)
    try:
        program.run([NAME, *words])
    except BrokenPipeError:
        edge.silence(sys.stdout)
        sys.exit(141)
    except OSError as error:  # Invoke reads its configuration from HOME
        refused = outside.refused(error)
        sys.stderr.write(refused.text() + "\n")
        sys.exit(refused.exit_code)
