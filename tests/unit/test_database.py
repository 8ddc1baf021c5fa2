"""Which database, tool and migrations are used, and the text that is sent; all without a server."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.database import compare, find, history, inside, reading, script, tool
from buildkit_tasks.database.model import Applied, Migration, Server, checked_name, name_for_tests
from buildkit_tasks.workspaces.tree import make
from tests.support import process

SECRET = {"POSTGRES_PASSWORD": "x"}


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ({"image": "postgres:15-bookworm"}, "postgres"),
        ({"image": "docker.io/library/postgres@sha256:" + "0" * 64}, "postgres"),
        ({"image": "localhost:5000/hub/postgis/postgis:16-3.4"}, "postgres"),
        ({"image": "timescale/timescaledb-ha:pg16"}, "postgres"),
        ({"image": "pgvector/pgvector:pg17"}, "postgres"),
        ({"image": "bitnami/postgresql:16"}, "postgres"),
        ({"image": "mariadb:11"}, "mariadb"),
        ({"image": "mysql/mysql-server:8.0"}, "mysql"),
        ({"image": "prometheuscommunity/postgres-exporter"}, ""),
        ({"image": "prodrigestivill/postgres-backup-local"}, ""),
        ({"image": "redis:7"}, ""),
        ({"build": {"context": "."}, "environment": SECRET}, "postgres"),
        ({"image": "shop/api", "environment": {**SECRET, "POSTGRES_HOST": "db"}}, ""),
        ({"image": "shop/api", "environment": {**SECRET, "DATABASE_URL": "x"}}, ""),
        ({"image": "shop/store", "environment": {"MYSQL_ROOT_PASSWORD": None}}, "mysql"),
    ],
)
def test_a_database_is_known_by_its_image_or_by_what_sets_it_up(entry: dict[str, Any], kind: str) -> None:
    assert find.servers({"services": {"db": entry}}) == ((Server("db", kind),) if kind else ())


def test_an_image_counts_before_an_environment() -> None:
    config = {"services": {"api": {"build": {}, "environment": SECRET}, "db": {"image": "postgres"}}}
    assert find.server(config, "") == Server("db", "postgres")


def test_a_job_that_uses_the_client_of_an_image_is_not_a_second_database() -> None:
    job = {"image": "postgres:15", "environment": {"PGHOST": "db"}, "command": ["psql"]}
    config = {"services": {"seed": job, "db": {"image": "postgres:15", "environment": SECRET}}}
    assert find.server(config, "") == Server("db", "postgres")
    assert find.server({"services": {"seed": job}}, "") == Server("seed", "postgres")


def test_several_databases_none_and_one_that_is_not_one_are_named() -> None:
    two = {"services": {"db": {"image": "postgres"}, "old": {"image": "mysql"}, "api": {"image": "a"}}}
    with pytest.raises(Problem, match="db \\(PostgreSQL\\), old \\(MySQL\\)") as several:
        find.server(two, "")
    assert "--service db" in several.value.hint
    assert find.server(two, "old") == Server("old", "mysql")
    with pytest.raises(Problem, match="does not look like a supported database"):
        find.server(two, "api")
    with pytest.raises(Problem, match="Did you mean old"):
        find.server(two, "olt")
    with pytest.raises(Problem) as none:
        find.server({"services": {"api": {"image": "a"}}}, "")
    assert none.value.code == "database-unknown"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:app.db", "/r/app.db"),
        ("sqlite://data/app.db?mode=rwc", "/r/data/app.db"),
        ("sqlite:///abs/app.db", "/abs/app.db"),
        ("postgres://u:p@h/d", None),
        ("", None),
    ],
)
def test_a_sqlite_url(url: str, path: str | None) -> None:
    assert find.sqlite_file(url, Path("/r")) == (Path(path) if path else None)


@pytest.mark.parametrize("url", ["sqlite::memory:", "sqlite://:memory:", "sqlite:"])
def test_a_database_in_memory_is_refused(url: str) -> None:
    with pytest.raises(Problem, match="in-memory"):
        find.sqlite_file(url, Path("/r"))


@pytest.mark.parametrize("name", ["", "a b", "a=b", 'a"b', "a'b", "a\nb", "-x", "1a", "a;b", "a/b", "a" * 64])
def test_a_name_that_a_client_would_read_otherwise_is_refused(name: str) -> None:
    with pytest.raises(Problem) as refused:
        checked_name(name)
    assert refused.value.code == "database-unsupported"


def test_a_test_database_has_a_name_of_its_own() -> None:
    assert name_for_tests("shop") == "shop_test"
    with pytest.raises(Problem, match="longer than 63"):
        name_for_tests("s" * 60)


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_sqlx_reads_what_sqlx_reads(tmp_path: Path) -> None:
    files = {
        "10_late.sql": "select 10;",
        "0002_add_users_table.up.sql": "-- no-transaction\nselect 2;",
        "0002_add_users_table.down.sql": "select 'undo';",
        "1_é.sql.sql": "select 1;",
        "README.md": "",
        "seed.sql": "",
        "3_notes.txt": "",
    }
    found = reading.read("sqlx", write(tmp_path, **files))
    assert [(m.key, m.name, m.transaction) for m in found] == [
        ("1", "é", True),
        ("2", "add users table", False),
        ("10", "late", True),
    ]
    assert found[2].checksum == hashlib.sha384(b"select 10;").hexdigest()


@pytest.mark.parametrize("name", ["x_users.sql", "1.5_users.sql", "²_users.sql", "9" * 20 + "_users.sql"])
def test_sqlx_refuses_a_name_without_an_integer(tmp_path: Path, name: str) -> None:
    with pytest.raises(Problem, match="sqlx rejects it"):
        reading.read("sqlx", write(tmp_path, **{name: ""}))


def test_two_files_of_one_version_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"1_a\.sql and 01_b\.sql|01_b\.sql and 1_a\.sql"):
        reading.read("sqlx", write(tmp_path, **{"1_a.sql": "", "01_b.sql": ""}))


@pytest.mark.parametrize("content", [b"\xff", b"select '\0'"])
def test_a_file_that_is_not_text_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "1_a.sql").write_bytes(content)
    with pytest.raises(Problem) as refused:
        reading.read("sqlx", tmp_path)
    assert refused.value.code == "migrations-unknown"


@pytest.mark.parametrize(
    ("name", "version", "sql", "checksum"),
    [  # the results of refinery-core 0.8.16 for these three
        ("initial", 1, "CREATE TABLE persons (id int);", "2686532623648937061"),
        ("add_cars", 2, "é\n", "3268289427012094039"),
        ("x", 2147483647, "", "8702725734937231574"),
    ],
)
def test_refinery_checksums_are_those_of_refinery(name: str, version: int, sql: str, checksum: str) -> None:
    assert reading.refinery_checksum(name, version, sql) == checksum


def test_refinery_reads_below_the_directory_and_refuses_rust(tmp_path: Path) -> None:
    write(
        tmp_path,
        **{"V1__initial.sql": "a", "sub/V10__more.sql": "b", "U2__late.sql": "c", "V3_one.sql": "", "x.rs": ""},
    )
    assert [m.label for m in reading.read("refinery", tmp_path)] == ["V1__initial.sql", "U2__late.sql", "V10__more.sql"]
    write(tmp_path, **{"V4__rust.rs": ""})
    with pytest.raises(Problem, match="a Rust migration"):
        reading.read("refinery", tmp_path)


def test_diesel_reads_directories(tmp_path: Path) -> None:
    files = {
        "2024-01-02-030405_users/up.sql": "a",
        "2024-01-02-030405_users/down.sql": "b",
        "00000000000000_diesel_initial_setup/up.sql": "c",
        "00000000000000_diesel_initial_setup/metadata.toml": "run_in_transaction = false",
        ".git/up.sql": "d",
        "9_unset/up.sql": "e",
        "9_unset/metadata.toml": "# diesel takes this for false",
    }
    found = reading.read("diesel", write(tmp_path, **files))
    assert [(m.key, m.transaction) for m in found] == [
        ("00000000000000", False),
        ("20240102030405", True),
        ("9", False),
    ]


def test_plain_files_run_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    names = ("10_z.sql", "2_a.sql", "a.sql", "2_a10.sql", "2_a9.sql", "2_a.down.sql")
    found = reading.read("sql", write(tmp_path, **dict.fromkeys(names, "")))
    assert [m.key for m in found] == ["2_a.sql", "2_a9.sql", "2_a10.sql", "10_z.sql", "a.sql"]


@given(st.lists(st.text(alphabet="ab10_.²é", max_size=6), max_size=8))
def test_any_names_can_be_sorted(names: list[str]) -> None:
    numbers = [int(n) for n in names if n.isascii() and n.isdigit()]
    done = sorted(names, key=reading.natural)
    assert [int(n) for n in done if n.isascii() and n.isdigit()] == sorted(numbers)


SQLX = '[package]\nname="a"\n[dependencies]\nsqlx = "0.8"\n'


@pytest.mark.parametrize(
    ("files", "chosen", "where"),
    [
        ({"Cargo.toml": SQLX, "migrations/1_a.sql": ""}, "sqlx", "migrations"),
        ({"Cargo.toml": "[package]\n", "migrations/1_a.sql": ""}, "sql", "migrations"),
        ({"Cargo.toml": '[workspace.dependencies]\nsqlx = "0.8"', "c/migrations/1_a.sql": ""}, "sqlx", "c/migrations"),
        ({"Cargo.toml": SQLX, "migrations/V1__a.sql": ""}, "refinery", "migrations"),
        ({"Cargo.toml": SQLX, "migrations/x/V1__a.sql": ""}, "refinery", "migrations"),
        ({"migrations/2024-01-01-000000_a/up.sql": ""}, "diesel", "migrations"),
        ({"migrations/a.sql": ""}, "sql", "migrations"),
        ({"migrations/1_a.sql": "", "tests/migrations/1_a.sql": "", "x/migrations/a.py": ""}, "sql", "migrations"),
    ],
)
def test_tool_and_directory_are_found(files: dict[str, str], chosen: str, where: str) -> None:
    found = tool.find(make(Path("/r"), (), files))
    assert (found.tool, found.directory) == (chosen, Path("/r") / where)


@pytest.mark.parametrize(
    ("files", "settings", "code", "words"),
    [
        ({}, {}, "migrations-unknown", "No directory named `migrations`"),
        ({"a/migrations/1_a.sql": "", "b/migrations/1_a.sql": ""}, {}, "migrations-unknown", "2 directories"),
        ({"a.sql": ""}, {"directory": "../x"}, "migrations-unknown", "empty or not in this project"),
        ({"a.sql": ""}, {"directory": "nothing"}, "migrations-unknown", "empty or not in this project"),
        ({"sql/a.txt": ""}, {"directory": "sql"}, "migrations-unknown", "contains no migrations"),
        (
            {"Cargo.toml": '[dependencies]\nsea-orm-migration = "1"', "migration/src/lib.rs": ""},
            {},
            "database-unsupported",
            "only the project's own program",
        ),
        (
            {"Cargo.toml": SQLX, "migrations/1_a.sql": "", "sqlx.toml": '[migrate]\ntable-name = "m"'},
            {},
            "database-unsupported",
            "migrate.table-name",
        ),
        (
            {
                "Cargo.toml": '[dependencies]\nrefinery = {version = "0.9", features = ["int8-versions"]}',
                "migrations/V1__a.sql": "",
            },
            {},
            "database-unsupported",
            "int8-versions",
        ),
    ],
)
def test_what_is_not_known_is_refused_by_name(
    files: dict[str, str], settings: dict[str, str], code: str, words: str
) -> None:
    with pytest.raises(Problem, match=words) as refused:
        tool.find(make(Path("/r"), (), files), **settings)
    assert refused.value.code == code


def migration(key: str, checksum: str = "", **more: Any) -> Migration:
    return Migration(
        key, more.pop("label", f"{key}.sql"), Path(f"/m/{key}.sql"), "select 1", checksum, order=(int(key),), **more
    )


def test_a_database_is_compared_as_sqlx_compares_it() -> None:
    found = [migration("1", "aa"), migration("2", "bb"), migration("3", "cc")]
    now = compare.status("sqlx", found, [Applied("1", "aa"), Applied("3", "cc")])
    assert [m.key for m in now.pending] == ["2"]  # sqlx applies late migrations
    compare.require_sound("sqlx", now)
    for applied, words, ignore in (
        ([Applied("1", "xx")], "1.sql has changed", False),
        ([Applied("9", "xx")], "missing from the directory: 9", False),
        ([Applied("9", "xx"), Applied("1", "xx")], "has changed", True),
        ([Applied("1", "aa", success=False)], "failed partway", False),
    ):
        with pytest.raises(Problem, match=words) as stopped:
            compare.require_sound("sqlx", compare.status("sqlx", found, applied), ignore_missing=ignore)
        assert stopped.value.code == "migration-changed"


def test_refinery_refuses_a_late_one_unless_it_begins_with_u() -> None:
    applied = [Applied("2", "b")]
    late = compare.status("refinery", [migration("1", label="V1__a.sql"), migration("2", "b")], applied)
    with pytest.raises(Problem, match="older than a migration"):
        compare.require_sound("refinery", late)
    compare.require_sound(
        "refinery", compare.status("refinery", [migration("1", label="U1__a.sql"), migration("2", "b")], applied)
    )


def test_diesel_keeps_neither_checksums_nor_what_is_missing() -> None:
    compare.require_sound("diesel", compare.status("diesel", [migration("1")], [Applied("1"), Applied("0")]))


def test_the_script_that_applies_is_the_one_that_sqlx_would_run() -> None:
    one = Migration("1", "1_a.sql", Path("/m/1_a.sql"), "select ':x \\q';", "ab", name="it's")
    text = history.apply_script("sqlx", "shop", [one], 0)
    assert text.splitlines() == [
        "SELECT pg_try_advisory_lock(2969972169318647292) AS mine \\gset",
        *("\\if :mine", "\\else", "\\echo busy", "\\quit", "\\endif"),
        "SET client_min_messages = warning;",
        "CREATE TABLE IF NOT EXISTS _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, "
        "installed_on TIMESTAMPTZ NOT NULL DEFAULT now(), success BOOLEAN NOT NULL, checksum BYTEA NOT NULL, "
        "execution_time BIGINT NOT NULL);",
        "RESET client_min_messages;",
        "DO $do$ BEGIN IF (SELECT count(*) FROM _sqlx_migrations) <> 0 THEN RAISE EXCEPTION "
        "'buildkit-tasks: the applied migrations have changed in the meantime'; END IF; END $do$;",
        "\\echo begins 0",
        "SELECT clock_timestamp() AS began \\gset",
        "BEGIN;",
        "SELECT convert_from(decode('c2VsZWN0ICc6eCBccSc7', 'base64'), 'UTF8') \\gexec",
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) "
        "VALUES (1, 'it''s', TRUE, '\\xab', -1);",
        "COMMIT;",
        "\\echo applied 0",
        "UPDATE _sqlx_migrations SET execution_time = (extract(epoch FROM clock_timestamp() - "
        ":'began'::timestamptz) * 1e9)::bigint WHERE version = 1;",
    ]


def test_a_migration_outside_a_transaction_has_none() -> None:
    text = history.apply_script("diesel", "shop", [migration("1", transaction=False)], 3)
    assert "BEGIN;" not in text.splitlines()
    assert "INSERT INTO __diesel_schema_migrations (version) VALUES ('1');" in text.splitlines()


def test_what_ran_is_read_from_what_the_script_printed() -> None:
    pending = [migration("5"), migration("6"), migration("7")]
    assert history.ran("begins 0\napplied 0\nbegins 1\n", pending) == ((pending[0],), pending[1])
    assert history.ran("", pending) == ((), None)


def test_a_line_of_joined_files_is_found_again() -> None:
    joined = script.joined([(Path("a"), "1\n2"), (Path("b"), ""), (Path("c"), "x\ny;\n")])
    assert joined.text == "1\n2\n;\nx\ny;\n"
    assert [joined.place(n) for n in (1, 2, 3, 4, 5)] == [
        (Path("a"), 1),
        (Path("a"), 2),
        (Path("a"), 2),
        (Path("c"), 1),
        (Path("c"), 2),
    ]


WHOLE = ("", "\n", "a;", "a;\n-- b\n\n", "COPY a FROM stdin;\n1\n\\.\n", "\\echo x\n", "-- only\n")


@pytest.mark.parametrize("text", WHOLE)
def test_no_semicolon_is_added_where_none_is_missing(text: str) -> None:
    assert script.joined([(Path("a"), text)]).text == (text if text.endswith("\n") or not text else f"{text}\n")


@given(st.lists(st.text(alphabet="a;\n'", max_size=12), min_size=1, max_size=5), st.data())
def test_every_line_of_every_file_is_found(texts: list[str], data: st.DataObject) -> None:
    joined = script.joined([(Path(str(n)), text) for n, text in enumerate(texts)])
    lines = joined.text.split("\n")[:-1]
    if not lines:
        return
    number = data.draw(st.integers(1, len(lines)))
    path, line = joined.place(number)
    own = texts[int(str(path))].split("\n")
    assert line <= max(1, len(own))
    assert lines[number - 1] in (";", own[line - 1])


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
def test_the_login_script_is_one_that_a_posix_shell_takes(kind: str) -> None:
    text = inside.login(kind)[2]
    assert (
        process.run([process.BIN / "shellcheck", "--shell=sh", "--exclude=SC2154", "-"], Path("/"), stdin=text).code
        == 0
    )


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"POSTGRES_USER": "u", "POSTGRES_PASSWORD": "p w'd"}, "u|p w'd|shop"),
        ({"POSTGRES_PASSWORD_FILE": "secret"}, "postgres|from a file|shop"),
        ({"POSTGRESQL_USERNAME": "b", "POSTGRESQL_PASSWORD": "q"}, "b|q|shop"),
        ({}, "postgres|unset|shop"),
    ],
)
def test_the_client_gets_its_password_from_the_containers_own_variables(
    tmp_path: Path, env: dict[str, str], expected: str
) -> None:
    (tmp_path / "secret").write_text("from a file\n")
    argv = inside.postgres("shop", "sh", "-c", 'echo "$PGUSER|${PGPASSWORD-unset}|$PGDATABASE"')
    clean: dict[str, str | None] = {"POSTGRES_USER": None, "POSTGRES_PASSWORD": None, "PGPASSWORD": None}
    assert process.ok(argv, tmp_path, {**clean, **env}).out == f"{expected}\n"


def test_a_hostile_name_of_a_database_is_data(tmp_path: Path) -> None:
    argv = inside.postgres("$(touch bad)`touch bad`", "sh", "-c", 'echo "$PGDATABASE"')
    assert process.ok(argv, tmp_path).out == "$(touch bad)`touch bad`\n"
    assert not (tmp_path / "bad").exists()


def test_the_client_of_mysql_is_whichever_is_there(tmp_path: Path) -> None:
    (tmp_path / "mysqldump").write_text('#!/bin/sh\necho "$MYSQL_PWD $*"\n')
    (tmp_path / "mysqldump").chmod(0o755)
    env = {"PATH": f"{tmp_path}:{Path(shutil.which('sh') or '/bin/sh').parent}:/usr/bin", "MYSQL_ROOT_PASSWORD": "r"}
    assert process.ok(inside.mysqldump("shop"), tmp_path, env).out == "r --user=root shop\n"
    env |= {"MYSQL_ROOT_PASSWORD": "", "MYSQL_USER": "u", "MYSQL_PASSWORD": "p"}
    assert process.ok(inside.mysqldump("shop"), tmp_path, env).out == "p --user=u shop\n"


def test_a_database_may_be_set_up_with_the_hosts_that_its_root_comes_from() -> None:
    mysql = {"image": "mysql:8", "environment": {"MYSQL_RANDOM_ROOT_PASSWORD": "1", "MYSQL_ROOT_HOST": "%"}}
    postgres = {"image": "postgres:15", "environment": {"POSTGRES_PASSWORD": "x"}}
    assert {s.service for s in find.servers({"services": {"one": mysql, "two": postgres}})} == {"one", "two"}


@pytest.mark.parametrize("tool_name", ["sqlx", "sql"])
@pytest.mark.parametrize("mark", ["-- migrate:down", "-- +goose Down", "--migrate:down transaction:false"])
def test_a_file_that_holds_the_way_back_as_well_is_refused(tmp_path: Path, tool_name: str, mark: str) -> None:
    text = f"-- migrate:up\nCREATE TABLE t (id int);\n{mark}\nDROP TABLE t;\n"
    with pytest.raises(Problem, match="rollback") as caught:
        list(reading.read(tool_name, write(tmp_path, **{"1_a.sql": text})))
    assert caught.value.code == "database-unsupported"
