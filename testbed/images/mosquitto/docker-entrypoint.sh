#!/bin/sh
# The server gives up root by itself, and must then be able to write. A configuration that is mounted stays as it is.
if [ "$(id -u)" = 0 ]; then chown -R mosquitto:mosquitto /mosquitto 2>/dev/null || true; fi
exec "$@"
