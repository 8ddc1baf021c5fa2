"""A SQLite file from creation to deletion; its script splitter, with SQLite itself as the oracle."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_tasks.config.session import Session
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.report import Report
from buildkit_tasks.core.world import World
from buildkit_tasks.database import administer, copies, migrate, seed
from buildkit_tasks.database.opened import Wanted
from buildkit_tasks.database.sqlite import statements

FILE = Wanted()


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Create a project with a SQLite file, two sqlx migrations, and seeds."""
    files = {
        "compose.yaml": "name: shop\n",
        "pyproject.toml": '[tool.buildkit-tasks.database]\nurl = "sqlite:data/app.db"\n',
        "Cargo.toml": '[package]\nname = "shop"\n[dependencies]\nsqlx = "0.8"\n',
        "migrations/1_tables.sql": (
            "CREATE TABLE a (x int); CREATE TABLE log (y text DEFAULT ';');\n"
            "CREATE TRIGGER t AFTER INSERT ON a BEGIN\n"
            "  INSERT INTO log VALUES ('1'); INSERT INTO log VALUES ('2');\nEND;\n"
        ),
        "migrations/2_rows.up.sql": "INSERT INTO a VALUES (7)",
        "migrations/2_rows.down.sql": "DELETE FROM a",
        "seeds/2.sql": "INSERT INTO a VALUES (20);\n",
        "seeds/10.sql": "INSERT INTO a VALUES (100)",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    world = World({"XDG_STATE_HOME": str(tmp_path / "state")}, tmp_path, tmp_path)
    return Session(world, Report(world, yes=True))


def rows(session: Session, query: str, name: str = "app.db") -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(session.root / "data" / name)) as connection:
        return connection.execute(query).fetchall()


def test_create_migrate_seed_dump_reset_restore_drop(session: Session) -> None:
    administer.create(session, FILE)
    migrate.migrate(session, FILE, ignore_missing=False)
    migrate.migrate(session, FILE, ignore_missing=False)
    assert rows(session, "SELECT version, description, success, length(checksum) FROM _sqlx_migrations") == [
        (1, "tables", 1, 48),
        (2, "rows", 1, 48),
    ]
    seed.seed(session, FILE, "")
    assert rows(session, "SELECT x FROM a") == [(7,), (20,), (100,)]
    assert rows(session, "SELECT count(*) FROM log") == [(6,)]
    copies.dump(session, FILE, "copy")
    assert (session.root / "copy").stat().st_mode & 0o777 == 0o600
    administer.reset(session, FILE, name="app.db")
    assert rows(session, "SELECT x FROM a") == [(7,)]
    with pytest.raises(Problem) as unasked:
        copies.restore(session, FILE, "copy", name="", no_owner=False)
    assert unasked.value.code == "consent-missing"
    copies.restore(session, FILE, "copy", name="app.db", no_owner=False)
    assert rows(session, "SELECT x FROM a") == [(7,), (20,), (100,)]
    administer.drop(session, FILE, name="app.db")
    assert list((session.root / "data").iterdir()) == []


def test_the_test_database_is_another_file(session: Session) -> None:
    administer.create(session, Wanted(test=True))
    migrate.migrate(session, Wanted(test=True), ignore_missing=False)
    assert [p.name for p in (session.root / "data").iterdir()] == ["app_test.db"]


def test_a_migration_that_fails_leaves_nothing_of_itself(session: Session) -> None:
    administer.create(session, FILE)
    (session.root / "migrations/2_rows.up.sql").write_text(
        "INSERT INTO a VALUES (7);\n\nINSERT INTO nope VALUES (1);\n"
    )
    with pytest.raises(Problem, match=r"2_rows.up.sql, line 3: .*; earlier migrations applied: 1") as failed:
        migrate.migrate(session, FILE, ignore_missing=False)
    assert failed.value.causes == ("no such table: nope",)
    assert rows(session, "SELECT count(*) FROM a") == [(0,)]
    assert rows(session, "SELECT version FROM _sqlx_migrations") == [(1,)]


def test_a_changed_migration_is_refused(session: Session) -> None:
    administer.create(session, FILE)
    migrate.migrate(session, FILE, ignore_missing=False)
    (session.root / "migrations/1_tables.sql").write_text("SELECT 1;")
    with pytest.raises(Problem) as changed:
        migrate.migrate(session, FILE, ignore_missing=False)
    assert changed.value.code == "migration-changed"


def test_a_seed_that_fails_is_undone_and_names_file_and_line(session: Session) -> None:
    administer.create(session, FILE)
    migrate.migrate(session, FILE, ignore_missing=False)
    (session.root / "seeds/10.sql").write_text("-- more\nSELECT 1;\nINSERT INTO nope\nVALUES (1);\n")
    with pytest.raises(Problem, match=r"seeds/10.sql, line 3: "):
        seed.seed(session, FILE, "")
    assert rows(session, "SELECT x FROM a") == [(7,)]


@pytest.mark.parametrize("content", [b"", b"SELECT 1;", b"SQLite format 3\0" + b"x" * 5000])
def test_what_is_not_a_database_is_not_restored(session: Session, content: bytes) -> None:
    administer.create(session, FILE)
    (session.root / "copy").write_bytes(content)
    with pytest.raises(Problem) as refused:
        copies.restore(session, FILE, "copy", name="app.db", no_owner=False)
    assert refused.value.code == "dump-invalid"


@pytest.mark.parametrize("tool", ["refinery", "diesel", "sql"])
def test_every_tool_has_its_table(session: Session, tool: str) -> None:
    names = {"refinery": "V1__a.sql", "diesel": "1_a/up.sql", "sql": "1.sql"}
    place = session.root / "other" / names[tool]
    place.parent.mkdir(parents=True)
    place.write_text("CREATE TABLE t (x int);")
    session.flags.update({"database.migrations": "other", "database.tool": tool})
    administer.create(session, FILE)
    for _ in range(2):
        migrate.migrate(session, FILE, ignore_missing=False)
    assert rows(session, "SELECT count(*) FROM t") == [(0,)]


@given(
    st.lists(st.sampled_from(["SELECT 1", ";", "'a;b'", " -- x;\n", "\n", "/*;*/", '"c;"', "BEGIN", " "]), max_size=12)
)
def test_statements_are_those_that_sqlite_sees(parts: list[str]) -> None:
    text = " ".join(parts)
    found = list(statements(text))
    assert "".join(s for _, s in found) + text[sum(len(s) for _, s in found) :] == text
    for line, statement in found:
        assert 1 <= line <= text.count("\n") + 1
        assert statement in text
    for _, statement in found[:-1]:
        assert sqlite3.complete_statement(statement)
