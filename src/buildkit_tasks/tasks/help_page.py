"""`TASK --help`: how to call the task, what it does, and its flags."""

from __future__ import annotations

import inspect
import sys

from invoke.program import Program

from . import typed


def attach(program: Program) -> None:
    """Replace Invoke's help page, which lists Invoke's own options but not positional services."""

    def print_task_help(name: str) -> None:
        task = program.collection[name]
        rows = program.parser.contexts[name].help_tuples()
        usage = [program.binary_names[0], name, *typed.positions(program.collection, name)]
        about = "".join(f"  {line}".rstrip() + "\n" for line in (inspect.getdoc(task) or "").splitlines())
        sys.stdout.write(f"Usage: {' '.join([*usage, *(['[flags]'] if rows else [])])}\n\n{about}\n")
        if rows:
            sys.stdout.write("Flags:\n")
            program.print_columns(rows)

    program.print_task_help = print_task_help  # type: ignore[method-assign]
