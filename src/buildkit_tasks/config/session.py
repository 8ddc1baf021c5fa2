"""The session passed to every flow: the world, the report, and the project's settings, loaded on first use."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.report import Report
from buildkit_tasks.core.world import World

from . import root as project_root

if TYPE_CHECKING:  # imported late: neither `--list` nor an up-to-date build needs settings or .env
    from .settings import Settings
    from .settings_load import Loaded, Origin

#: Maximum number of Dockerfiles to search for values that are not secret.
_DOCKERFILES = 20


class Session:
    """One run of a task. `flags`: settings from the command line, by GROUP.NAME. `extra`: the arguments after `--`."""

    def __init__(
        self, world: World, report: Report, flags: Mapping[str, str] | None = None, extra: Sequence[str] = ()
    ) -> None:
        if world.env.get("COMPOSE_ENV_FILES"):  # compose runs in the project's directory
            files = (str(world.cwd / part) for part in world.env["COMPOSE_ENV_FILES"].split(","))
            world = replace(world, env={**world.env, "COMPOSE_ENV_FILES": ",".join(files)})
        self.world = world
        self.report = report
        self.flags = dict(flags or {})
        self.extra = tuple(extra)
        self._builder = ""
        #: Whether image registries respond, by mirror ("" = none set); contains only those that this run has queried.
        self.registries: dict[str, bool] = {}
        report.masked = self._masked_anyway

    @cached_property
    def root(self) -> Path:
        """The project's directory. Raises `Problem` no-project outside a project."""
        return project_root.find_root(self.world)

    @property
    def compose_files(self) -> tuple[Path, ...]:
        """The files to pass to compose; empty if compose should find them by its own rules.

        COMPOSE_FILE is relative to the user's working directory, but compose runs in the project's directory.
        """
        given, folder = self.settings.project.compose_file, self.root
        if not given and self.world.cwd != self.root:
            given, folder = self.world.env.get("COMPOSE_FILE", ""), self.world.cwd
        return tuple(folder / part for part in given.split(self.compose_separator) if part) if given else ()

    @property
    def compose_separator(self) -> str:
        """The separator in COMPOSE_FILE and in the project.compose_file setting."""
        name = "COMPOSE_PATH_SEPARATOR"
        found = self.world.env.get(name)
        if not found:
            with contextlib.suppress(Problem):  # compose reports a .env that it cannot read, if it reads this one
                found = (self._root_dotenv if self._usual_dotenv else self.dotenv).get(name)
        return found or ":"

    @property
    def dotenv_file(self) -> Path:
        """The .env that compose reads: next to the first file passed to it, or else in the project's directory."""
        files = self.compose_files
        return (files[0].parent if files else self.root) / ".env"

    @property
    def _usual_dotenv(self) -> bool:
        """Whether compose reads .env, which two variables can change (compose-go, cli/options.go, WithEnvFiles)."""
        env = self.world.env
        disabled = env.get("COMPOSE_DISABLE_ENV_FILE", "") in ("1", "t", "T", "true", "True", "TRUE")
        return not (env.get("COMPOSE_ENV_FILES") or disabled)

    @property
    def env_files(self) -> tuple[Path, ...]:
        """The files with the variables that compose substitutes: .env or those in COMPOSE_ENV_FILES. The last one wins.

        The variable's paths are relative to the user's working directory.
        """
        if self._usual_dotenv:
            return (self.dotenv_file,)
        given = self.world.env.get("COMPOSE_ENV_FILES", "")
        return tuple(self.world.cwd / part for part in given.split(",")) if given else ()

    @cached_property
    def dotenv(self) -> dict[str, str]:
        """The values that compose substitutes, from `env_files`. Problems: dotenv-unreadable, dotenv-invalid."""
        files = self.env_files
        if files == (self.root / ".env",):
            return self._root_dotenv
        found: dict[str, str] = {}
        for path in files:
            found |= self._values(path, found) if str(path) != os.devnull else {}
        return found

    @cached_property
    def _root_dotenv(self) -> dict[str, str]:
        """The values of the .env in the project's directory, which may contain settings of buildkit-tasks."""
        return self._values(self.root / ".env")

    def _values(self, path: Path, earlier: Mapping[str, str] | None = None) -> dict[str, str]:
        from buildkit_tasks.dotenv import disk as dotenv_disk
        from buildkit_tasks.dotenv import text as dotenv_text

        text = dotenv_disk.read(path) or ""
        try:
            found = dotenv_text.values(text, {**(earlier or {}), **self.world.env})
        except dotenv_text.Refused as refused:
            raise dotenv_disk.invalid(path, refused) from None
        return {k: v.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for k, v in found.items()}

    def masked(self, words: str) -> str:
        """Mask the values of .env in another program's output.

        Does not mask values that the repository already shows in .env.example, compose files, Dockerfiles or its path.
        """
        from buildkit_tasks.dotenv import mask as dotenv_mask

        secret, public, shown = self._dotenv_texts()
        if not secret:
            return dotenv_mask.mask(words, "")
        return dotenv_mask.mask(words, secret, public=public(), shown=shown, environment=self.world.env)

    def secrets(self) -> dict[str, str]:
        """Return the variables of .env that `masked` hides, with their values.

        Problems: dotenv-invalid, dotenv-unreadable.
        """
        from buildkit_tasks.dotenv import disk as dotenv_disk
        from buildkit_tasks.dotenv import mask as dotenv_mask
        from buildkit_tasks.dotenv import text as dotenv_text

        dotenv_disk.read(self.dotenv_file)  # `masked` ignores a file that it cannot read
        secret, public, shown = self._dotenv_texts()
        try:
            return dotenv_mask.secrets(secret, public=public(), shown=shown, environment=self.world.env)
        except dotenv_text.Refused as refused:
            raise dotenv_disk.invalid(self.dotenv_file, refused) from None

    def _dotenv_texts(self) -> tuple[str, Callable[[], str], Callable[[], str]]:
        """Return the texts of .env, of .env.example and of files that are not secret; the last two on demand."""
        from buildkit_tasks.dotenv import disk as dotenv_disk

        # do not load the settings here: loading may print
        files: tuple[Path, ...] = ()
        with contextlib.suppress(Problem):  # an unreadable .env
            files = self.compose_files if "_loaded" in self.__dict__ else ()
        folders = dict.fromkeys([self.root, *(file.parent for file in files[:1])])

        def texts(paths: Iterable[Path]) -> str:
            found = []
            for path in paths:
                with contextlib.suppress(Problem):  # a directory or a FIFO: no values to mask
                    found.append(dotenv_disk.read(path) or "")
            return "\n".join(found)

        def shown() -> str:
            dockerfiles = itertools.chain(self.root.glob("*ockerfile*"), self.root.glob("*/*ockerfile*"))
            paths = [*(files or project_root.compose_files(self.root)), *itertools.islice(dockerfiles, _DOCKERFILES)]
            return f"{self.root}\n{texts(paths)}"

        own = () if self._usual_dotenv else self.env_files
        return texts([*(f / ".env" for f in folders), *own]), lambda: texts(f / ".env.example" for f in folders), shown

    def _masked_anyway(self, words: str) -> str:
        """Like `masked`, but works outside a project and never fails."""
        from buildkit_tasks.core.report import without_login

        try:
            return self.masked(without_login(words)) if words else words
        except (Problem, OSError, ValueError):
            return without_login(words)

    @cached_property
    def _loaded(self) -> Loaded:
        from .settings_load import load

        try:
            dotenv = self._root_dotenv
        except Problem as problem:  # tasks that read the compose file report this; the others do not need .env
            self.report.warn(f"{problem.message} The settings in .env are ignored.")
            dotenv = {}
        loaded = load(self.world, self.root, dotenv=dotenv, flags=self.flags)
        for sentence in loaded.renamed:
            self.report.warn(sentence)
        name = loaded.settings.builders.name
        if name not in ("auto", "legacy") and not self._builder:
            self.use_builder(name)
        return loaded

    def within(self, env: Mapping[str, str]) -> Session:
        """Return the same session and settings, but with another environment for the programs that it starts."""
        other = Session(replace(self.world, env=env), self.report, self.flags)
        other.__dict__["_loaded"] = self._loaded
        other.registries = self.registries
        return other

    def forget(self) -> None:
        """Read .env and the settings again on next use."""
        for name in ("dotenv", "_root_dotenv", "_loaded"):
            self.__dict__.pop(name, None)

    def use_builder(self, name: str) -> None:
        """Use this builder for all later buildx commands, as if BUILDX_BUILDER were set."""
        self._builder = name
        self.world = replace(self.world, env={**self.world.env, "BUILDX_BUILDER": name})

    @property
    def settings(self) -> Settings:
        """The effective settings."""
        return self._loaded.settings

    @property
    def origins(self) -> tuple[Origin, ...]:
        """Where each setting comes from."""
        return self._loaded.origins

    @cached_property
    def state(self) -> Path:
        """This checkout's state directory, created on first use. Users can delete anything in it at any time."""
        path = project_root.state_dir(self.world, self.root)
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise Problem(
                "system-refused",
                f"Cannot create {path}: {error.strerror}.",
                hint="set XDG_STATE_HOME to a writable directory",
            ) from error
        return path
