"""Fills a database with the project's seed data: SQL files, in one transaction."""

from __future__ import annotations

from pathlib import Path

from buildkit_tasks.config.session import Session
from buildkit_tasks.core.errors import Problem

from . import reading, script
from .opened import Wanted, existing

#: Where to look for seeds, in this order.
PLACES = ("seeds", "db/seeds", "database/seeds", "seeds.sql", "db/seeds.sql", "db/seed.sql", "seed.sql")


def find(root: Path, named: str) -> tuple[Path, ...]:
    """Return the seed files to run, in natural order. Raises `Problem` migrations-unknown."""
    places = [named] if named else PLACES
    found = next((root / place for place in places if (root / place).exists()), None)
    if found is None:
        where = named or ", ".join(PLACES)
        raise Problem(
            "migrations-unknown",
            f"No seed data found (looked for {where}).",
            hint='set seeds = "FILE OR DIRECTORY" under [tool.buildkit-tasks.database]',
        )
    if found.is_file():
        return (found,)
    files = sorted((p for p in sorted(found.glob("*.sql")) if p.is_file()), key=lambda p: reading.natural(p.name))
    if not files:
        raise Problem("migrations-unknown", f"{found} contains no .sql files.", hint="add a file such as 01_users.sql")
    return tuple(files)


def seed(session: Session, wanted: Wanted, named: str) -> None:
    """Run all seed files or none. Problems: sql-failed with file and line, migrations-unknown."""
    files = find(session.root, named or session.settings.database.seeds)
    made = script.joined([(path, reading.sql_text(path)) for path in files])
    database = existing(session, wanted)
    database.seed(made)
    session.report.say(f"seeded {database.name} from {', '.join(str(p.relative_to(session.root)) for p in files)}")
