"""The grammar of image references: https://github.com/distribution/reference/blob/main/regexp.go. Pure."""

from __future__ import annotations

import re

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
#: A registry, without a port.
HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
#: The name of a repository in its registry.
PATH = rf"(?P<path>{_PART}(?:/{_PART})*)"

_DIGEST = "sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}"
_REFERENCE = re.compile(rf"(?:{HOST}(?::[0-9]+)?/)?{PATH}(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(?:@(?:{_DIGEST}))?")
#: docker takes 64 hexadecimal digits for an image id.
_IDENTIFIER = re.compile("[0-9a-f]{64}")
_LONGEST = 255


def valid(text: str) -> bool:
    """Return whether a text is an image reference. If not, docker and BuildKit reject it without asking a registry."""
    found = _REFERENCE.fullmatch(text)
    return found is not None and len(found["path"]) <= _LONGEST and not _IDENTIFIER.fullmatch(text)
