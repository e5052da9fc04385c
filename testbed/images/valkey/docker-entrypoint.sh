#!/bin/sh
set -e
# Options or a configuration file alone are the server's.
case "$1" in -* | *.conf) set -- valkey-server "$@" ;; esac
if [ "$1" = valkey-server ]; then
  # The official build has protected mode off unless asked for; Debian's has it on, and then answers only its own host.
  case "$*" in
    *protected-mode*) ;;
    *.conf*) grep -qs '^protected-mode' "$2" || set -- "$@" --protected-mode no ;;
    *) set -- "$@" --protected-mode no ;;
  esac
  if [ "$(id -u)" = 0 ]; then
    chown -R valkey:valkey /data
    exec setpriv --reuid=valkey --regid=valkey --clear-groups "$@"
  fi
fi
exec "$@"
