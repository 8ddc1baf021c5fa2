"""Install and remove a git pre-commit hook."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import files, readfile, run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.dockercli import docker

#: The line that marks our hooks, and the suffix added to an existing hook's name.
MARK = "# Made by buildkit-tasks (invoke hooks.install); --undo removes it."
BEFORE = "pre-commit.before-buildkit-tasks"


def text(checks: Sequence[Sequence[str]]) -> str:
    """Return the hook script: it runs the existing hook, then each check. The first failure stops the commit."""
    lines = [
        "#!/bin/sh",
        MARK,
        f'before="$(dirname "$0")/{BEFORE}"',
        'if [ -x "$before" ]; then "$before" "$@" || exit; fi',
        'cd "$(git rev-parse --show-toplevel)" || exit',
        "unset GIT_DIR GIT_INDEX_FILE GIT_WORK_TREE",
        'if [ -x ./dev ]; then invoke="./dev invoke"',
        "elif [ -x .venv/bin/invoke ]; then invoke=.venv/bin/invoke",
        "elif command -v invoke >/dev/null; then invoke=invoke",
        "else echo 'pre-commit: invoke is not on PATH; nothing was checked' >&2; exit 0; fi",
        *(f"$invoke {shlex.join(check)} || exit" for check in checks),
    ]
    return "\n".join(lines) + "\n"


def install(session: Session, checks: Sequence[Sequence[str]]) -> None:
    """Write the hook. An existing hook is kept and runs first. Problems: hook-conflict, command-failed."""
    hook, before = _places(session)
    content = text(checks)
    if hook.exists() and MARK not in readfile.text(hook, "replace"):
        if before.exists():
            raise Problem(
                "hook-conflict",
                f"{hook} was not created by buildkit-tasks, and {before.name} already exists.",
                hint=f"keep one of the two hooks as {before}, remove the other, then retry",
            )
        hook.rename(before)
        session.report.say(f"the existing hook was renamed to {before.name} and runs first")
    hook.parent.mkdir(parents=True, exist_ok=True)
    files.replace(hook, content, mode=0o755)
    session.report.say(
        f"{hook} runs these commands before each commit: {'; '.join(shlex.join(('invoke', *c)) for c in checks)}"
    )


def undo(session: Session) -> None:
    """Remove the hook and restore the previous one."""
    hook, before = _places(session)
    if not hook.exists() or MARK not in readfile.text(hook, "replace"):
        session.report.say(f"{hook} was not created by buildkit-tasks; nothing was changed")
        return
    hook.unlink()
    if before.exists():
        before.rename(hook)
    session.report.say(f"{'restored' if hook.exists() else 'removed'} {hook}")


def _places(session: Session) -> tuple[Path, Path]:
    """Return the paths of the hook and an earlier hook. Problems: hook-conflict if another tool manages the hooks."""
    configured = run.capture(session.world, docker.git(session.root, "config", "--get", "core.hooksPath"))
    if configured.code == 0 and configured.stdout.strip():
        raise Problem(
            "hook-conflict",
            f"core.hooksPath is {configured.stdout.strip()}: another tool manages this repository's hooks.",
            hint="add the line `invoke lint` to that tool's pre-commit hook",
        )
    asked = run.capture(session.world, docker.git(session.root, "rev-parse", "--git-path", "hooks"))
    if asked.code != 0:
        raise Problem("hook-conflict", f"{session.root} is not in a git repository.", hint="git init")
    folder = session.root / asked.stdout.strip()
    return folder / "pre-commit", folder / BEFORE
