# shellcheck shell=bash
# Shared by every part of the bed: where things are, how it talks, and how it knows that something is already made.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=versions.env
. "$here/versions.env"

BED=${LOKO_TESTBED_DIR:-/var/cache/loko-testbed} # kept between runs
RUN=${LOKO_TESTBED_RUN:-/run/loko-testbed}       # the engine's pid and log
# shellcheck disable=SC2034 # not every script makes images
LABEL=dev.loko.testbed.stamp # on every image that the bed made
bin=$BED/bin
# Behind the machine's own: a `docker` of the host is preferred to one that the bed built.
PATH=$PATH:$bin

say() { printf '%(%T)T testbed: %s\n' -1 "$*"; }
fail() {
  printf 'testbed: %s\n' "$*" >&2
  exit 1
}

# step TITLE COMMAND…: says what is being done, and how long it took.
step() {
  local title=$1 start=$EPOCHREALTIME
  shift
  say "$title …"
  "$@"
  say "$title: $(seconds_since "$start") s"
}
seconds_since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }'; }

# ---- Stamps -----------------------------------------------------------------------------------------------------------------
# Everything made carries the digest of what it was made from, so that it is made again when that changes and only then.

# digest: of its standard input, short enough to read.
digest() { sha256sum | cut -c1-16; }

# digest_files PATH…: of names and contents below here; a directory counts with all that is in it.
digest_files() {
  (cd "$here" && find "$@" -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum)
}

# versions_in TEXT: NAME=VALUE of each entry of versions.env that TEXT mentions. A recipe thus depends on the versions it uses
# without having to list them.
versions_in() {
  local name
  while read -r name; do
    if [[ $1 =~ \$\{?$name([^A-Z_]|$) ]]; then printf '%s=%s\n' "$name" "${!name}"; fi
  done < <(grep -oE '^[A-Z_]+' "$here/versions.env")
}

# one_at_a_time: a second `bed` waits for the first, as both would write the same files.
one_at_a_time() {
  mkdir -p "$BED" "$RUN"
  exec 9>"$BED/lock"
  flock --nonblock 9 && return
  say "another testbed/bed is at work: waiting for it"
  flock 9
}

# engine_is_ours: the engine that answers keeps its data in our cache.
engine_is_ours() { [ "$(docker info --format '{{.DockerRootDir}}' 2>/dev/null)" = "$BED/docker" ]; }
