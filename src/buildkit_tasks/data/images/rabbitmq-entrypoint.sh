#!/bin/sh
# Entry point of the rabbitmq image. The server itself reads RABBITMQ_DEFAULT_USER, _PASS and _VHOST.
set -eu

# NAME_FILE (a mounted secret) can be set instead of NAME.
from_file() {
  eval "file=\${${1}_FILE:-}"
  [ -n "$file" ] || return 0
  value=$(cat "$file")
  export "$1=$value"
  unset "${1}_FILE"
}
for name in RABBITMQ_DEFAULT_USER RABBITMQ_DEFAULT_PASS RABBITMQ_DEFAULT_VHOST; do from_file "$name"; done

case ${1:-} in -*) set -- rabbitmq-server "$@" ;; esac

if [ "${1:-}" = rabbitmq-server ]; then
  # Erlang reserves memory for every file that it may open, and engines allow a billion.
  # shellcheck disable=SC3045 # dash and bash both know -n
  limit=$(ulimit -n)
  # shellcheck disable=SC3045
  if [ "$limit" = unlimited ] || [ "$limit" -gt 65536 ]; then ulimit -n 65536; fi
  if [ "$(id -u)" = 0 ]; then
    find /var/lib/rabbitmq ! -user rabbitmq -exec chown rabbitmq:rabbitmq {} +
    exec setpriv --reuid=rabbitmq --regid=rabbitmq --init-groups "$0" "$@"
  fi
  # All members of a cluster need the same cookie; without a cluster, Erlang creates one.
  if [ -n "${RABBITMQ_ERLANG_COOKIE:-}" ]; then
    (umask 077 && rm -f "$HOME/.erlang.cookie" && printf %s "$RABBITMQ_ERLANG_COOKIE" > "$HOME/.erlang.cookie")
    chmod 400 "$HOME/.erlang.cookie"
  fi
fi
exec "$@"
