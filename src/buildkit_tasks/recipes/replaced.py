"""Recognize commands of a compile stage that our own compile step replaces."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Sequence

from buildkit_tasks.dockerfiles import syntax
from buildkit_tasks.existing import install

_REPLACED = re.compile(
    r"cargo\s+(?:\+\S+\s+)?(?:auditable\s+)?(?:build|b|fetch|chef|vendor|check|clean|rustc|zigbuild|generate-lockfile|update|init|new|install\b(?=.*--path))\b"
    r"|fn main|\b(?:cp|mv)\b.*\btarget\b"
    r"|\btouch\b.*\.rs|^\s*(?:cp|mv|install|strip|objcopy|upx)\b.*\btarget/|^\s*(?:cp|mv|strip)\b"
    r"|^\s*mkdir\b|\brm\b.*(?:src|target|deps|\.rs)|cargo-chef|sccache|^\s*(?:ls|echo|cd|pwd|cat|USER|find|du|file|ldd|rmdir)\b"
    r"|\brm\b.*\b(?:CARGO_HOME\}?|cargo)/(?:registry|git)\b"
    r"|\bxx-(?:info|verify|cargo|clang|go|windres)\b|/env-cargo\b"
    r"|^\s*(?:cargo|rustc|rustup)\s+(?:-V|-vV|--version|show)\b",
    re.M,
)
#: Commands in `_REPLACED` that may also prepare the toolchain: `mkdir`, `cd` and `mv` around a download.
_AROUND = re.compile(r"\s*(?:cp|mv|mkdir|rm|ls|echo|cd|pwd|cat|find|du|file|ldd)\b")
#: More than a chain of commands: not split.
SCRIPT = re.compile(r"<<|\bif\b|\bfor\b|\bcase\b")
RUSTUP = re.compile(r"^\s*rustup\s")
TOOL = re.compile(r"cargo\s+(?:\+\S+\s+)?(?:b?install)\b(?!.*--path)")
#: A command that does not touch the sources but prepares the build environment.
SETTINGS = re.compile(
    r"git\s+config\s+(?:-\S+\s+)*--(?:global|system)\b|ssh-keyscan\b|ldconfig\b|update-(?:ca-certificates|alternatives)\b"
)
#: A command that only checks whether an argument has a value, before a compilation that uses it.
_GUARD = re.compile(
    r"""\s*(?:(?:test|\[\[?)\s+(?:!\s+)?-[nz]\s+["']?\$\{?\w+\}?["']?(?:\s+\]\]?)?\s*(?:\|\||&&)"""
    r"""|if\s+(?:test|\[\[?)\s+(?:!\s+)?-[nz]\s+["']?\$\{?\w+\}?["']?(?:\s+\]\]?)?\s*;\s*then\b(?:(?!\b(?:if|fi)\b).)*"""
    r"""\bexit\s+[1-9]\d*\s*;?\s*fi\s*$|:\s+["']?\$\{\w+:?\?)""",
    re.DOTALL,
)
#: A command that downloads a program into a system directory.
DOWNLOADS = re.compile(r"\b(?:curl|wget)\s(?:.|\n)*\s/(?:usr|opt|bin|sbin|root)\b")
#: Git's own directory, which the build context does not contain, and commands that read it.
GIT = re.compile(r"(?:\./)?\.git(?:/|$)")
CLONES = re.compile(r"\bgit\s+(?:-\S+\s+(?:\S+=\S+\s+)?)*(?:clone|init)\b")
READS_GIT = re.compile(r"\bgit\s+(?!clone\b|config\b|init\b|-c\b|apply\b)")
#: A command that compiles or installs with cargo.
CARGO_RUNS = re.compile(
    r"\bcargo\s+(?:\+\S+\s+)?(?:auditable\s+)?(?:build|b|install|rustc|zigbuild|run|r|xtask|chef)\b"
)


def checks_argument(part: str) -> bool:
    """Return whether a command does nothing but fail if an argument has no value."""
    return bool(_GUARD.match(part) and re.search(r"\bfalse\b|\bexit\s+[1-9]|\$\{\w+:?\?", part))


#: What precedes a command in a shell script, and words that are not commands.
_SYNTAX = re.compile(
    r"\s*(?:(?:then|else|elif|if|while|until|do|!|\{|\()(?=\s|$)|for\b.*|case\b.*?\bin(?=\s|$)"
    r"|(?:fi|done|esac|\}|\))(?=\s|;|$)|;;|\(?[^\s()$]*(?:\s*\|\s*[^\s()$]+)*\)(?=\s))"
)
#: Commands in a script that change nothing, or only what the compilation uses.
_NO_CHANGE = re.compile(
    r"\s*(?:(?:test|\[\[?|exit|return|true|false|:|set|export|unset|shift|local|printf|sleep|uname|rustup)(?=\s|$)|\w+=)"
    r"|\s*(?:cp|mv|install|ln|strip|chmod|objcopy)\b.*(?:\btarget\b|TARGET_DIR|\brelease/|\bdebug/)|\s*$"
)


def is_replaced(part: str) -> bool:
    """Return whether each command is part of the compilation that our step replaces. In a script, at least one is, and
    the others change nothing."""
    if SCRIPT.search(part):
        return _REPLACED.search(part) is not None and not others(part)
    return all(_REPLACED.search(command) or _ASSIGNS.fullmatch(command) for command in install.commands(part))


#: An assignment, which affects only later commands of the same RUN.
_ASSIGNS = re.compile(r"[A-Za-z_]\w*=(?:\"?\$\([^()]*(?:\([^()]*\)[^()]*)*\)\"?|\"[^\"]*\"|'[^']*'|\S*)")


def others(script: str) -> list[str]:
    """Return the commands in a script that are not part of a compilation and change something."""
    found = []
    for line in re.sub(r"\\\n", " ", script).split("\n"):
        for command in re.split(r"&&|\|\||;;|;", line):
            bare = command
            while match := _SYNTAX.match(bare):
                bare = bare[match.end() :]
            if not (_NO_CHANGE.match(bare) or _REPLACED.search(bare) or install.TIDY.match(bare.strip())):
                found.append(bare.strip())
    return found


def chains(parts: Sequence[str]) -> list[str]:
    """Group the commands of a RUN before the sources are copied. Commands that prepare the toolchain stay together,
    because `cd`, `mkdir` and variables affect later commands. Compiling (an empty program) and rustup stand alone.
    """
    found: list[list[str]] = [[]]
    for part in parts:
        around = _AROUND.match(part) and not re.search(r"\bfn main|\btarget/|\.rs\b|\b(?:registry|git)\b", part)
        alone = RUSTUP.match(part) or TOOL.search(part) or (_REPLACED.search(part) and not around) or "\n" in part
        found += [[part], []] if alone else []
        if not alone:
            found[-1].append(part)
    return [" && ".join(chain) for chain in found if chain]


#: A directory of cargo's output: `release`, `debug`, that of a platform, or one that a variable selects.
_OUTPUT = re.compile(r"/target/(?:[^/]*(?:release|debug|\$|-linux-)|\w+/[\w.-]+$)|/target/?$")


def fills(part: str, workdir: str, shipped: Collection[str]) -> bool:
    """Return whether a command fills a directory in `target/` that an image copies and cargo does not write to, such as
    `target/site`. `shipped`: paths that images copy."""
    words = re.sub(r"[\"']", "", part).split()
    if not words or words[0] not in ("mkdir", "cp", "mv", "install", "rsync") or "&&" in words:
        return False
    targets = words if words[0] == "mkdir" else words[-1:]
    places = {posixpath.normpath(posixpath.join(workdir, word)) for word in targets}
    wanted = [path for path in shipped if "/target/" in path and not _OUTPUT.search(path)]
    return any(place == path or place.startswith(f"{path}/") for place in places for path in wanted)


def _written(text: str) -> set[str]:
    return {posixpath.normpath(path) for path in re.findall(r">>?\s*(/[\w./-]+)", text)}


def writes_shipped(part: str, workdir: str, shipped: Collection[str]) -> bool:
    """Return whether a command writes a file that an image copies, other than cargo's output."""
    system = {path for path in _written(part) if re.match(r"/(?:etc|usr|opt)/", path)}
    return bool(system & set(shipped)) or fills(part, workdir, shipped)


def writes_for_an_image(text: str, shipped: Collection[str], is_source: Callable[[str], bool]) -> bool:
    """Return whether a command only writes a file for an image, outside the sources: `echo ... > /etc/info`.

    A command that may read the sources, such as `git rev-parse`, does more. `is_source`: whether a path is one.
    """
    return (
        bool(_written(text) & set(shipped))
        and not re.search(r"(?:^|[\s;&|(])(?:cp|mv|cd|git|(?:ba)?sh|python3?|\.{1,2}/\S+)\s", text)
        and not any(_reads(match[1], match[2], is_source) for match in _FILTER.finditer(text))
    )


#: A command that reads the files it names, and its words.
_FILTER = re.compile(r"(?:^|[\s;&|(])(cat|grep|sed|awk|jq|head)\s((?:\"[^\"]*\"|'[^']*'|[^;&|)\n\"'])*)")


def _reads(tool: str, words: str, is_source: Callable[[str], bool]) -> bool:
    """Return whether a command may read a source: it names a relative path or a source, or searches directories."""
    words = re.sub(r"\d*(?:>>?|<)\s*\S+", " ", words)
    options = [word for word in syntax.words(words) if word.startswith("-")]
    names = [word for word in syntax.words(words) if not word.startswith("-")]
    if options and tool != "cat" and not all(re.fullmatch(r"-[EFciqnovwhs]+", word) for word in options):
        return True  # its value may be a path, or the script
    files = names[1:] if tool in ("grep", "sed", "awk", "jq") else names
    return not all(path.startswith("/") and not is_source(posixpath.normpath(path)) for path in files)
