#!/bin/sh
# Entry point of the postgres image: creates the database cluster in an empty volume, then runs the server. It reads
# POSTGRES_PASSWORD (or POSTGRES_HOST_AUTH_METHOD=trust), POSTGRES_USER, POSTGRES_DB and POSTGRES_INITDB_ARGS; each of
# them can also be set as NAME_FILE.
set -eu

# NAME_FILE (a mounted secret) can be set instead of NAME.
from_file() {
  eval "file=\${${1}_FILE:-}"
  [ -n "$file" ] || return 0
  value=$(cat "$file")
  export "$1=$value"
  unset "${1}_FILE"
}

# Runs psql on the temporary server. Only this script can reach it, so pg_isready fails until the real server runs.
query() { psql -v ON_ERROR_STOP=1 --no-psqlrc -q -h "$new/socket" -U "$POSTGRES_USER" "$@"; }

run_scripts() {
  for script in /docker-entrypoint-initdb.d/*; do
    case $script in
      *.sh)
        echo "init: $script"
        # Scripts call psql without a host, as they can in the registry's image.
        # shellcheck disable=SC1090 # the user's own script
        if [ -x "$script" ]; then PGHOST=$new/socket "$script"; else (export PGHOST="$new/socket"; . "$script"); fi ;;
      *.sql) echo "init: $script"; query -d "$POSTGRES_DB" -f "$script" ;;
      *.sql.gz) echo "init: $script"; gunzip -c "$script" | query -d "$POSTGRES_DB" ;;
    esac
  done
}

# Creates the cluster in a separate directory and moves it into place when it is complete. If the container is killed
# before that, it starts over.
make_cluster() {
  rm -rf "$new"
  mkdir -m 700 "$new" "$new/socket"
  secret=$new/password
  (umask 077 && printf '%s\n' "$POSTGRES_PASSWORD" > "$secret")
  auth=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
  given=; [ -z "$POSTGRES_PASSWORD" ] || given=--pwfile=$secret
  # shellcheck disable=SC2086 # arguments are words by design
  initdb -D "$new/cluster" --username="$POSTGRES_USER" --auth-local=trust --auth-host="$auth" $given ${POSTGRES_INITDB_ARGS:-}
  rm -f "$secret"
  printf '\nhost all all all %s\n' "$auth" >> "$new/cluster/pg_hba.conf"
  printf "\nlisten_addresses = '*'\n" >> "$new/cluster/postgresql.conf"
  pg_ctl -D "$new/cluster" -w -s -o "-c listen_addresses='' -c unix_socket_directories='$new/socket'" start
  if [ "$POSTGRES_DB" != postgres ]; then
    echo 'CREATE DATABASE :"name"' | query -d postgres -v name="$POSTGRES_DB"
  fi
  export POSTGRES_USER POSTGRES_DB PGUSER="$POSTGRES_USER" PGDATABASE="$POSTGRES_DB"
  run_scripts
  unset PGUSER PGDATABASE
  pg_ctl -D "$new/cluster" -w -s -m fast stop
  : > "$new/complete"
}

# PG_VERSION is moved last: as long as it is missing, the move is incomplete, and the next start continues it.
move_cluster() {
  for item in "$new"/cluster/*; do
    [ "${item##*/}" = PG_VERSION ] || mv "$item" "$PGDATA/"
  done
  mv "$new/cluster/PG_VERSION" "$PGDATA/"
  rm -rf "$new"
}

case ${1:-} in -*) set -- postgres "$@" ;; esac

if [ "${1:-}" = postgres ]; then
  new=$PGDATA/.buildkit-tasks-init
  if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA" /var/run/postgresql
    find "$PGDATA" ! -user postgres -exec chown postgres:postgres {} +
    chmod 700 "$PGDATA"
    chown postgres:postgres /var/run/postgresql
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
  fi
  for name in POSTGRES_PASSWORD POSTGRES_USER POSTGRES_DB POSTGRES_INITDB_ARGS; do from_file "$name"; done
  if [ ! -s "$PGDATA/PG_VERSION" ]; then
    POSTGRES_USER=${POSTGRES_USER:-postgres} POSTGRES_PASSWORD=${POSTGRES_PASSWORD:-}
    POSTGRES_DB=${POSTGRES_DB:-$POSTGRES_USER}
    if [ -z "$POSTGRES_PASSWORD" ] && [ "${POSTGRES_HOST_AUTH_METHOD:-}" != trust ]; then
      echo "error: the database is empty and POSTGRES_PASSWORD is not set (or POSTGRES_HOST_AUTH_METHOD=trust)" >&2
      exit 1
    fi
    [ -e "$new/complete" ] || make_cluster
    move_cluster
  fi
  unset POSTGRES_PASSWORD
fi
exec "$@"
