"""What a command becomes: a call to a task, or the reason why it is kept. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from .words import Word


@dataclass(frozen=True)
class Call:
    """A task and its arguments as written to the file. `env`: variables set before it; `note`: how it differs."""

    task: str
    words: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    note: str = ""

    def text(self, invoke: str) -> str:
        """Return the command line."""
        return " ".join((*self.env, *([invoke] if invoke else []), self.task, *self.words))


@dataclass(frozen=True)
class Stays:
    """No task does the same. `perhaps`: the closest task, which the user may choose."""

    why: str
    perhaps: Call | None = None


@dataclass(frozen=True)
class Facts:
    """The known facts about the file and its project.

    `compose_files`: the names of the files that compose reads by default. `services`: None if compose was not queried.
    `images`, `databases`: image names and databases, each with its service. `exported`: variables exported to recipes.
    `elsewhere`: the directory of the file, if it is not the project's. `service_word`: converts a reference that may
    expand to any number of services into flags.
    """

    compose_files: tuple[str, ...] = ()
    services: tuple[str, ...] | None = None
    images: Mapping[str, str] = field(default_factory=dict)
    databases: Mapping[str, str] = field(default_factory=dict)
    exported: tuple[str, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    elsewhere: str = ""
    service_word: Callable[[str], str] = str


class Unfit(Exception):
    """Stops mapping a command; `perhaps` as in `Stays`."""

    def __init__(self, why: str, perhaps: Call | None = None) -> None:
        super().__init__(why)
        self.perhaps = perhaps


@dataclass
class Words:
    """The arguments of a command, consumed one at a time."""

    left: list[Word]

    def __bool__(self) -> bool:
        return bool(self.left)

    def take(self) -> Word:
        """Return the next word."""
        return self.left.pop(0)

    def value(self, word: Word, *flags: str) -> Word | None:
        """Return the value if `word` is one of these flags, `--flag value`, `--flag=value` or `-fvalue`; else None."""
        if word.value is None and not word.raw.startswith("-"):
            return None
        written = word.value if word.value is not None else word.raw
        for flag in flags:
            if written == flag:
                if not self.left:
                    raise Unfit(f"{flag} has no value")
                return self.take()
            lead = f"{flag}=" if flag.startswith("--") else flag
            if written.startswith(lead) and len(written) > len(lead):
                if not word.raw.startswith(lead):
                    raise Unfit(f"the flag {flag} is quoted or contains variables")
                return Word(word.raw.removeprefix(lead), None if word.value is None else written[len(lead) :])
        return None


def is_local(text: str) -> bool:
    """Return whether an address is localhost, which is a different host inside a container."""
    return bool(re.search(r"\blocalhost\b|\b127\.\d|\[::1\]|\b0\.0\.0\.0\b", text))


def raws(words: Sequence[Word]) -> tuple[str, ...]:
    """Return the words as written."""
    return tuple(word.raw for word in words)
