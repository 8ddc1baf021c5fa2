"""Convert busybox's addgroup and adduser to the commands of Debian's `passwd`, which every Debian image has. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: A call and its words, up to the end of the command.
_CALL = re.compile(r"(?<![\w/.-])(add(?:user|group))((?:\s*\\\n\s*|[ \t]+)(?:\\\n|[^;&|)\n])*)(?<![\s\\])")
_VALUE = {"-h", "-g", "-s", "-G", "-u", "-k"}
_LONG = {
    "--home": "-h",
    "--gecos": "-g",
    "--gid": "-g",
    "--shell": "-s",
    "--ingroup": "-G",
    "--uid": "-u",
    "--system": "-S",
    "--disabled-password": "-D",
    "--no-create-home": "-H",
    "--skel": "-k",
}


def convert(text: str) -> str:
    """Return commands with `groupadd` and `useradd` where they use an option that only busybox has."""
    calls = list(_CALL.finditer(text))
    if not any(match[1] == "addgroup" or re.search(r"\s-[a-zA-Z]", match[2]) for match in calls):
        return text
    return _CALL.sub(lambda match: _converted(match[1], match[2].replace("\\\n", " ").split()) or match[0], text)


def _converted(tool: str, words: Sequence[str]) -> str:
    """Return Debian's command for one call; empty if it has an option that is not known."""
    options, names = _read(words)
    if options is None or not 1 <= len(names) <= 2:
        return ""
    if len(names) == 2 and tool == "addgroup":
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


def _read(words: Sequence[str]) -> tuple[dict[str, str] | None, list[str]]:
    """Return the options, None if one is unknown, and the other words. busybox accepts options after names, too."""
    options: dict[str, str] = {}
    names: list[str] = []
    rest = [part for word in words for part in re.sub(r"^(--\w[\w-]*)=", r"\1 ", word).split(" ")]
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            names.append(word)
            continue
        for flag in [_LONG.get(word, "?")] if word.startswith("--") else [f"-{letter}" for letter in word[1:]]:
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
