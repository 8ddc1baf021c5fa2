"""`invoke db.*` with a recording docker: what it is called with, and that it never gets a secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Bench

SECRET = "s3cr3t-4711"


@pytest.fixture
def shop(bench: Bench) -> Bench:
    """A project with a running PostgreSQL and two sqlx migrations."""
    database = {"image": "postgres:15-bookworm", "environment": {"POSTGRES_PASSWORD": SECRET, "POSTGRES_DB": "shop"}}
    bench.reply("config --format json", stdout=json.dumps({"name": "shop", "services": {"db": database}}))
    bench.reply("ps --all --format json", stdout='{"Service": "db", "State": "running"}\n')
    bench.reply("exec", stdout="")
    bench.reply("pg_isready", stdout="admin\nshop\npsql (PostgreSQL) 15.9\n")
    bench.reply("image inspect", stdout=f'["postgres:15-bookworm"] sha256:{"3" * 64}\n')
    (bench.root / "Cargo.toml").write_text('[package]\nname = "shop"\n[dependencies]\nsqlx = "0.8"\n')
    (bench.root / "migrations").mkdir()
    (bench.root / "migrations" / "1_a.sql").write_text("select 1;")
    return bench


def exec_calls(bench: Bench) -> list[list[str]]:
    """Return the arguments after the shell script of each exec call, without the first, which only queries names."""
    calls = [call["argv"] for call in bench.calls if "exec" in call["argv"]]
    return [argv[argv.index("-c") + 3 :] for argv in calls[1:]]


PSQL = ["psql", "--no-psqlrc", "--no-password", "--quiet", "--no-align", "--tuples-only", "--field-separator=\t"]
STDIN = ["--set=ON_ERROR_STOP=1", "--file=-"]


def test_create_asks_and_creates_in_the_maintenance_database(shop: Bench) -> None:
    done = shop.invoke("db.create")
    assert done.code == 0, done.all
    assert exec_calls(shop) == [["postgres", *PSQL, *STDIN], ["postgres", *PSQL, *STDIN]]
    assert all("--no-TTY" in c["argv"] for c in shop.calls if "exec" in c["argv"])


@pytest.mark.parametrize(
    "args",
    [("create",), ("create", "--test"), ("drop", "--yes", "--name", "shop"), ("dump", "--to", "x"), ("shell",)],
    ids=" ".join,
)
def test_no_secret_is_in_any_argument_or_in_what_is_printed(shop: Bench, args: tuple[str, ...]) -> None:
    name, *more = args
    done = shop.invoke(f"db.{name}", *more)
    assert SECRET not in done.all
    assert not [c for c in shop.calls if SECRET in " ".join(c["argv"])]


def test_a_database_that_is_down_is_named_with_what_starts_it(shop: Bench) -> None:
    shop.reply("ps --all --format json", stdout="")
    done = shop.invoke("db.migrate")
    assert done.code == 27, done.all
    assert "The service db (PostgreSQL) is not running." in done.err
    assert "invoke up --service db" in done.err


def test_what_destroys_needs_the_name_and_yes(shop: Bench) -> None:
    shop.reply("exec --no-TTY db sh -c", stdout="1\n")
    shop.reply("pg_isready", stdout="admin\nshop\n")
    for args in ((), ("--yes",), ("--name", "shop")):
        done = shop.invoke("db.drop", *args)
        assert done.code == 18, done.all
        assert "--yes --name shop" in done.err
    wrong = shop.invoke("db.drop", "--yes", "--name", "shop_test")
    assert wrong.code == 33
    before = len(exec_calls(shop))
    assert shop.invoke("db.drop", "--yes", "--name", "shop").code == 0
    assert len(exec_calls(shop)) > before


def test_a_dump_goes_to_stdout_where_that_is_piped_and_leaves_no_half_file(shop: Bench) -> None:
    shop.reply("exec --no-TTY db sh -c", stdout="1\n")
    shop.reply("pg_isready", stdout="admin\nshop\n")
    shop.reply("pg_dump", stdout="PGDMP...")
    done = shop.invoke("db.dump")
    assert (done.code, done.out) == (0, "PGDMP...")
    shop.reply("pg_dump", stdout="PGDMP", stderr="pg_dump: error: out of memory\n", code=1)
    failed = shop.invoke("db.dump", "--to", "x.dump")
    assert failed.code == 83
    assert "out of memory" in failed.err
    assert [p for p in shop.root.iterdir() if "x.dump" in p.name] == []


def test_the_words_of_the_server_are_shown_with_what_to_do(shop: Bench) -> None:
    shop.reply("--file=-", code=2, stderr='psql: error: FATAL:  database "shop" does not exist\n')
    done = shop.invoke("db.migrate")
    assert done.code == 83, done.all
    assert 'FATAL:  database "shop" does not exist' in done.err


def test_several_databases_are_listed(shop: Bench) -> None:
    services = {"db": {"image": "postgres"}, "old": {"image": "mariadb:11"}}
    shop.reply("config --format json", stdout=json.dumps({"name": "shop", "services": services}))
    done = shop.invoke("db.shell")
    assert done.code == 81, done.all
    assert "db (PostgreSQL), old (MariaDB)" in done.err


def test_what_mariadb_lacks_is_said_before_anything_is_dropped(shop: Bench) -> None:
    services = {"db": {"image": "mariadb:11", "environment": {"MARIADB_ROOT_PASSWORD": SECRET}}}
    shop.reply("config --format json", stdout=json.dumps({"name": "shop", "services": services}))
    shop.reply("exec", stdout="root\nshop\n")
    done = shop.invoke("db.reset", "--yes", "--name", "shop")
    assert done.code == 82, done.all
    assert "does not support sqlx with MariaDB" in done.err
    assert "DROP" not in json.dumps(shop.calls)


def test_a_file_of_sqlite_needs_no_docker(bench: Bench) -> None:
    (bench.root / "pyproject.toml").write_text('[tool.buildkit-tasks.database]\nurl = "sqlite:app.db"\n')
    (bench.root / "migrations").mkdir()
    (bench.root / "migrations" / "1.sql").write_text("create table a (x int);")
    assert bench.invoke("db.create").code == 0
    done = bench.invoke("db.migrate", "--json")
    assert json.loads(done.out)["applied"] == ["1.sql"]
    assert json.loads(bench.invoke("db.migrate", "--status", "--json").out)["migrations"][0]["state"] == "applied"
    assert bench.calls == []
    assert Path(bench.root / "app.db").is_file()
