"""All settings, each with a line of documentation, type, default and example. Pure; `settings_load` loads them.

A setting is named GROUP.NAME. Set it as NAME under `[tool.buildkit-tasks.GROUP]` in pyproject.toml, or as the
variable BUILDKIT_TASKS_GROUP_NAME in `.env` or the environment. `docs/reference/settings.md` and
`docs/reference/settings.schema.json` are generated from here: `nox -s reference`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from .groups_build import Build, Builders, Caches, Images, Packs, Project
from .groups_tasks import Audit, Cargo, Ci, Database, Stack, Watch
from .setting import Doc


@dataclass(frozen=True)
class Settings:
    """All settings of the project in the directory `root`, by group."""

    root: Path
    project: Project = field(default_factory=Project)
    build: Build = field(default_factory=Build)
    images: Images = field(default_factory=Images)
    caches: Caches = field(default_factory=Caches)
    packs: Packs = field(default_factory=Packs)
    builders: Builders = field(default_factory=Builders)
    stack: Stack = field(default_factory=Stack)
    cargo: Cargo = field(default_factory=Cargo)
    watch: Watch = field(default_factory=Watch)
    database: Database = field(default_factory=Database)
    audit: Audit = field(default_factory=Audit)
    ci: Ci = field(default_factory=Ci)


#: The groups and their classes, in the order of the reference.
GROUPS: dict[str, type[Any]] = {
    "project": Project,
    "build": Build,
    "images": Images,
    "caches": Caches,
    "packs": Packs,
    "builders": Builders,
    "stack": Stack,
    "cargo": Cargo,
    "watch": Watch,
    "database": Database,
    "audit": Audit,
    "ci": Ci,
}


@dataclass(frozen=True)
class Known:
    """One setting: group, name, default as a Python value, and documentation."""

    group: str
    name: str
    default: Any
    doc: Doc

    @property
    def dotted(self) -> str:
        """GROUP.NAME, as used in messages."""
        return f"{self.group}.{self.name}"


def known() -> Iterator[Known]:
    """Yield every setting, in the order of the reference."""
    for group, kind in GROUPS.items():
        items: tuple[Field[Any], ...] = fields(kind)
        for item in items:
            yield Known(group, item.name, item.default, item.metadata["doc"])
