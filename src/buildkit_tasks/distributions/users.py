"""Convert busybox's addgroup and adduser to the commands of Debian's `passwd`, which every Debian image has. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: A call and its words, up to the end of the command.
_CALL = re.compile(
    r"(?<![\w/.-])(add(?:user|group))((?:\s*\\\n\s*|[ \t]+)(?:\\\n|\d*[<>]&\d|&>>?|[^;&|)\n])*)(?<![\s\\])"
)
#: A redirection.
_REDIRECTION = re.compile(r"(?<!\S)(?:\d*[<>]&\d|(?:\d*(?:>>?|<)|&>>?)\s*[^\s<>]+)")
_NAME = re.compile(r"[\w$][\w${}.:-]*|\"[\w${}.:-]+\"|'[\w.-]+'")
_VALUE = {"-h", "-g", "-s", "-G", "-u", "-k"}
_LONG = {
    "--home": "-h",
    "--gecos": "-g",
    "--shell": "-s",
    "--ingroup": "-G",
    "--uid": "-u",
    "--system": "-S",
    "--disabled-password": "-D",
    "--no-create-home": "-H",
    "--skel": "-k",
}


def convert(text: str) -> str:
    """Return commands with `groupadd` and `useradd` for calls that are busybox's.

    Calls with only long options stay: Debian's own tools have the same ones, or others.
    """
    calls = list(_CALL.finditer(text))
    if not any(match[1] == "addgroup" or re.search(r"\s-[a-zA-Z]", match[2]) for match in calls):
        return text
    return _CALL.sub(lambda match: _converted(match[1], match[2].replace("\\\n", " ")) or match[0], text)


def _converted(tool: str, given: str) -> str:
    """Return Debian's command for one call; empty if it is Debian's or has an option that is not known."""
    redirections = _REDIRECTION.findall(given)
    words = _REDIRECTION.sub(" ", given)
    if re.search(r"[<>]", words) or (re.search(r"\s--\w", words) and not re.search(r"\s-[a-zA-Z]", words)):
        return ""
    options, names = _read(tool, words.split())
    if options is None or not 1 <= len(names) <= 2 or not all(map(_NAME.fullmatch, names)):
        return ""
    return " ".join([_command(tool, options, names), *redirections])


def _command(tool: str, options: dict[str, str], names: Sequence[str]) -> str:
    if len(names) == 2 and (tool == "addgroup" or not options):
        return f"usermod -aG {names[1]} {names[0]}"
    system = ["-r"] if "-S" in options else []
    if tool == "addgroup":
        return " ".join(["groupadd", *system, *_given(options, ("-g", "-g")), names[0]])
    group = options.get("-G") or (names[1] if len(names) == 2 else "")
    found = ["useradd", *system, *_given(options, ("-u", "-u"), ("-g", "-c"))]
    group = group or ("nogroup" if system else "")  # without -r, useradd creates a group, as busybox does
    found += ["-g", group] if group else []
    found += _given(options, ("-h", "-d"), ("-s", "-s"))
    return " ".join([*found, *([] if "-H" in options else ["-m"]), names[0]])


def _read(tool: str, words: Sequence[str]) -> tuple[dict[str, str] | None, list[str]]:
    """Return the options, None if one is unknown, and the other words. busybox accepts options after names, too."""
    options: dict[str, str] = {}
    names: list[str] = []
    rest = [part for word in words for part in re.sub(r"^(--\w[\w-]*)=", r"\1 ", word).split(" ")]
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            names.append(word)
            continue
        if word == "--gid" and tool == "addgroup":
            word = "-g"  # adduser has no such option, and its -g is something else
        letters = word[1:] if not word.startswith("--") else ""
        flags = [f"-{letter}" for letter in letters] or [_LONG.get(word, "?")]
        for number, flag in enumerate(flags, start=1):
            if flag in _VALUE and letters[number:]:
                options[flag] = letters[number:]  # attached: -u1000
                break
            if flag in _VALUE and rest:
                options[flag] = _quoted(rest)
            elif flag in ("-S", "-D", "-H"):
                options[flag] = ""
            else:
                return None, []
    return options, names


def _quoted(rest: list[str]) -> str:
    """Take a value, which may contain spaces in quotes, from the words."""
    value = rest.pop(0)
    while rest and value[:1] in ("'", '"') and (len(value) == 1 or value[-1] != value[0]):
        value += f" {rest.pop(0)}"
    return value


def _given(options: dict[str, str], *pairs: tuple[str, str]) -> list[str]:
    return [word for flag, ours in pairs if flag in options for word in (ours, options[flag])]
