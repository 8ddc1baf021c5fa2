"""Commands to run inside a database's container: its own client, logged in with the container's variables. Pure.

No argument ever contains a password: the script reads the variable, or the file named by NAME_FILE, in the container.
Positional arguments are data and never parsed as shell.
"""

from __future__ import annotations

_VALUE = """\
value() {
  for n in "$@"; do
    eval "v=\\${$n:-}; f=\\${${n}_FILE:-}"
    if [ -n "$v" ]; then printf '%s' "$v"; return 0; fi
    if [ -n "$f" ] && [ -r "$f" ]; then cat "$f"; return 0; fi
  done
}
"""

_POSTGRES = f"""\
{_VALUE}\
PGUSER=$(value POSTGRES_USER POSTGRESQL_USERNAME POSTGRESQL_USER)
PGPASSWORD=$(value POSTGRES_PASSWORD POSTGRESQL_PASSWORD)
export PGUSER="${{PGUSER:-postgres}}" PGPASSWORD PGCLIENTENCODING=UTF8 PGCONNECT_TIMEOUT=10 PGAPPNAME=buildkit-tasks
[ -n "$PGPASSWORD" ] || unset PGPASSWORD
"""

#: TCP first: while the official image sets up a new data directory, its temporary server listens only on the socket.
_POSTGRES_LOGIN = f"""\
{_POSTGRES}\
tries=0
until pg_isready -q -h 127.0.0.1 -d postgres; do
  tries=$((tries + 1))
  if [ "$tries" -gt 20 ]; then pg_isready -q -d postgres && break; fi
  if [ "$tries" -gt 60 ]; then pg_isready -d postgres; exit 1; fi
  sleep 0.5
done
name=$(value POSTGRES_DB POSTGRESQL_DATABASE)
printf '%s\\n%s\\n' "$PGUSER" "${{name:-$PGUSER}}"
psql --version
"""

_MYSQL = f"""\
{_VALUE}\
user=root
MYSQL_PWD=$(value MARIADB_ROOT_PASSWORD MYSQL_ROOT_PASSWORD)
if [ -z "$MYSQL_PWD" ]; then
  name=$(value MARIADB_USER MYSQL_USER)
  if [ -n "$name" ]; then user=$name; MYSQL_PWD=$(value MARIADB_PASSWORD MYSQL_PASSWORD); fi
fi
export MYSQL_PWD
[ -n "$MYSQL_PWD" ] || unset MYSQL_PWD
client() {{ command -v "mariadb$1" || command -v "mysql$2"; }}
"""

_MYSQL_LOGIN = f"""\
{_MYSQL}\
tries=0
until "$(client -admin admin)" --user="$user" --host=127.0.0.1 --connect-timeout=5 ping >/dev/null 2>&1; do
  tries=$((tries + 1))
  if [ "$tries" -gt 60 ]; then "$(client -admin admin)" --user="$user" --host=127.0.0.1 ping; exit 1; fi
  sleep 0.5
done
name=$(value MARIADB_DATABASE MYSQL_DATABASE)
printf '%s\\n%s\\n' "$user" "${{name:-$user}}"
"$(client '' '')" --version
"""

_SCRIPTS = {
    "postgres": f'{_POSTGRES}export PGDATABASE="$1"\nshift\nexec "$@"\n',
    "mysql": f'{_MYSQL}program=$(client "$1" "$2")\nshift 2\nexec "$program" --user="$user" "$@"\n',
}
#: Uses a file: a pipe would lose the dump's exit code, and a partial dump would pass as complete.
_MYSQL_COPY = f"""\
{_MYSQL}\
set -e
umask 077
file=$(mktemp)
trap 'rm -f "$file"' EXIT
"$(client -dump dump)" --user="$user" --single-transaction --routines --events --no-tablespaces "$1" > "$file"
"$(client '' '')" --user="$user" --database="$2" < "$file"
"""

_LOGINS = {"postgres": _POSTGRES_LOGIN, "mysql": _MYSQL_LOGIN}


def login(kind: str) -> tuple[str, ...]:
    """Wait for the server for at most half a minute, then print its user, the project's database and its version."""
    return ("sh", "-c", _LOGINS["postgres" if kind == "postgres" else "mysql"], "sh")


def postgres(database: str, *argv: str) -> tuple[str, ...]:
    """Return the command of a PostgreSQL client that connects to this database."""
    return ("sh", "-c", _SCRIPTS["postgres"], "sh", database, *argv)


def psql(database: str, *more: str) -> tuple[str, ...]:
    """Return a psql command that reads a script on stdin, stops at the first error, and prints tab-separated rows."""
    how = ("--no-psqlrc", "--no-password", "--quiet", "--no-align", "--tuples-only", "--field-separator=\t")
    return postgres(database, "psql", *how, "--set=ON_ERROR_STOP=1", *more, "--file=-")


def mysql(*argv: str) -> tuple[str, ...]:
    """Return the command of the MySQL or MariaDB client, whichever exists. `argv`: its arguments except the user."""
    return ("sh", "-c", _SCRIPTS["mysql"], "sh", "", "", *argv)


def mysqldump(*argv: str) -> tuple[str, ...]:
    """Return the `mariadb-dump` or `mysqldump` command, whichever exists."""
    return ("sh", "-c", _SCRIPTS["mysql"], "sh", "-dump", "dump", *argv)


def mysql_copy(source: str, target: str) -> tuple[str, ...]:
    """Copy a database to another on the same server."""
    return ("sh", "-c", _MYSQL_COPY, "sh", source, target)
