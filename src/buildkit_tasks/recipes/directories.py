"""Find directories that certainly exist in an image. A COPY to one of them keeps the file's own name."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence

from buildkit_tasks.dockerfiles import syntax
from buildkit_tasks.existing import install, recipe
from buildkit_tasks.existing.recipe import Recipe
from buildkit_tasks.workspaces.tree import Tree

#: Directories in every image with a root file system.
USUAL = frozenset(
    f"/{name}"
    for name in (
        *("", "usr/local/bin", "usr/bin", "bin", "usr/sbin", "usr/local/sbin", "sbin", "opt", "srv", "usr/local"),
        *("usr", "usr/lib", "usr/local/lib", "usr/share", "usr/local/share", "lib", "etc", "home", "root", "tmp"),
        *("var", "var/lib", "var/log", "var/tmp", "mnt", "media", "run"),
    )
)


def made(taken: Recipe, files: Tree, context: str) -> frozenset[str]:
    """Return the directories that the final stages create, and their parents. `context`: the old build context."""
    found: set[str] = set()
    workdir = "/"
    for item in (i for stage in taken.final for i in stage.items):
        if item.keyword == "WORKDIR":
            workdir = posixpath.join(workdir, syntax.expand(item.rest.strip("\"'"), taken.values))
            found |= {workdir, *_above(workdir)}
        elif item.keyword == "RUN":
            for command in install.commands(syntax.expand(f"{syntax.flags(item)[1]}\n{item.body}", taken.values)):
                for path in _created(syntax.words(command)):
                    place = posixpath.normpath(posixpath.join(workdir, path))
                    found |= {place, *_above(place)}
        elif copy := recipe.copied(item, taken.values):
            place = posixpath.normpath(posixpath.join(workdir, copy.destination))
            inside = copy.destination.endswith(("/", "/.")) or len(copy.sources) > 1
            inside = inside or (
                not copy.stage
                and files.is_dir(posixpath.normpath(posixpath.join(context, copy.sources[0].lstrip("/"))))
            )
            found |= {*_above(place), *([place] if inside else [])}
    return frozenset(found)


def _above(path: str) -> Iterator[str]:
    while path not in ("/", ""):
        path = posixpath.dirname(path)
        yield path


#: Options that take the next word as their value.
_VALUED = {
    "mkdir": ("-m", "--mode"),
    "install": ("-m", "-o", "-g", "--mode", "--owner", "--group"),
    "useradd": ("-u", "-g", "-G", "-s", "-c", "-d", "--uid", "--gid", "--groups", "--shell", "--comment", "--home-dir"),
    "adduser": ("-u", "-G", "-s", "-g", "-h", "--uid", "--ingroup", "--gid", "--shell", "--gecos", "--home"),
}


def _created(words: Sequence[str]) -> Iterator[str]:
    """Yield the directories that a command creates: with mkdir, `install -d`, or as the home of a new user."""
    tool = posixpath.basename(words[0]) if words else ""
    valued = _VALUED.get(tool, ())
    options: dict[str, str] = {}
    names: list[str] = []
    rest = list(words[1:])
    while rest:
        word = rest.pop(0)
        option, equals, value = word.partition("=")
        last = f"-{option[-1:]}" if re.fullmatch(r"-\w+", option) else option  # as in `-ms /bin/sh`
        if not word.startswith("-"):
            names.append(word)
        elif equals or last not in valued:
            options[option] = value
        else:
            options |= {option: "", last: rest.pop(0) if rest else ""}
    if tool == "mkdir" or (tool == "install" and "-d" in options):
        yield from (name for name in names if not re.search(r"[$*{]", name))
    if tool not in ("useradd", "adduser") or {"-M", "-H", "--no-create-home"} & options.keys():
        return
    creates = tool == "adduser" or any(re.fullmatch(r"-\w*m\w*|--create-home", option) for option in options)
    home = next((options[o] for o in ("-d", "--home-dir", "--home", "-h") if options.get(o)), "")
    if creates and (home or names):
        yield home or f"/home/{names[0] if tool == 'adduser' else names[-1]}"
