"""What every flow is given: the world, the mouth, and the project's settings, read once when first asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from . import dotenv_text
from . import root as project_root
from .errors import Problem
from .report import Report
from .settings import Settings
from .settings_load import Loaded, Origin, load
from .world import World


class Session:
    """One call of one task. `flags`: settings from the command line, by GROUP.NAME."""

    def __init__(self, world: World, report: Report, flags: Mapping[str, str] | None = None) -> None:
        self.world = world
        self.report = report
        self.flags = dict(flags or {})
        self._builder = ""

    @cached_property
    def root(self) -> Path:
        """The project's directory; `Problem` no-project outside any."""
        return project_root.find_root(self.world)

    @cached_property
    def dotenv(self) -> dict[str, str]:
        """The values of .env, `{}` without one. Problems: dotenv-unreadable, dotenv-invalid (line number, no value)."""
        path = self.root / ".env"
        try:
            text = path.read_text("utf-8")
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise Problem(
                "dotenv-unreadable",
                f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}.",
                hint=f"ls -l {path}; it should belong to you and have mode 600",
            ) from None
        broken = dotenv_text.broken_lines(text)
        if broken:
            raise Problem(
                "dotenv-invalid",
                f"{path} has {'a line' if len(broken) == 1 else 'lines'} that cannot be read: "
                f"{', '.join(f'line {n}' for n in broken)} (content not shown, it may be a secret).",
                hint="write NAME=value, with the value in single quotes where it has spaces or quotes",
            )
        return dotenv_text.values(text)

    @cached_property
    def _loaded(self) -> Loaded:
        loaded = load(self.world, self.root, dotenv=self.dotenv, flags=self.flags)
        for sentence in loaded.renamed:
            self.report.warn(sentence)
        name = loaded.settings.builders.name
        if name not in ("auto", "legacy") and not self._builder:
            self.use_builder(name)
        return loaded

    def use_builder(self, name: str) -> None:
        """From now on all that buildx is asked means this builder, as if BUILDX_BUILDER were set."""
        self._builder = name
        self.world = replace(self.world, env={**self.world.env, "BUILDX_BUILDER": name})

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._loaded.settings

    @property
    def origins(self) -> tuple[Origin, ...]:
        """Where each setting came from."""
        return self._loaded.origins

    @cached_property
    def state(self) -> Path:
        """This checkout's state directory, made on first use; a place for values that may be lost at any time."""
        path = project_root.state_dir(self.world, self.root)
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path
