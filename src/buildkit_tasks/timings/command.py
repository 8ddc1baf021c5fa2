"""`invoke history`: prints the list, or writes the page of the history or of one build."""

from __future__ import annotations

from dataclasses import dataclass

from buildkit_tasks.config.session import Session
from buildkit_tasks.core.errors import Problem


@dataclass(frozen=True)
class Chosen:
    """The flags that take a value, with their defaults."""

    services: tuple[str, ...] = ()
    last: int = 0
    build: int = 0
    output: str = ""

    def given(self) -> dict[str, str]:
        """Return the flags that were given, as on the command line."""
        flags = {"--service": ",".join(self.services), "--last": self.last, "--build": self.build}
        return {flag: f"{flag} {value}" for flag, value in {**flags, "--output": self.output}.items() if value}


def history(session: Session, chosen: Chosen, *, html: bool, timings: bool) -> None:
    """List the recorded builds, or write a page. Problems: bad-argument, and those of the list and the pages."""
    if html and timings:
        raise Problem("bad-argument", "--html and --timings cannot be combined.", hint="run `invoke history --html`")
    _check(chosen, "--timings" if timings else "--html" if html else "")
    if timings:
        from . import write

        write.show(session, chosen.build, chosen.output)
    elif html:
        from . import write

        write.overview(session, chosen.last, chosen.services, chosen.output)
    else:
        from buildkit_tasks.history import listing

        listing.show(session, chosen.last, chosen.services)


#: The flags that each kind of output uses.
_USED = {
    "": ("--service", "--last"),
    "--html": ("--service", "--last", "--output"),
    "--timings": ("--build", "--output"),
}


def _check(chosen: Chosen, mode: str) -> None:
    for flag, words in chosen.given().items():
        if flag not in _USED[mode]:
            modes = [f"{other or 'the list'}" for other, flags in _USED.items() if flag in flags]
            fitting = next(other for other, flags in _USED.items() if flag in flags)
            raise Problem(
                "bad-argument",
                f"{flag} has an effect only with {' or '.join(modes)}.",
                hint=f"run `{' '.join(filter(None, ('invoke history', fitting, words)))}`",
            )
