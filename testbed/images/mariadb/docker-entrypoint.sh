#!/bin/bash
# What the official image promises, around Debian's server: MARIADB_ROOT_PASSWORD, _DATABASE, _USER and _PASSWORD, each also under its
# name with MYSQL_ and from the file that NAME_FILE names; /docker-entrypoint-initdb.d; and the user that it runs as.
set -eo pipefail
data=/var/lib/mysql

# setting NAME: prints it, from MARIADB_NAME, MYSQL_NAME, or the file of either.
setting() {
  local name file
  for name in "MARIADB_$1" "MYSQL_$1"; do
    file=${name}_FILE
    if [ -n "${!file:-}" ]; then cat "${!file}" && return; fi
    if [ -n "${!name:-}" ]; then printf %s "${!name}" && return; fi
  done
}
# quoted TEXT: as a string of SQL.
quoted() {
  local text=${1//\\/\\\\}
  printf "'%s'" "${text//\'/\\\'}"
}

accounts() {
  local root database user password
  root=$(quoted "$(setting ROOT_PASSWORD)")
  database=$(setting DATABASE)
  user=$(setting USER)
  password=$(quoted "$(setting PASSWORD)")
  # Those without a password that a new server has for its own host's names.
  echo "DELETE FROM mysql.global_priv WHERE User = '' OR (User = 'root' AND Host <> 'localhost'); FLUSH PRIVILEGES;"
  echo "ALTER USER root@localhost IDENTIFIED BY $root;"
  echo "CREATE USER root@'%' IDENTIFIED BY $root; GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;"
  [ -z "$database" ] || echo "CREATE DATABASE IF NOT EXISTS \`$database\`;"
  if [ -n "$user" ]; then
    echo "CREATE USER $(quoted "$user")@'%' IDENTIFIED BY $password;"
    [ -z "$database" ] || echo "GRANT ALL ON \`$database\`.* TO $(quoted "$user")@'%';"
  fi
  echo 'FLUSH PRIVILEGES;'
}

first_start() {
  local server script root
  root=$(setting ROOT_PASSWORD)
  [ -n "$root" ] || { echo "MARIADB_ROOT_PASSWORD is empty: nobody could sign in" >&2 && exit 1; }
  touch "$data/.preparing"
  mariadb-install-db --user=mysql --datadir="$data" --auth-root-authentication-method=normal --skip-test-db >/dev/null
  # On its socket alone: a client over TCP finds a server only when it is done.
  mariadbd --skip-networking --datadir="$data" &
  server=$!
  until mariadb --user=root --execute='SELECT 1' >/dev/null 2>&1; do
    kill -0 "$server" 2>/dev/null || { echo "the server ended while it was being prepared" >&2 && exit 1; }
    sleep 0.2
  done
  accounts | mariadb --user=root
  for script in /docker-entrypoint-initdb.d/*; do
    case $script in
      *.sh) bash "$script" ;;
      *.sql) MYSQL_PWD=$root mariadb --user=root "$(setting DATABASE)" <"$script" ;;
    esac
  done
  kill "$server"
  wait "$server"
  rm "$data/.preparing"
}

# Options alone are the server's.
[ "${1#-}" = "$1" ] || set -- mariadbd "$@"
if [ "$1" = mariadbd ] || [ "$1" = mysqld ]; then
  if [ "$(id -u)" = 0 ]; then
    chown -R mysql:mysql "$data" /run/mysqld
    exec setpriv --reuid mysql --regid mysql --init-groups "$0" "$@"
  fi
  # A first start that was interrupted is begun again.
  if [ -e "$data/.preparing" ]; then find "$data" -mindepth 1 -delete; fi
  [ -d "$data/mysql" ] || first_start
fi
exec "$@"
