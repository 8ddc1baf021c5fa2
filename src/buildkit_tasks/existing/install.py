"""Parse `apt-get install` and `apk add` lines in a Dockerfile: the packages they install and their other commands."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from buildkit_tasks.dockerfiles import syntax
from buildkit_tasks.dockerfiles.syntax import Instruction

_INSTALL = re.compile(
    r"^(?:sudo\s+)?(?:DEBIAN_FRONTEND=\S+\s+)?(?:xx-)?(?:apt-get|apt|apk)\s+(?:-\S+\s+(?:\S+=\S+\s+)?)*(?:install|add)\s+(.*)$",
    re.S,
)
#: Commands that only tidy up around an installation.
TIDY = re.compile(
    r"^(?:sudo\s+)?(?:DEBIAN_FRONTEND=\S+\s+)?(?:(?:xx-)?(?:apt-get|apt|apk)\s+(?:-\S+\s+)*(?:update|(?:dist-|full-)?upgrade|clean|autoclean|autoremove)\b.*"
    r"|rm\s+-\w+\s+[^;|]*(?:/var/lib/apt/lists|/var/cache/(?:apt|apk))\S*.*|set\s+-\w+|true|:)$",
    re.S,
)
#: A command that changes installed packages. An image keeps it; our toolchain stage needs none.
_UPGRADE = re.compile(r"\b(?:(?:dist-|full-)?upgrade|autoremove)\b")
#: A `&` that starts a background job: not `&&` and not a redirection.
_BACKGROUND = r"(?<![>&])&(?![>&])"
_PIECE = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*"|\\.|&&|>&|&>|[&;()]|[^'"\\&;()>]+|.""")
#: More than a chain of commands, or an additional package source.
_MORE = re.compile(rf"{_BACKGROUND}|\$\(|`|\||\b(?:if|for|case|while)\b|>\s*/etc/apt|\bkeyring|deb \[")
_NAME = re.compile(r"[a-z0-9][a-z0-9+.:_=~*-]*")
#: Options that do not affect what is installed, or that our own step uses, too.
_USUAL = re.compile(
    r"-[yqU]+|--(?:yes|assume-yes|quiet|no-install-recommends|no-install-suggests|no-cache|no-progress|update(?:-cache)?)"
)
OPTION_WITH_VALUE = ("-t", "--target-release", "-o", "--repository", "-X", "--virtual")


@dataclass(frozen=True)
class Installed:
    """A RUN that installs packages: which packages, whether including recommended ones, and its other commands.

    `before`: the commands in `rest` that come first. `plain`: only package names and options that our own step uses.
    """

    packages: tuple[str, ...]
    rest: tuple[str, ...] = ()
    recommends: bool = False
    before: tuple[str, ...] = ()
    plain: bool = True


def commands(text: str) -> list[str]:
    """Return the commands of a RUN, each on one line: split at `&&`, `;` and `&` for background jobs.

    Quoted and parenthesized text is not split.
    """
    found, depth = [""], 0
    for piece in _PIECE.findall(" ".join(text.split())):
        depth = max(0, depth + (piece == "(") - (piece == ")"))
        if piece in ("&&", ";", "&") and not depth:
            found.append("")
        else:
            found[-1] += piece
    return [command.strip() for command in found if command.strip()]


#: A RUN with nothing but a shell script in a here-document.
_HEREDOC = re.compile(r"(?:/bin/)?(?:ba|da)?sh(?:\s+-\w+)*\s+<<-?\s*([\"']?)\w+\1|<<-?\s*([\"']?)\w+\2")
#: More than commands, each on a line.
_CONTROL = re.compile(r"(?m)^\s*(?:if|for|case|while|until|function)\b|^\s*\w+\s*\(\)|^\s*[{(]|<<|\bdo\s*$")


def flat(item: Instruction) -> Instruction:
    """Return a RUN with the commands of a here-document as a chain; unchanged if it is more than commands."""
    options, rest = item.rest[: len(item.rest) - len(syntax.flags(item)[1])], syntax.flags(item)[1].strip()
    lines = [line.strip() for line in item.body.replace("\\\n", " ").split("\n")]
    if item.keyword != "RUN" or not _HEREDOC.fullmatch(rest) or _CONTROL.search(item.body):
        return item
    if lines[0].startswith("#!") and not re.search(r"/(?:env\s+)?(?:ba|da)?sh\b", lines[0]):
        return item
    chain = ""
    for line in (line.rstrip(";").rstrip() for line in lines if line and not line.startswith("#")):
        chain += ("" if not chain else " " if re.search(r"(?:&&|\|)\s*$", chain) else " && ") + line
    whole = f"{options}{chain or ':'}"
    return replace(item, rest=whole, body="", parts=((item.line, f"RUN {whole}"),))


_LOOP = re.compile(
    r"\bfor\s+(\w+)\s+in\s+([^;$`()\n]+?)\s*[;\n]\s*do\b(?P<body>(?:(?!\b(?:for|do|done)\b).)*?);?\s*\bdone\b", re.S
)


def unrolled(text: str) -> str:
    """Replace each `for` loop over fixed words with its body, repeated for each word."""

    def body(match: re.Match[str]) -> str:
        uses = re.compile(rf"\$(?:{match[1]}\b|\{{{match[1]}\}})")
        once = match["body"].strip().rstrip(";")
        return "; ".join(uses.sub(lambda _, word=word: word, once) for word in match[2].split())

    return _LOOP.sub(body, text.replace("\\\n", " "))


def split(item: Instruction) -> Installed | None:
    """Split a RUN at each `&&`; return None if it installs nothing or is more than a chain of commands."""
    if item.keyword != "RUN" or item.body or "<<" in item.rest:
        return None
    text = " ".join(syntax.flags(item)[1].split())
    if _MORE.search(text):
        return None
    found: list[str] = []
    rest: list[str] = []
    before: tuple[str, ...] = ()
    plain = True
    for command in commands(text):
        match = _INSTALL.match(command)
        if match:
            before = before if found else tuple(rest)
            found += _names(match[1])
            plain = plain and _is_plain(command)
        elif not TIDY.match(command):
            rest.append(command)
        elif _UPGRADE.search(command):
            plain = False
    if not found:
        return None
    return Installed(tuple(dict.fromkeys(found)), tuple(rest), "recommends" not in text.lower(), before, plain)


def _is_plain(command: str) -> bool:
    """Return whether an installation uses only the usual options and packages from the image's own sources."""
    words = command.split()
    at = next(i for i, word in enumerate(words) if word in ("install", "add"))
    options = [word for word in words if word.startswith("-")]
    names = [word for word in words[at + 1 :] if not word.startswith("-")]
    return all(_USUAL.fullmatch(word) for word in options) and all(_NAME.fullmatch(word) for word in names)


def only_lists(item: Instruction) -> bool:
    """Return whether a RUN only fetches or removes package lists; each install step fetches its own."""
    text = " ".join(syntax.flags(item)[1].split())
    return (
        item.keyword == "RUN"
        and not item.body
        and "upgrade" not in text
        and all(TIDY.match(command) for command in commands(text))
    )


def packages(item: Instruction) -> tuple[str, ...]:
    """Return the packages that an instruction installs, regardless of what else it does."""
    if item.keyword != "RUN":
        return ()
    text = f"{syntax.flags(item)[1]}\n{item.body}"
    found: list[str] = []
    for command in re.split(rf"&&|\|\||;|\n|{_BACKGROUND}", text):
        match = _INSTALL.match(" ".join(command.split()))
        if match:
            found += _names(match[1])
    return tuple(dict.fromkeys(found))


def _names(words: str) -> list[str]:
    found: list[str] = []
    skip = False
    for word in syntax.words(words):
        if skip:
            skip = False
        elif word in OPTION_WITH_VALUE:
            skip = True
        elif not word.startswith(("-", "xx-")) and _NAME.fullmatch(word):
            found.append(word)
    return found
