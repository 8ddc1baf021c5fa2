"""Between Invoke and our code: makes the session, turns a `Problem` into an exit code."""

from __future__ import annotations

import functools
import platform
import sys
import traceback
from collections.abc import Callable
from typing import Any

from invoke.exceptions import Exit

from buildkit_tasks.config.session import Session
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.report import Report
from buildkit_tasks.core.world import World


def reported(body: Callable[..., None]) -> Callable[..., Any]:
    """Wrap a task body to receive a `Session` in place of Invoke's context.

    A `Problem` is printed and becomes its exit code; anything else is a bug: traceback, versions, exit 70.
    A task's flags `json` and `yes` configure the report.
    """

    @functools.wraps(body)
    def wrapper(_context: Any, *args: Any, **kwargs: Any) -> None:
        report = Report(World.real(), json_only=bool(kwargs.get("json")), yes=bool(kwargs.get("yes")))
        try:
            body(Session(report.world, report), *args, **kwargs)
        except Problem as problem:
            report.problem(problem)
            raise Exit(code=problem.exit_code) from None
        except KeyboardInterrupt:
            halt = Problem("interrupted", "Interrupted. Nothing was left half done.", hint="run the command again")
            report.problem(halt)
            raise Exit(code=halt.exit_code) from None
        except (Exit, BrokenPipeError):
            raise
        except Exception:
            traceback.print_exc()
            from importlib.metadata import version

            sys.stderr.write(
                f"This is a bug in buildkit-tasks {version('buildkit-tasks')} (Python {platform.python_version()}, "
                f"{platform.platform()}). Please report it with the lines above.\n"
            )
            raise Exit(code=70) from None
        finally:
            report.finish()

    return wrapper
