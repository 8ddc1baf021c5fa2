"""`invoke db.*` on a real PostgreSQL, from creation to deletion; the password never appears in docker's arguments."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support import process

pytestmark = pytest.mark.engine

PASSWORD = "p4ss' word-4711"

MIGRATIONS = {
    "0001_users.up.sql": "CREATE TABLE users (id int PRIMARY KEY, name text DEFAULT ':x; \\q');\n",
    "0001_users.down.sql": "DROP TABLE users;\n",
    "0002_index.sql": "-- no-transaction\nCREATE INDEX CONCURRENTLY users_by_name ON users (name);",
    "0003_function.sql": "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS $$ SELECT 1; $$;\nSELECT one();",
}


class Shop:
    """A project with a database, and a docker on PATH that records its arguments and then runs the real one."""

    def __init__(self, root: Path, image: str) -> None:
        self.root, self.log = root, root / "argv.log"
        self.project = f"database-{secrets.token_hex(3)}"
        real = shutil.which("docker")
        assert real
        (root / "bin").mkdir()
        (root / "bin" / "docker").write_text(f'#!/bin/sh\nprintf \'%s\\n\' "$*" >> {self.log}\nexec {real} "$@"\n')
        (root / "bin" / "docker").chmod(0o755)
        (root / "tasks.py").write_text("from buildkit_tasks import namespace\n__all__ = ['namespace']\n")
        (root / "Cargo.toml").write_text('[package]\nname = "shop"\n[dependencies]\nsqlx = "0.8"\n')
        (root / ".env").write_text(f'PASSWORD="{PASSWORD}"\n')
        (root / "password").write_text(f"{PASSWORD}\n")
        check = {"test": ["CMD-SHELL", "pg_isready -q -h 127.0.0.1"], "interval": "1s", "start_period": "60s"}
        database = {
            "image": image,
            "environment": {"POSTGRES_USER": "clerk", "POSTGRES_PASSWORD": "${PASSWORD}", "POSTGRES_DB": "shop"},
            "healthcheck": check,
            "stop_signal": "SIGINT",
        }
        (root / "compose.yaml").write_text(json.dumps({"name": self.project, "services": {"db": database}}))
        for name, text in MIGRATIONS.items():
            (root / "migrations").mkdir(exist_ok=True)
            (root / "migrations" / name).write_text(text)
        self.said = ""

    def invoke(self, *args: str, stdin: str | None = None, code: int = 0) -> process.Done:
        env = {
            "CI": None,
            "XDG_STATE_HOME": str(self.root / "state"),
            "PATH": f"{self.root}/bin:{process.environment()['PATH']}",
        }
        done = process.run([process.BIN / "invoke", *args], self.root, env, stdin=stdin, timeout=300)
        self.said += done.all
        assert done.code == code, done.all
        return done

    def ask(self, query: str, database: str = "shop") -> str:
        """Return the server's own answer."""
        where = ["docker", "exec", f"{self.project}-db-1", "psql", "-XAt", "-U", "clerk", "-d", database]
        return process.ok([*where, "-c", query], self.root).out


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, base_images: Mapping[str, str]) -> Iterator[Shop]:
    reference = "postgres:15-bookworm"
    made = Shop(tmp_path_factory.mktemp("shop"), base_images.get(reference, reference))
    made.invoke("db.create", "--start")
    yield made
    process.run(["docker", "compose", "-p", made.project, "down", "--volumes", "--timeout", "5"], made.root)


def test_a_database_from_nothing_to_nothing(shop: Shop) -> None:
    states = json.loads(shop.invoke("db.migrate", "--status", "--json").out)["migrations"]
    assert [m["state"] for m in states] == ["pending"] * 3
    shop.invoke("db.migrate")
    assert "nothing to apply" in shop.invoke("db.migrate").err
    query = "SELECT version, description, success, length(checksum), execution_time > 0"
    recorded = shop.ask(f"{query} FROM _sqlx_migrations")
    assert recorded == "1|users|t|48|t\n2|index|t|48|t\n3|function|t|48|t\n"
    query = "SELECT column_default FROM information_schema.columns WHERE table_name = 'users'"
    kept = shop.ask(f"{query} AND column_name = 'name'")
    assert kept == "':x; \\q'::text\n"  # psql did not touch it

    (shop.root / "seeds").mkdir()
    (shop.root / "seeds" / "1.sql").write_text("COPY users FROM stdin;\n1\tAda\n2\tBob\n\\.\n")
    (shop.root / "seeds" / "2.sql").write_text("INSERT INTO users\nVALUES (3);\nINSERT INTO users\nVALUES (3);\n")
    failed = shop.invoke("db.seed", code=86)
    assert f"{shop.root}/seeds/2.sql, line 4:" in failed.err
    assert shop.ask("SELECT count(*) FROM users") == "0\n"
    (shop.root / "seeds" / "2.sql").write_text("INSERT INTO users VALUES (3)")
    shop.invoke("db.seed")

    shop.invoke("db.dump", "--to", "shop.dump")
    assert (shop.root / "shop.dump").stat().st_mode & 0o777 == 0o600
    shop.ask("DELETE FROM users")
    assert "--yes --name shop" in shop.invoke("db.restore", "--from", "shop.dump", code=18).err
    (shop.root / "half.dump").write_bytes((shop.root / "shop.dump").read_bytes()[:-12])
    shop.invoke("db.restore", "--from", "half.dump", "--yes", "--name", "shop", code=83)
    assert shop.ask("SELECT count(*) FROM users") == "0\n"
    shop.invoke("db.restore", "--from", "shop.dump", "--yes", "--name", "shop")
    assert shop.ask("SELECT count(*) FROM users") == "3\n"

    shop.invoke("db.create", "--test")
    shop.invoke("db.reset", "--yes", "--name", "shop")
    assert shop.ask("SELECT count(*) FROM users") == "0\n"
    assert shop.ask("SELECT datname FROM pg_database WHERE datname LIKE 'shop%' ORDER BY 1") == "shop\nshop_test\n"

    (shop.root / "migrations" / "0001_users.up.sql").write_text("CREATE TABLE users (id bigint);")
    changed = shop.invoke("db.migrate", code=85)
    assert "0001_users.up.sql has changed since it was applied" in changed.err
    assert "changed since it was applied" in shop.invoke("db.migrate", "--status").out
    (shop.root / "migrations" / "0001_users.up.sql").write_text(MIGRATIONS["0001_users.up.sql"])
    (shop.root / "migrations" / "0002_index.sql").rename(shop.root / "kept.sql")
    assert "missing from the directory: 2" in shop.invoke("db.migrate", code=85).err
    shop.invoke("db.migrate", "--ignore-missing")
    (shop.root / "kept.sql").rename(shop.root / "migrations" / "0002_index.sql")

    (shop.root / "migrations" / "0004_two.sql").write_text("CREATE TABLE two (x int);\nINSERT INTO nope VALUES (1);\n")
    assert "0004_two.sql, line 2:" in shop.invoke("db.migrate", code=86).err
    assert shop.ask("SELECT to_regclass('two') IS NULL, count(*) FROM _sqlx_migrations") == "t|3\n"
    (shop.root / "migrations" / "0004_two.sql").unlink()

    shop.invoke("db.drop", "--test", "--yes", "--name", "shop_test")
    shop.invoke("db.drop", "--yes", "--name", "shop")
    assert "invoke db.create" in shop.invoke("db.shell", code=83).err
    shop.invoke("db.create")
    assert "(1 row)" in shop.invoke("db.shell", stdin="SELECT 1;\n").out

    assert "exec --no-TTY db" in shop.log.read_text()
    for said in (shop.log.read_text(), shop.said):
        assert PASSWORD not in said
        assert "4711" not in said


def test_two_migrations_at_once_apply_each_file_once(shop: Shop) -> None:
    shop.invoke("db.create", "--test")
    env = {"CI": None, "XDG_STATE_HOME": str(shop.root / "state")}
    argv: list[str | Path] = [process.BIN / "invoke", "db.migrate", "--test"]
    both = [process.start(argv, shop.root, env) for _ in range(2)]
    for one in both:
        out, err = one.communicate(timeout=120)
        assert one.returncode == 0, out + err
    assert shop.ask("SELECT count(*) FROM _sqlx_migrations", "shop_test") == "3\n"
