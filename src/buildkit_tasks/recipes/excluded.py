"""Keep excluding what the repository's own ignore files exclude from directories that images copy.

This applies only inside these directories. Files that the compiler reads are always included, because a repository
may exclude them and use stubs instead.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from buildkit_tasks.dockerfiles.ignore import Ignore, compiled
from buildkit_tasks.survey.finding import Service
from buildkit_tasks.workspaces.tree import Tree

Parts = tuple[str, ...]


def text_of(files: Tree, service: Service) -> str:
    """Return the ignore file that applied to a service's build; empty if there is none."""
    own = f"{service.recipe.path}.dockerignore" if service.recipe else ""
    return files.text(own if files.has(own) else posixpath.join(service.context, ".dockerignore").removeprefix("./"))


def sends(files: Tree, service: Service, path: str) -> bool:
    """Return whether a file was in the context of a service's build."""
    place = posixpath.relpath(path, service.context)
    try:
        return not place.startswith("../") and not Ignore.parse(text_of(files, service)).excludes(place)
    except ValueError:
        return False


def lines(files: Tree, services: Sequence[Service], directory: str) -> list[str]:
    """Return the lines of the services' ignore files that apply inside a copied directory, relative to the root.

    Empty if the services disagree, because no image may lack a file.
    """
    found = [
        _inside(text_of(files, service), service.context, directory)
        for service in services
        if service.context == "." or f"{directory}/".startswith(f"{service.context}/")
    ]
    return found[0] if found and all(other == found[0] for other in found) else []


def _inside(text: str, context: str, directory: str) -> list[str]:
    try:
        ignore = Ignore.parse(text)
    except ValueError:
        return []  # docker rejects it, too
    path = _parts(posixpath.relpath(directory, context))
    # patterns that match the directory or a parent also match everything in it
    matched = [False] * len(ignore.patterns)
    for end in range(1, len(path) + 1):
        _, matched = ignore.matches("/".join(path[:end]), matched)
    found: list[tuple[bool, Parts]] = []
    for pattern, hit in zip(ignore.patterns, matched, strict=True):
        if hit:
            found = [(pattern.exception, ())]
        else:
            rests = {rest for form in _forms(_parts(_joined(pattern.text))) for rest in _rest(form, path)} - {()}
            found += [(pattern.exception, rest) for rest in sorted(rests)]
    if found[:1] == [(False, ())] and not any(exception for exception, _ in found):
        return []  # excluded as a whole, so copying it failed
    if found[:1] == [(True, ())]:
        del found[0]
    if all(exception for exception, _ in found):
        return []
    place = re.sub(r"([*?\[\]\\])", r"\\\1", directory)
    return [("!" if exception else "") + posixpath.join(place, *rest) for exception, rest in found]


def _parts(path: str) -> Parts:
    return tuple(part for part in path.split("/") if part not in ("", "."))


def _joined(pattern: str) -> str:
    """Return `a**/b` as BuildKit reads it: the `/` is part of the `**`."""
    return re.sub(r"(?<=[^/*])\*\*/", "**", re.sub(r"(?:\*\*/)+(?=\*\*)", "", pattern))


def _forms(parts: Parts) -> list[Parts]:
    """Expand a pattern until each `**` stands alone: `a**b` is `ab`, or `b` anywhere below a directory `a*`."""
    for at, part in enumerate(parts):
        if "**" in part and part != "**":
            start, _, end = part.partition("**")
            several = [(f"{start}{end}",), (f"{start}*", "**", end)] if end else [(f"{start}*",), (f"{start}*", "**")]
            return [form for middle in several for form in _forms((*parts[:at], *middle, *parts[at + 1 :]))]
    return [parts]


def _rest(pattern: Parts, path: Parts) -> set[Parts]:
    """Return the rest of a pattern below a path; `()` if it matches the path or a parent directory."""
    if not path or not pattern:
        return {pattern if not path else ()}
    if pattern[0] == "**":
        return _rest(pattern[1:], path) | _rest(pattern, path[1:])
    if compiled(pattern[0]).fullmatch(path[0]):
        return _rest(pattern[1:], path[1:])
    return set()
