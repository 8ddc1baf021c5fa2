"""All terminal output: results on stdout, progress and messages on stderr. The only module that uses rich."""

from __future__ import annotations

import contextlib
import errno
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from .errors import Problem
from .world import World

if TYPE_CHECKING:
    from rich.console import Console


#: Untrusted characters that can affect a terminal: control characters (except colors), and marks that reorder a line.
_HARMFUL = re.compile(r"(\x1b\[[0-9;]{0,32}m)|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """Replace characters that would move the cursor, rename the window or hide part of a line. Colors stay."""
    if text.isprintable():
        return text
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return _HARMFUL.sub(lambda found: found[1] or "\ufffd", lines)


#: User and password in a URL or a registry name; not an image's tag before its digest. Can only start where such a word
#: starts, because the text may be long and from anyone: each character is examined a few times at most.
_LOGIN = re.compile(r"(?<![^\s/@\"'])[^\s/@:\"']*:[^\s/@\"']*@(?=[\w\[])(?!sha256:[0-9a-f]{64})")


def without_login(text: str) -> str:
    """Return the text with `***` in place of the user and password of each address."""
    if "@" not in text:
        return text
    return _LOGIN.sub(lambda found: "***@" if _is_login(text, found.start()) else found[0], text)


def _is_login(text: str, at: int) -> bool:
    """Whether a word that starts here can be a login: not in the middle of a path."""
    return text[max(0, at - 1) : at] not in ("/", "@") or text[max(0, at - 3) : at] == "://"


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None:
        raise OSError(errno.EBADF, "it is closed")
    try:
        stream.write(text)
    except UnicodeEncodeError:  # the encoding lacks this character, or a name is not UTF-8
        encoding = stream.encoding or "utf-8"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def _progress(text: str) -> None:
    """Print to stderr. If that fails (closed terminal, full disk), the work continues."""
    with contextlib.suppress(OSError, ValueError):
        _write(sys.stderr, visible(text))


def output_failed(error: OSError) -> Problem:
    """Return the problem if standard output cannot be written."""
    return Problem(
        "output-failed",
        f"Cannot write the result to standard output: {error.strerror}.",
        hint="free up disk space or write the output somewhere else, then rerun the command",
    )


class Report:
    """The output of a run. With `json_only`, stdout is a single JSON document and progress is hidden."""

    def __init__(self, world: World, *, json_only: bool = False, yes: bool = False) -> None:
        self.world = world
        self.json_only = json_only
        self.yes = yes
        self._console: Console | None = None
        self._document: dict[str, Any] | None = None
        self.masked: Callable[[str], str] = without_login  # the session of a project adds the values of its .env

    @property
    def fancy(self) -> bool:
        """Whether this is an interactive terminal. Never in CI and for dumb terminals."""
        return self.world.tty and not self.world.ci and not self.json_only and self.world.env.get("TERM") != "dumb"

    @property
    def console(self) -> Console:
        """A rich console on stderr; imported late, because importing rich takes 70 ms."""
        if self._console is None:
            from rich.console import Console

            self._console = Console(stderr=True, highlight=False, no_color="NO_COLOR" in self.world.env)
        return self._console

    def say(self, line: str = "", *, style: str = "") -> None:
        """Print one line of progress to stderr."""
        if self.json_only:
            return
        if style and self.fancy:
            self.console.print(visible(line), style=style, markup=False, soft_wrap=True)
        else:
            _progress(line + "\n")

    def mark(self, line: str) -> None:
        """Print one of our own lines for a CI system to stderr, with its control characters; an empty line: nothing."""
        if line and not self.json_only:
            with contextlib.suppress(OSError, ValueError):
                _write(sys.stderr, line + "\n")

    def warn(self, line: str) -> None:
        """Print a warning to stderr, even with `--json`: stdout contains only the result."""
        _progress(f"warning: {self.masked(line)}\n")

    def bell(self) -> None:
        """Ring the terminal's bell, if there is a terminal."""
        if self.world.tty:
            with contextlib.suppress(OSError, ValueError):
                _write(sys.stderr, "\a")  # `_progress` would escape the character

    def answer(self, text: str) -> None:
        """Print the result to stdout. Problems: output-failed. Raises BrokenPipeError if the reader closed the pipe."""
        if self.world.prints_to_terminal:  # when piped, the text is passed on unchanged
            text = visible(text)
        try:
            _write(sys.stdout, text if text.endswith("\n") else text + "\n")
        except BrokenPipeError:
            raise
        except OSError as error:
            raise output_failed(error) from None

    def envelope(self, content: dict[str, Any]) -> None:
        """Add to the single versioned JSON document of a `--json` call, which `finish` prints."""
        self._document = {**(self._document or {"schema": 1}), **content}

    def finish(self) -> None:
        """Print the JSON document, if there is one. A run that fails after its result still prints only one."""
        document, self._document = self._document, None
        if document is not None:
            self.answer(json.dumps(document, indent=2, default=str))

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> None:
        """Print a table as the result: aligned plain text, one line per row, suitable for pipes and pasting."""
        rows = [[visible(str(cell)).replace("\n", " ") for cell in row] for row in rows]
        widths = [max(len(r[i]) for r in [headings, *rows]) for i in range(len(headings))]
        lines = [title] if title else []
        lines.append("  ".join(h.ljust(w) for h, w in zip(headings, widths, strict=True)).rstrip())
        lines += ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]
        self.answer("\n".join(lines))

    def problem(self, problem: Problem) -> None:
        """Print an expected failure to stderr, as the last output. Masks .env values in other programs' output."""
        problem = Problem(
            problem.code,
            self.masked(problem.message),
            causes=[self.masked(cause) for cause in problem.causes],
            hint=without_login(problem.hint),  # our own command, for pasting
            details=self.masked(problem.details),
        )
        if self.fancy and problem.details:
            _progress(problem.details.rstrip("\n") + "\n")
        if self.fancy:
            bare = Problem(problem.code, problem.message, causes=problem.causes, hint=problem.hint)
            first, *rest = visible(bare.text()).split("\n")
            self.console.print(first, style="bold red", markup=False, soft_wrap=True)
            for line in rest:
                self.console.print(line, markup=False, soft_wrap=True)
        else:
            _progress(problem.text() + "\n")
        if self.json_only:
            self.envelope(
                {
                    "error": {
                        "code": problem.code,
                        "message": problem.message,
                        "causes": list(problem.causes),
                        "hint": problem.hint,
                    }
                }
            )

    def consent(self, what: str) -> bool:
        """Ask before changing the user's system; `--yes` answers yes. Raises `Problem` if there is no terminal."""
        if self.yes:
            return True
        if not self.world.interactive:
            raise Problem("consent-missing", f"Confirmation required: {what}.", hint="rerun the command with --yes")
        _progress(f"{what}\nContinue? [y/N] ")
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def typed(self, what: str, word: str, given: str = "") -> bool:
        """Ask before a change that affects other projects: the user must type or pass the word, not just `--yes`."""
        if given or not self.world.interactive:
            if given == word:
                return True
            raise Problem("consent-missing", f"Confirmation required: {what}.", hint=f"pass --confirm {word}")
        _progress(f"{what}\nType {word!r} to continue: ")
        return sys.stdin.readline().strip() == word

    @contextlib.contextmanager
    def step(self, number: int, total: int, what: str, coming: str = "") -> Iterator[None]:
        """Announce a step of a longer flow, then print how long it took."""
        self.say(f"[{number}/{total}] {what}" + (f"   (next: {coming})" if coming else ""), style="bold")
        began = self.world.clock()
        yield
        self.say(f"[{number}/{total}] {what}: done in {self.world.clock() - began:.1f} s", style="green")
