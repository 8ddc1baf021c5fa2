"""Parse `apt-get install` and `apk add` lines in a Dockerfile: the packages they install and their other commands."""

from __future__ import annotations

import re
from collections.abc import Sequence
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
_HEREDOC = re.compile(r"(?P<shell>(?:/bin/)?(?:ba|da)?sh(?:\s+-\w+)*)\s+<<-?\s*([\"']?)\w+\2|<<-?\s*([\"']?)\w+\3")
#: More than commands, each on a line.
_CONTROL = re.compile(r"(?m)^\s*(?:if|for|case|while|until|function)\b|^\s*\w+\s*\(\)|^\s*[{(]|<<|\bdo\s*$")
#: What only bash understands, or understands differently.
_BASH = re.compile(
    r"\[\[|\(\(|[<>]\(|=\(|<<<|&>|\|&|\$'|\$\{\w+(?:\[|/|,|\^|:\w)|\{[^{}\s$]*(?:,|\.\.)[^{}\s]*\}"
    r"|\b(?:pipefail|source|declare|local|shopt|pushd|popd|mapfile|readarray|BASH_\w+)\b|\becho\s+-\w*e|\bread\s+-a"
)
#: What a shell expands before another shell reads the script.
_EXPANDED = re.compile(r"\\[^\n]|`|\$\(|(?m:^\s*(?:export\s+)?\w+=)")
_EXITS = re.compile(r"(?:\S*sh\b|set\b)(?:\s+-\w+)*\s+-[a-z]*e[a-z]*\b.*")
_QUOTED = re.compile(r"""\\.|'[^']*'|"(?:\\.|[^"\\])*\"""")
#: A line whose failure or success, with and without `set -e`, is not that of a chain.
_UNLIKE_A_CHAIN = re.compile(r"^!\s|\|\||(?<![>&])&\s*$|\bset\s+\+")
#: A command that no script expects to fail.
_CERTAIN = re.compile(r"(?:sudo\s+)?(?:set|cargo|rustup|cd|mkdir)\s")


def flat(item: Instruction) -> Instruction:
    """Return a RUN with the commands of a here-document as a chain; unchanged if a chain may differ from the script."""
    options, rest = item.rest[: len(item.rest) - len(syntax.flags(item)[1])], syntax.flags(item)[1].strip()
    head = _HEREDOC.fullmatch(rest) if item.keyword == "RUN" else None
    if not head or _CONTROL.search(item.body) or _BASH.search(item.body):
        return item
    first = item.body.split("\n", maxsplit=1)[0]
    if first.startswith("#!") and not re.search(r"/(?:env\s+)?(?:ba|da)?sh\b", first):
        return item
    if head["shell"] and not head[2] and _EXPANDED.search(item.body):
        return item
    lines = _script_lines(item.body)
    if not _is_a_chain(lines, any(_EXITS.fullmatch(line) for line in (head["shell"] or "", first, *lines[:1]))):
        return item
    chain = ""
    for line in lines:
        chain += ("" if not chain else " " if re.search(r"(?:&&|\|)\s*$", chain) else " && ") + line
    whole = f"{options}{chain or ':'}"
    return replace(item, rest=whole, body="", parts=((item.line, f"RUN {whole}"),))


def _script_lines(body: str) -> list[str]:
    """Return the lines of a shell script, with continued lines joined and without lines that are comments."""
    found, goes_on = list[str](), False
    for line in body.split("\n"):
        if not goes_on and line.lstrip().startswith("#"):
            continue
        found = [*found[:-1], f"{found[-1][:-1]}{line}"] if goes_on else [*found, line]
        goes_on = (len(line) - len(line.rstrip("\\"))) % 2 == 1
    return [line for line in (line.strip().rstrip(";").rstrip() for line in found) if line]


def _is_a_chain(lines: Sequence[str], exits: bool) -> bool:
    """Return whether the lines of a script do the same as a chain. `exits`: the script has `set -e`."""
    for number, line in enumerate(lines):
        bare = _QUOTED.sub("", line)
        if re.search(r"['\"]|(?:^|[\s;&|(])#", bare) or _UNLIKE_A_CHAIN.search(bare):
            return False  # a quote that goes on, or a comment
        several = commands(line)
        ignored = several if not exits else several[:-1]  # those whose failure does not end the script
        if number < len(lines) - 1 and not all(map(_never_fails, ignored)):
            return False
    return True


def _never_fails(command: str) -> bool:
    return bool(_CERTAIN.match(f"{command} ") or _INSTALL.match(command) or TIDY.match(command))


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
