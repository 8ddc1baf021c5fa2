"""Enables BuildKit in the user's shells: shows the edit, asks, writes, then tests it with a real shell and build."""

from __future__ import annotations

import difflib
import os
import pwd
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import readfile, run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command
from buildkit_tasks.core.world import World
from buildkit_tasks.engine import facts as engine_facts

from . import buildkit_line
from .new_shell import SHELL_TIMEOUT, prove
from .startup_file import Edit, read, write

#: The profile files of a bash login shell, which reads the first one that exists.
PROFILES = (".bash_profile", ".bash_login", ".profile")

_HINT = "choose one: invoke enable-buildkit --shell bash|zsh|fish"


def login_shell(world: World) -> str:
    """Return the name of the user's login shell: $SHELL, else the user database. Raises `Problem` shell-unsupported."""
    path = world.env.get("SHELL") or pwd.getpwuid(os.getuid()).pw_shell
    name = Path(path).name
    if name not in buildkit_line.SHELLS:
        raise Problem(
            "shell-unsupported",
            f"The login shell {path or '(none)'} is not supported.",
            causes=[f"supported shells: {', '.join(buildkit_line.SHELLS)}"],
            hint=f"{_HINT}, or set manually: " + " and ".join(f"{k}={v}" for k, v in buildkit_line.VARIABLES.items()),
        )
    return name


def chosen_shell(session: Session, wanted: str) -> str:
    """Return the given shell, else the login shell. Raises `Problem` bad-argument or shell-unsupported."""
    if not wanted:
        return login_shell(session.world)
    if wanted not in buildkit_line.SHELLS:
        raise Problem("bad-argument", f"Unknown shell {wanted!r}.", hint=_HINT)
    return wanted


def print_env(session: Session, shell: str) -> None:
    """Print the statements for one session, for `eval "$(invoke env)"` or `invoke env --shell fish | source`."""
    if not shell:
        shell = "bash" if Path(session.world.env.get("SHELL", "")).name != "fish" else "fish"
    name = chosen_shell(session, shell)
    if session.world.prints_to_terminal:
        use = "invoke env --shell fish | source" if name == "fish" else 'eval "$(invoke env)"'
        session.report.say(f"for this session: {use}")
    session.report.answer(buildkit_line.exports(name))


def enable(session: Session, wanted: str, *, dry_run: bool, undo: bool) -> None:
    """Run `invoke enable-buildkit`. Problems: shell-unsupported, bad-argument, consent-missing, rc-unwritable."""
    world = session.world
    if undo:
        shells = (chosen_shell(session, wanted),) if wanted else buildkit_line.SHELLS
        edits = [e for e in undo_edits(world, shells) if e.changes]
    else:
        shells = (chosen_shell(session, wanted),)
        edits = [e for e in add_edits(world, shells[0]) if e.changes]
        show_need(session)
    say = session.report.say
    if not edits:
        say("nothing to undo" if undo else f"{shells[0]} is already set up; nothing changed")
    else:
        show(session, edits)
        notices(session, edits)
        if dry_run:
            say("dry run: nothing was changed")
            return
        names = ", ".join(str(e.path) for e in edits)
        if not session.report.consent(f"{'undo' if undo else 'make'} this change in {names}"):
            say("nothing was changed")
            return
        for edit in edits:
            kept = write(world, edit)
            words = "deleted" if edit.after is None else "created" if edit.before is None else "changed"
            say(f"{words} {edit.path}" + (f" (backup: {kept})" if kept else ""))
    if undo:
        say("new shells start without these variables; in this shell, run: unset " + " ".join(buildkit_line.VARIABLES))
    elif not dry_run:
        prove(session, shells[0])


def show_need(session: Session) -> None:
    """Print whether the edit is needed: current docker commands use BuildKit by default."""
    if session.world.env.get("DOCKER_BUILDKIT", "").lower() in ("0", "false"):
        session.report.say("DOCKER_BUILDKIT=0 is set in this session, which disables BuildKit")
    try:
        found = engine_facts.client(session.world, session.world.cwd)
    except Problem:
        return
    if found.version >= (23,) and found.buildx:
        session.report.say(
            f"this engine ({engine_facts.dotted(found.version)}, buildx {engine_facts.dotted(found.buildx)}) "
            "uses BuildKit by default, and buildkit-tasks always uses it. The edit matters only for older "
            "engines, or if "
            "something sets DOCKER_BUILDKIT=0."
        )
    elif found.version:
        session.report.say(
            f"this engine ({engine_facts.dotted(found.version)}) does not use BuildKit by default, so the "
            "edit is needed"
        )


# ---- what to change


def add_edits(world: World, shell: str) -> list[Edit]:
    """Return edits that create the env file and add the line to each startup file that this shell reads."""
    config = buildkit_line.config_dir(world.env, world.home)
    file = buildkit_line.env_file(shell, config)
    wanted = buildkit_line.line(shell, file, world.home)
    edits = [Edit(file, read(file), buildkit_line.env_text(shell))]
    for path in start_files(world, shell):
        before = read(path)
        if path.name not in (".bashrc", ".zshrc", "config.fish") and before and buildkit_line.reads_bashrc(before):
            continue
        edits.append(Edit(path, before, buildkit_line.add(before or "", wanted, new_file=before is None)))
    return edits


def undo_edits(world: World, shells: Sequence[str]) -> list[Edit]:
    """Return edits that remove our line from every file that has it, and delete the env file once no shell reads it."""
    config = buildkit_line.config_dir(world.env, world.home)
    edits: dict[Path, Edit] = {}
    still: set[str] = set()
    for shell in buildkit_line.SHELLS:
        profiles = [world.home / name for name in PROFILES] if shell == "bash" else []
        for path in (*start_files(world, shell), *profiles):
            text = read(path)
            if path in edits or text is None or not buildkit_line.present(text):
                continue
            if shell not in shells:
                still.add(buildkit_line.env_file(shell, config).name)
                continue
            left = buildkit_line.remove(text)
            edits[path] = Edit(path, text, None if left.delete else left.text)
    for file in {buildkit_line.env_file(shell, config) for shell in shells}:
        if file.name not in still:
            edits[file] = Edit(file, read(file), None)
    return list(edits.values())


def start_files(world: World, shell: str) -> tuple[Path, ...]:
    """Return the user's startup files for a shell, located as the shell itself does."""
    return buildkit_line.rc_files(
        shell,
        world.home,
        exists={world.home / n for n in PROFILES if (world.home / n).exists()},
        zdotdir=_zdotdir(world) if shell == "zsh" else None,
        config_home=buildkit_line.config_dir(world.env, world.home).parent,
        macos=sys.platform == "darwin",
    )


def _zdotdir(world: World) -> Path | None:
    """Return ZDOTDIR as zsh sees it: usually set in ~/.zshenv without export, so only zsh can report it."""
    given = world.env.get("ZDOTDIR", "")
    zsh = shutil.which("zsh", path=world.env.get("PATH"))
    if not given and zsh:
        asked = run.capture(world, Command((zsh, "-c", 'printf %s "$ZDOTDIR"'), world.home), timeout=SHELL_TIMEOUT)
        given = asked.stdout.strip()
    return Path(given) if given.startswith("/") else None


def show(session: Session, edits: Iterable[Edit]) -> None:
    """Print the edits as a unified diff."""
    for edit in edits:
        before, after = (edit.before or "").split("\n"), (edit.after or "").split("\n")
        old = str(edit.path) if edit.before is not None else "/dev/null"
        new = str(edit.path) if edit.after is not None else "/dev/null"
        for row in difflib.unified_diff(before, after, old, new, n=2, lineterm=""):
            session.report.say(row.encode("utf-8", "backslashreplace").decode())


def notices(session: Session, edits: Iterable[Edit]) -> None:
    """Print what the user should know before consenting: files in a git repository, lines that disable BuildKit."""
    for edit in edits:
        place = readfile.real(edit.path)
        repository = next((p for p in place.parents if (p / ".git").exists()), None)
        if repository:
            link = f" is a link to {place}, which" if place != edit.path else ""
            session.report.say(
                f"note: {edit.path}{link} is in the git repository {repository}, so git will show the edit as a "
                "change. The line does nothing on machines without the file that it reads."
            )
        for number in buildkit_line.overruled(edit.before or ""):
            session.report.say(
                f"note: line {number} of {edit.path} disables BuildKit, but the added line comes later and overrides it"
            )
