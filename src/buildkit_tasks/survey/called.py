"""Find preinstalled programs that an image's commands call, such as `wget` in a health check.

An image on another base has to install them. Pure.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from buildkit_tasks.dockerfiles import syntax
from buildkit_tasks.dockerfiles.syntax import Instruction
from buildkit_tasks.existing import recipe
from buildkit_tasks.workspaces.tree import Tree

from .finding import Service

#: BusyBox programs that Debian's slim image lacks, with the Debian packages that provide them.
_BUSYBOX = {
    **{name: name for name in ("wget", "unzip", "cpio", "less", "bc", "patch", "ed", "lsof", "tree", "traceroute")},
    **{name: name for name in ("telnet", "xxd", "dos2unix")},
    **dict.fromkeys(("ps", "pgrep", "pkill", "top", "free", "watch", "uptime"), "procps"),
    **dict.fromkeys(("killall", "fuser"), "psmisc"),
    **dict.fromkeys(("ifconfig", "netstat", "route", "arp"), "net-tools"),
    **dict.fromkeys(("bzip2", "bunzip2"), "bzip2"),
    **dict.fromkeys(("xz", "unxz"), "xz-utils"),
    "nc": "netcat-openbsd",
    "ping": "iputils-ping",
    "nslookup": "dnsutils",
    "ip": "iproute2",
    "vi": "vim-tiny",
    "hexdump": "bsdextrautils",
    "crond": "cron",
}
#: The same for the full Rust images, which are based on buildpack-deps.
_BUILDPACK = {
    **{name: name for name in ("curl", "wget", "git", "openssl", "unzip", "perl", "python3", "make", "patch", "file")},
    **dict.fromkeys(("ps", "pgrep", "pkill", "top", "free", "watch", "uptime"), "procps"),
    "bzip2": "bzip2",
    "xz": "xz-utils",
    "ssh": "openssh-client",
    "hg": "mercurial",
    "svn": "subversion",
}
_BASES = (
    (re.compile(r"(?:.*/)?(?:alpine|busybox)(?:[:@].*)?|(?:.*/)?\w+:[\w.-]*alpine[\w.-]*"), _BUSYBOX),
    (re.compile(r"(?:.*/)?(?:rust|buildpack-deps)(?:[:@](?!.*(?:slim|alpine)).*)?"), _BUILDPACK),
)
_KEYWORD = re.compile(
    r"(?:then|do|else|elif|if|while|until|!|exec|sudo|time|timeout(?:\s+-\S+)*\s+\d\S*|[A-Za-z_]\w*=\S*)\s+"
)


def packages(image: str, texts: Iterable[str]) -> tuple[str, ...]:
    """Return the Debian packages for programs that shell scripts call and that are preinstalled in `image`."""
    there = next((tools for pattern, tools in _BASES if pattern.fullmatch(image)), {})
    names = {name for text in texts for name in _names(text)} if there else set()
    return tuple(sorted({package for name, package in there.items() if name in names}))


def of(files: Tree, service: Service, entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a service's containers and image build run, as shell scripts. `entry`: the compose service."""
    taken = service.recipe
    stages = taken.image if taken else ()
    items = [item for stage in stages for item in stage.items]
    copies = [recipe.copied(item, taken.values if taken else {}) for item in items]
    paths = [
        posixpath.normpath(posixpath.join(service.context, s)) for c in copies if c and not c.stage for s in c.sources
    ]
    texts = (files.text(path) for path in paths if files.has(path))
    scripts = (text for text in texts if re.match(r"#!\s*\S*/(?:env\s+)?(?:ba|da|a)?sh\b", text))
    return (*_of_items(items), *_of_entry(entry), *scripts)


def cargo(files: Tree, service: Service, entry: Mapping[str, Any]) -> str:
    """Return the command that runs cargo in a service's containers; empty if none does or if their image has cargo.

    `cargo run` in the Dockerfile's own CMD does not count: it becomes the program.
    """
    taken = service.recipe
    if taken and taken.final and re.search(r"(?:^|/)rust(?:[:@-]|$)", taken.runtime):
        return ""
    start, arguments = (_joined(entry.get(name)) for name in ("entrypoint", "command"))
    if taken and not start:
        items = [item for stage in taken.image for item in stage.items]
        start, own = (
            next((item.rest for item in reversed(items) if item.keyword == keyword), "")
            for keyword in ("ENTRYPOINT", "CMD")
        )
        start, own = (re.sub(r"\bcargo\s+run\b", ":", _joined(syntax.json_words(t) or t)) for t in (start, own))
        arguments = arguments or own
    # in an image that never had cargo, a script's call is never reached
    scripts = not (taken and taken.final)
    return next((text for text in (start, arguments) if _runs_cargo(files, service.context, text, scripts)), "")


def _joined(given: object) -> str:
    return shlex.join(map(str, given)) if isinstance(given, (list, tuple)) else str(given or "")


def _runs_cargo(files: Tree, context: str, command: str, in_scripts: bool) -> bool:
    """Return whether a command calls cargo, itself or in a shell script of the build context."""
    if "cargo" in _names(command) or not in_scripts:
        return "cargo" in _names(command)
    names = {posixpath.basename(word) for word in syntax.words(command) if word.endswith(".sh")}
    scripts = [path for path in files.below(context) if posixpath.basename(path) in names]
    return len(scripts) == 1 and "cargo" in _names(files.text(scripts[0]))


def _of_items(items: Iterable[Instruction]) -> Iterator[str]:
    for item in items:
        rest = syntax.flags(item)[1] if item.keyword == "RUN" else item.rest
        if item.keyword == "HEALTHCHECK":
            rest = rest.partition("CMD")[2]
        if item.keyword in ("RUN", "CMD", "ENTRYPOINT", "HEALTHCHECK"):
            given = syntax.json_words(rest.strip())
            yield shlex.join(given) if given else f"{rest}\n{item.body}"


def _of_entry(entry: Mapping[str, Any]) -> Iterator[str]:
    check = entry.get("healthcheck")
    test = check.get("test") if isinstance(check, dict) and not check.get("disable") else None
    if isinstance(test, list) and test:
        test = " ".join(map(str, test[1:])) if test[0] == "CMD-SHELL" else test[1:]
    for given in (test, entry.get("entrypoint"), entry.get("command")):
        if given:
            yield shlex.join(map(str, given)) if isinstance(given, list) else str(given)


def _names(text: str) -> Iterator[str]:
    """Yield the programs that a shell script calls."""
    text = re.sub(r"\\\n", " ", text)
    for quoted in re.finditer(r"""\s-l?c\s+(?:"((?:\\.|[^"\\])*)"|'([^']*)')""", text):
        yield from _names(quoted[1] or quoted[2] or "")
    for line in re.split(r"&&|\|\||\$\(|[;|&(){}\n`]", text):
        command = line.strip()
        while match := _KEYWORD.match(command):
            command = command[match.end() :].lstrip()
        word = posixpath.basename(command.split()[0].strip("\"'")) if command else ""
        if word and not command.startswith("#"):
            yield word
