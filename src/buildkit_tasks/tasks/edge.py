"""Adapter between Invoke and the tasks: creates the session and turns a `Problem` into an exit code."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TextIO

import invoke.tasks
from invoke.exceptions import Exit
from invoke.parser.argument import Argument

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import bytecode, outside
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.release import VERSION
from buildkit_tasks.core.report import Report, output_failed
from buildkit_tasks.core.world import World

#: The short flags, the same in every task. Invoke would assign the first free letter to each flag, and `-p` would mean
#: the platform in one task and the profile in another.
LETTERS = {"service": "s", "platform": "p", "builder": "b", "follow": "f", "yes": "y", "json": "j", "dry_run": "n"}


class Task(invoke.tasks.Task):  # type: ignore[type-arg]
    """A task with only the short flags above."""

    def arg_opts(self, name: str, default: str, taken_names: set[str]) -> dict[str, Any]:
        """Return the arguments that Invoke derives from a parameter."""
        opts = super().arg_opts(name, default, taken_names)
        opts["names"] = [opts["names"][0], *filter(None, [LETTERS.get(name, "")])]
        return opts

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """Return the arguments with their help texts. Restore the texts afterwards, because Invoke removes them."""
        texts = dict(self.help)
        try:
            return list(super().get_arguments(ignore_unknown_help))
        finally:
            self.help = texts


def task(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return Invoke's decorator, set up for the tasks of this package."""
    made: Callable[[Callable[..., Any]], Any] = invoke.tasks.task(klass=Task, **options)
    return made


def reported(body: Callable[..., None]) -> Callable[..., Any]:
    """Wrap a task body so that it receives a `Session` instead of Invoke's context.

    A `Problem` is printed and sets the exit code. Any other exception is a bug: traceback, versions, exit code 70.
    The flags `json` and `yes` of a task configure the report.
    """

    @functools.wraps(body)
    def wrapper(_context: Any, *args: Any, **kwargs: Any) -> None:
        outside.end_on_signals()
        try:
            world = _world()
        except Problem as problem:
            sys.stderr.write(problem.text() + "\n")
            raise Exit(code=problem.exit_code) from None
        report = Report(world, json_only=bool(kwargs.get("json")), yes=bool(kwargs.get("yes")))
        with bytecode.cached():
            code = _guarded(lambda: body(Session(world, report, extra=_extra()), *args, **kwargs), report)
            code = _guarded(report.finish, report) or code  # also print the document of a failed call
        if code:
            raise Exit(code=code)

    return wrapper


def _world() -> World:
    """Return the environment of this process, which looks for docker's plugins when a command first needs them."""

    @functools.cache
    def plugins() -> Mapping[str, str]:
        from buildkit_tasks.engine import quick  # late: `--list` does not need it

        return quick.plugins(world)

    world = replace(World.real(), plugins=plugins)
    return world


def _extra() -> list[str]:
    """Return the words after `--` in `sys.argv`. Invoke joins them into one string, which breaks words with spaces."""
    words = sys.argv
    return words[words.index("--") + 1 :] if "--" in words else []


def _guarded(work: Callable[[], None], report: Report) -> int:
    """Run a task and return the exit code, 0 for success. Errors are handled only here."""
    try:
        work()
    except Exit as done:
        return done.code or 0
    except BrokenPipeError:  # `invoke settings | head -1`
        silence(sys.stdout)
        return 141
    except KeyboardInterrupt as interrupt:
        return _reported(outside.interrupted(interrupt), report)
    except Problem as problem:
        return _reported(problem, report)
    except OSError as error:
        return _reported(outside.refused(error), report)
    except MemoryError:
        return _reported(outside.memory(), report)
    except Exception:
        return _bug()
    return 0


def _reported(problem: Problem, report: Report) -> int:
    report.problem(problem)
    if problem.code == "output-failed":
        silence(sys.stdout)
    return problem.exit_code


def _bug() -> int:
    traceback.print_exc()
    sys.stderr.write(
        f"This is a bug in buildkit-tasks {VERSION} (Python {platform.python_version()}, "
        f"{platform.platform()}). Please report it and include the lines above.\n"
    )
    return 70


def silence(stream: TextIO | None) -> None:
    """Redirect a stream that nobody reads, to keep Python's flush at exit from failing."""
    if stream is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextlib.contextmanager
def printing() -> Iterator[None]:
    """Let Invoke print; exit silently if the pipe is closed, and with one error message if the disk is full."""
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:  # closed by the caller
                sys.stdout.flush()  # Python's own flush at exit would print an error
    except BrokenPipeError:  # `invoke --list | head`
        silence(sys.stdout)
        raise Exit(code=141) from None
    except OSError as error:
        silence(sys.stdout)
        problem = output_failed(error)
        raise Exit(problem.text(), code=problem.exit_code) from None
