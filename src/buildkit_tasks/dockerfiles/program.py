"""Finds the path of a service's program in an image built from our recipe's Dockerfile. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from . import syntax
from .document import Dockerfile

#: The path in recipes that were not created from an existing Dockerfile.
USUAL = "/usr/local/bin/service"


def place(file: Dockerfile, args: Mapping[str, str], target: str, binary: str) -> str:
    """Return the path in the image of the program, which is copied from the compile step's `…/BINARY/bin/service`.

    `USUAL` if no stage of the image copies such a file, for example because only BuildKit can parse the Dockerfile.
    """
    numbers = {stage.number for stage in file.needs(args, target).stages}
    values = {**syntax.defaults(file.text), **args}
    number, directories = -1, {-1: "/"}
    found = ""
    for item in file.items:
        if item.keyword == "FROM":
            number += 1
            directories[number] = "/"
        elif item.keyword == "WORKDIR":
            directories[number] = posixpath.join(directories[number], syntax.expand(item.rest, values))
        elif item.keyword == "COPY" and number in numbers:
            rest = syntax.flags(item)[1]
            words = [syntax.expand(word, values) for word in syntax.json_words(rest) or syntax.words(rest)]
            for source in words[:-1]:
                if source.endswith(f"/{binary}/bin/service"):
                    end = posixpath.join(directories[number], words[-1])
                    found = posixpath.join(end, "service") if end.endswith("/") else end
    return posixpath.normpath(found or USUAL)
