"""Edits the line that enables BuildKit in a shell's startup file: text in, text out. Pure; bash, zsh and fish.

Which files a shell reads: bash(1) INVOCATION, zsh(1) STARTUP/SHUTDOWN FILES, fish(1) "Initialization files".
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

SHELLS = ("bash", "zsh", "fish")

#: Enables BuildKit in docker itself, and in compose v1 and early v2, which did not use it by default.
VARIABLES: Mapping[str, str] = {"DOCKER_BUILDKIT": "1", "COMPOSE_DOCKER_CLI_BUILD": "1"}

_MARK = "# added by buildkit-tasks"
# The mark is at the end of its line, so the CR of a CRLF file becomes part of the comment.
_OURS = re.compile(
    rf"^[^\n]*{_MARK}(?:, (?P<breaks>\d) line breaks? before)?(?P<made>, file made)?(?:\r?\n|\r?\Z)", re.MULTILINE
)


@dataclass(frozen=True)
class Removed:
    """The result of `remove`. `delete`: the file is now empty and was created by `add`."""

    text: str
    delete: bool = False


def config_dir(env: Mapping[str, str], home: Path) -> Path:
    """Return the directory of our env file (XDG base directories). A relative or multi-line value counts as unset."""
    given = env.get("XDG_CONFIG_HOME", "")
    usable = given.startswith("/") and "\n" not in given
    return (Path(given) if usable else home / ".config") / "buildkit-tasks"


def env_file(shell: str, config: Path) -> Path:
    """Return the env file sourced by the line: one for bash and zsh, one for fish."""
    return config / ("env.fish" if shell == "fish" else "env.sh")


def exports(shell: str, variables: Mapping[str, str] = VARIABLES) -> str:
    """Return statements that set the variables in a shell, for the output of `invoke env` and the env file."""
    if shell == "fish":
        return "".join(f"set -gx {name} {_quoted(value, shell)}\n" for name, value in variables.items())
    return "".join(f"export {name}={_quoted(value, shell)}\n" for name, value in variables.items())


def env_text(shell: str) -> str:
    """Return the content of the env file."""
    return (
        "# BuildKit for every docker and compose command run by this shell. Written by buildkit-tasks;\n"
        f"# undo: invoke enable-buildkit --undo\n{exports(shell)}"
    )


def _quoted(word: str, shell: str) -> str:
    if shell != "fish":
        return shlex.quote(word)
    return word if re.fullmatch(r"[\w@%+=:,./-]+", word) else "'" + word.replace("\\", "\\\\").replace("'", "\\'") + "'"


def line(shell: str, file: Path, home: Path) -> str:
    """Return the guarded line without its mark. `$HOME` stays a variable, as rc files may be shared between machines.

    The guard avoids errors on machines without our file, and preserves `$?`.
    """
    if file.is_relative_to(home):
        path = f'"$HOME"/{_quoted(str(file.relative_to(home)), shell)}'
    else:
        path = _quoted(str(file), shell)
    if shell == "fish":
        return f"if test -r {path}; source {path}; end"
    return f"if [ -r {path} ]; then . {path}; fi"


def present(text: str) -> bool:
    """Return True if the text contains our line, in any version."""
    return _OURS.search(text) is not None


def add(text: str, wanted: str, *, new_file: bool = False) -> str:
    """Return the rc text with our line at the end. Replaces an older version of the line in place.

    Nothing else changes, and line endings are kept. The mark counts the line breaks inserted before the line (a missing
    final newline, a break after a continued line), which lets `remove` restore the same bytes.
    """
    end = "\r\n" if re.search(r"\r\n[^\n]*\Z", text) else "\n"
    found = _OURS.search(text)
    if found:
        tail = found[0][found[0].index(_MARK) :]
        return text[: found.start()] + f"{wanted}  {tail}" + text[found.end() :]
    body = text.rstrip("\n").removesuffix("\r")
    continues = text[len(body) :].count("\n") < 2 and (len(body) - len(body.rstrip("\\"))) % 2 == 1
    breaks = int(not text.endswith("\n") and text != "") + int(continues)
    mark = _MARK + (f", {breaks} line break{'s' if breaks > 1 else ''} before" if breaks else "")
    mark += ", file made" if new_file else ""
    return f"{text}{end * breaks}{wanted}  {mark}{end}"


def remove(text: str) -> Removed:
    """Return the rc text without our line, undoing `add` byte for byte. Keeps text after our line."""
    made = False
    while found := _OURS.search(text):
        before, after = text[: found.start()], text[found.end() :]
        end = "\r\n" if found[0].endswith("\r\n") else "\n"  # as `add` wrote it, whatever precedes it
        made = made or bool(found["made"])
        for _ in range(int(found["breaks"] or 0) if not after else 0):
            before = before.removesuffix(end)
        text = before + after
    return Removed(text, delete=made and text == "")


def rc_files(
    shell: str, home: Path, *, exists: Collection[Path], zdotdir: Path | None, config_home: Path, macos: bool
) -> tuple[Path, ...]:
    """Return the startup files that need the line: those that the shell reads. A new file must not hide another one.

    An interactive bash reads ~/.bashrc; a login bash reads only the first of three profile files. A new ~/.bash_profile
    would hide an existing ~/.profile, so it is only created if there is no profile file (as on macOS, where terminals
    open login shells).
    """
    if shell == "zsh":
        return ((zdotdir or home) / ".zshrc",)
    if shell == "fish":
        return (config_home / "fish" / "config.fish",)
    profiles = [home / name for name in (".bash_profile", ".bash_login", ".profile")]
    login = next((p for p in profiles if p in exists), profiles[-1] if macos else None)
    return (home / ".bashrc", *([login] if login else []))


def reads_bashrc(profile: str) -> bool:
    """Return True if a bash profile sources ~/.bashrc, in which case a line in ~/.bashrc is enough."""
    return any("bashrc" in row and not row.lstrip().startswith("#") for row in profile.splitlines())


def overruled(text: str) -> tuple[int, ...]:
    """Return the numbers (from 1) of lines that set one of our variables to a different value."""
    names = "|".join(VARIABLES)
    pattern = re.compile(rf"^\s*(?:export\s+|set\s+-\S+\s+)?(?:{names})(?:=|\s+)[\"']?(?!1\b)")
    return tuple(n for n, row in enumerate(text.split("\n"), 1) if pattern.match(row))
