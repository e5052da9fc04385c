#!/bin/bash
# What the official image promises, around Debian's server: POSTGRES_PASSWORD, _USER, _DB, _INITDB_ARGS and _HOST_AUTH_METHOD, each
# also from the file that NAME_FILE names; PGDATA; /docker-entrypoint-initdb.d; and the user that it runs as.
set -eo pipefail

# setting NAME DEFAULT: exports NAME, from itself, its file, or the default.
setting() {
  local file=${1}_FILE
  if [ -n "${!file:-}" ]; then
    export "$1=$(<"${!file}")"
  else
    export "$1=${!1:-$2}"
  fi
}

first_start() {
  local access script
  setting POSTGRES_USER postgres
  setting POSTGRES_DB "$POSTGRES_USER"
  setting POSTGRES_PASSWORD ''
  setting POSTGRES_INITDB_ARGS ''
  setting POSTGRES_HOST_AUTH_METHOD ''
  if [ -z "$POSTGRES_PASSWORD" ] && [ "$POSTGRES_HOST_AUTH_METHOD" != trust ]; then
    echo "POSTGRES_PASSWORD is empty, and POSTGRES_HOST_AUTH_METHOD is not trust: nobody could sign in" >&2
    exit 1
  fi
  # shellcheck disable=SC2086 # a list of options
  if [ -n "$POSTGRES_PASSWORD" ]; then
    initdb --pgdata "$PGDATA" --username "$POSTGRES_USER" --pwfile <(printf '%s\n' "$POSTGRES_PASSWORD") $POSTGRES_INITDB_ARGS
  else
    initdb --pgdata "$PGDATA" --username "$POSTGRES_USER" $POSTGRES_INITDB_ARGS
  fi
  access=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
  printf '\nhost all all all %s\n' "$access" >>"$PGDATA/pg_hba.conf"
  printf "\nlisten_addresses = '*'\n" >>"$PGDATA/postgresql.conf"

  # On its socket alone: a client over TCP finds a server only when it is done.
  pg_ctl --pgdata "$PGDATA" --options "-c listen_addresses=''" --wait start
  if [ "$POSTGRES_DB" != postgres ]; then createdb --username "$POSTGRES_USER" --maintenance-db postgres "$POSTGRES_DB"; fi
  for script in /docker-entrypoint-initdb.d/*; do
    case $script in
      *.sh) bash "$script" ;;
      *.sql) psql --set ON_ERROR_STOP=1 --no-password --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --file "$script" ;;
    esac
  done
  pg_ctl --pgdata "$PGDATA" --mode fast --wait stop
}

# Options alone are the server's.
[ "${1#-}" = "$1" ] || set -- postgres "$@"
if [ "$1" = postgres ]; then
  if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA"
    chown -R postgres:postgres "$PGDATA" /var/run/postgresql
    exec setpriv --reuid postgres --regid postgres --init-groups "$0" "$@"
  fi
  mkdir -p "$PGDATA"
  chmod 700 "$PGDATA"
  [ -s "$PGDATA/PG_VERSION" ] || first_start
  unset POSTGRES_PASSWORD
fi
exec "$@"
