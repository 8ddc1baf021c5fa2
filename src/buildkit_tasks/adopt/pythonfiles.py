"""Create tasks.py, noxfile.py, pyproject.toml and .env.example, or add to them if they exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping

from .composefile import INCREMENTAL

BEGIN, END = "# >>> buildkit-tasks", "# <<< buildkit-tasks"

TASKS = '''"""Tasks for this repository; list them with `invoke --list`."""

from buildkit_tasks import namespace

__all__ = ["namespace"]
'''

NOX = '''"""Sessions for this repository; list them with `nox --list`."""

import nox


@nox.session(python=False)
def images(session: nox.Session) -> None:
    """Build the images of all services."""
    session.run("invoke", "build", *session.posargs, external=True)


@nox.session(python=False)
def verify(session: nox.Session) -> None:
    """Check that images and running containers match the sources."""
    session.run("invoke", "verify", *session.posargs, external=True)
'''

ENV = f"""
# 1 enables incremental compilation in plain `docker compose build`. Rebuilds are faster, but caches are larger.
# Do not enable it for release images.
# {INCREMENTAL[0]}=1
"""


def tasks(text: str) -> str:
    """Return tasks.py with our tasks: top-level in an empty file, else a collection `docker` next to existing tasks."""
    if not text.strip():
        return TASKS
    if "buildkit_tasks" in text:
        return text
    names = _assigned(text)
    own = next((n for n in ("ns", "namespace") if n in names), "")
    lines = [
        BEGIN,
        "# Tasks for builds, caches and the stack. `invoke docker.build` is the same as `buildkit-tasks build`.",
    ]
    if own:
        lines += ["from buildkit_tasks import namespace as _buildkit_tasks  # noqa: E402", ""]
        lines += [f'{own}.add_collection(_buildkit_tasks, "docker")']
    else:
        lines += [
            "import sys as _sys  # noqa: E402",
            "",
            "from invoke import Collection as _Collection  # noqa: E402",
            "",
        ]
        lines += ["from buildkit_tasks import namespace as _buildkit_tasks  # noqa: E402", ""]
        lines += ["namespace = _Collection.from_module(_sys.modules[__name__])"]
        lines += ['namespace.add_collection(_buildkit_tasks, "docker")']
    return _appended(text, [*lines, END])


def nox(text: str, tasks_text: str) -> str:
    """Return noxfile.py with two sessions that call our tasks."""
    if "buildkit_tasks" in text or BEGIN in text or re.search(r'"""Sessions (?:for|of) this repository', text):
        return text
    if not text.strip():
        return NOX
    names = _assigned(text)
    task = "docker.build" if "buildkit_tasks" in tasks_text and BEGIN in tasks_text else "build"
    session = "images" if "images" not in names else "buildkit_tasks_images"
    lines = [BEGIN, "import nox as _nox  # noqa: E402", "", "", "@_nox.session(python=False)"]
    lines += [f"def {session}(session):", '    """Build the images of all services."""']
    lines += [f'    session.run("invoke", "{task}", *session.posargs, external=True)', END]
    return _appended(text, lines)


def _appended(text: str, lines: list[str]) -> str:
    ending = "\r\n" if "\r\n" in text else "\n"
    text = text if text.endswith("\n") else f"{text}{ending}"
    return text + ending + ending + ending.join(lines) + ending


def _assigned(text: str) -> set[str]:
    """Return the names that a module defines; empty if it cannot be parsed."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError):
        return set(re.findall(r"(?m)^(?:def\s+)?(\w+)\s*[=(]", text))
    found: set[str] = set()
    for node in body:
        if isinstance(node, ast.Assign):
            found |= {t.id for t in node.targets if isinstance(t, ast.Name)}
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


def pyproject(text: str, settings: Mapping[str, str]) -> str:
    """Return pyproject.toml with our missing settings added and everything else unchanged."""
    if not settings:
        return text
    import tomlkit

    document = tomlkit.parse(text)
    tool = document.setdefault("tool", tomlkit.table(is_super_table=True))
    section = tool.setdefault("buildkit-tasks", tomlkit.table(is_super_table=True))
    for name, value in settings.items():
        group, _, key = name.partition(".")
        section.setdefault(group, tomlkit.table()).setdefault(key, value)
    # insert a blank line before the next table, if there is one
    return re.sub(
        r"(?m)^(\[tool\.buildkit-tasks\b[^\n]*\n(?:[^\[\n][^\n]*\n)+)(?=\[)", r"\1\n", tomlkit.dumps(document)
    )


def env_example(text: str) -> str:
    """Return .env.example with the variable that plain compose builds read."""
    if not text.strip() or INCREMENTAL[0] in text:
        return text
    ending = "\r\n" if "\r\n" in text else "\n"
    text = text if text.endswith("\n") else f"{text}{ending}"
    return text + ENV.replace("\n", ending)
