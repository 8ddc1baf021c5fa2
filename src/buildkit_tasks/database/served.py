"""A database on a server in a compose service: the code that PostgreSQL and MySQL share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command, Result
from buildkit_tasks.dockercli import compose_cli

from .model import Login, checked_name

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class Served:
    """A database on a server. It may not exist yet. The clients run in the service's container."""

    session: Session
    files: tuple[Path, ...]
    service: str
    login: Login
    name: str

    @property
    def described(self) -> str:
        """The name of the database in prompts."""
        return self.name

    def named(self, name: str) -> Self:
        """Return another database on the same server."""
        return replace(self, name=checked_name(name))

    def _said(self, result: Result) -> str:
        """Return the client's error message."""
        return result.stderr.strip() or f"exit code {result.code}"

    def _how_to_create(self, said: str) -> str:
        """Return the command that creates the database, if the client reported that it does not exist."""
        raise NotImplementedError

    def _refused(self, result: Result) -> Problem:
        said = self._said(result)
        hint = self._how_to_create(said) or f"run `invoke logs --service {self.service} --tail 20`"
        return Problem(
            "database-refused",
            f"{self.service} rejected the command for the database {self.name}.",
            causes=[said],
            hint=hint,
        )

    def _lines(self, result: Result) -> list[str]:
        """Return the output lines of a successful client. Problems: database-refused."""
        if result.code != 0:
            raise self._refused(result)
        return [line for line in result.stdout.splitlines() if line]

    def _on_terminal(self, argv: Sequence[str]) -> int:
        """Run a client on the terminal or on piped input."""
        tty = self.session.world.interactive and self.session.world.prints_to_terminal
        return run.foreground(self.session.world, self._command(argv, tty=tty))

    def _feed(self, argv: Sequence[str], script: str) -> Result:
        """Run a client with a script on its standard input."""
        return run.capture(self.session.world, replace(self._command(argv), stdin=script))

    def _pipe(self, argv: Sequence[str], *, source: IO[bytes] | None = None, target: IO[bytes] | None = None) -> None:
        result = run.piped(self.session.world, self._command(argv), source=source, target=target)
        if result.code != 0:
            raise self._refused(result)

    def _command(self, argv: Sequence[str], *, tty: bool = False) -> Command:
        return compose_cli.execute(self.session.root, self.files, self.service, argv, tty=tty)
