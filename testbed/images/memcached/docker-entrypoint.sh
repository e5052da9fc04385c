#!/bin/sh
# Options alone are the server's.
[ "${1#-}" = "$1" ] || set -- memcached "$@"
exec "$@"
