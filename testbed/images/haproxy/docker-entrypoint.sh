#!/bin/sh
# Arguments alone are HAProxy's; HAProxy runs as master and worker, in the foreground.
[ "${1#-}" = "$1" ] || set -- haproxy "$@"
if [ "$1" = haproxy ]; then
  shift
  set -- haproxy -W -db "$@"
fi
exec "$@"
