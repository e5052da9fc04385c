# shellcheck shell=bash
# The Docker Engine: one that is there, or our own.

engine_answers() { docker version >/dev/null 2>&1; }

start_engine() {
  [ "$EUID" = 0 ] || fail "no engine answers, and only root can start one"
  mkdir -p "$BED/docker"
  # A session of its own, so that it outlives whoever ran this; without the lock (9), which it would hold for ever. It finds
  # containerd, runc and docker-proxy on PATH, and must find ours.
  PATH=$bin:$PATH setsid dockerd --data-root "$BED/docker" --pidfile "$RUN/dockerd.pid" >"$RUN/dockerd.log" 2>&1 </dev/null 9>&- &
  disown
  local _
  for _ in {1..150}; do
    engine_answers && return
    sleep 0.2
  done
  tail -20 "$RUN/dockerd.log" >&2
  fail "the engine does not answer after 30 s (its log: $RUN/dockerd.log)"
}

# raise_limits: every node has dozens of inotify instances, and the kernel's default of 128 for all of them together ends at the
# third node, with kubelets that say "too many open files". kind asks for the same numbers.
raise_limits() {
  raise_limit fs.inotify.max_user_instances 512
  raise_limit fs.inotify.max_user_watches 524288
}
raise_limit() {
  [ "$(sysctl -n "$1" 2>/dev/null || echo "$2")" -lt "$2" ] || return 0
  if [ "$EUID" = 0 ] && sysctl -qw "$1=$2" 2>/dev/null; then say "$1 is $2 now"; else say "WARNING: $1 is low, several nodes need more: sysctl -w $1=$2"; fi
}

# stop_engine: ours alone, found by its pid file.
stop_engine() {
  local pid _
  if ! pid=$(engine_pid); then
    say "no engine of the bed is running"
    return
  fi
  kill "$pid"
  for _ in {1..150}; do
    engine_pid >/dev/null || return 0
    sleep 0.2
  done
  fail "the engine (process $pid) is still there 30 s after it was told to stop"
}

# engine_pid: of our engine. A pid file may outlive its process, and its number be someone else's by then.
engine_pid() {
  local pid
  pid=$(cat "$RUN/dockerd.pid" 2>/dev/null) && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ] && echo "$pid"
}

# choose_mode: build (make every image here) or pull (the engine fetches the public ones). Sets $mode and $why.
choose_mode() {
  mode=${LOKO_TESTBED_MODE:-} why="LOKO_TESTBED_MODE says so"
  case $mode in
    build | pull) return ;;
    '') ;;
    *) fail "LOKO_TESTBED_MODE is build or pull, not '$mode'" ;;
  esac
  if ! engine_answers; then
    mode=build why="no engine answers, so the bed makes its own"
  elif engine_is_ours; then
    mode=build why="the engine is the bed's own"
  else
    choose_mode_for_foreign_engine
  fi
}

choose_mode_for_foreign_engine() {
  local stamp
  # What was chosen before is visible in the node image: ours carries a stamp.
  if stamp=$(docker image inspect --format "{{index .Config.Labels \"$LABEL\"}}" "kindest/node:$KUBERNETES" 2>/dev/null); then
    if [ -n "$stamp" ]; then mode=build why="the engine has our node image"; else mode=pull why="the engine has the public node image"; fi
  elif timeout 30 docker pull --quiet "registry.k8s.io/pause:$PAUSE_TAG" >/dev/null 2>&1; then
    mode=pull why="an engine that is already there can pull"
  else
    mode=build why="an engine is already there, but cannot pull"
  fi
}
