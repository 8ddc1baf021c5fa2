"""Where a Dockerfile of our recipe puts a service's program in its image. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from . import syntax
from .document import Dockerfile

#: Where the recipe puts it that was not made from a Dockerfile that was there before.
USUAL = "/usr/local/bin/service"


def place(file: Dockerfile, args: Mapping[str, str], target: str, binary: str) -> str:
    """The path in the image of the program that the compile step leaves at `…/BINARY/bin/service`.

    `USUAL` if the stages that the image is made from copy no such file, as when BuildKit alone can read them.
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
