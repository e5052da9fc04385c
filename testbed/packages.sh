# shellcheck shell=bash
# What the machine itself must have: Debian packages, and Go.

# To build the bed and run an engine.
packages_build=(debian-archive-keyring debootstrap gpgv iptables libseccomp-dev nftables pkg-config xz-utils)
# For cargo to link with, and what people and the end-to-end suite use to look at an environment.
packages_tools=(amqp-tools bind9-dnsutils ca-certificates curl gcc iproute2 jq libc6-dev mariadb-client-core mosquitto-clients postgresql-client procps)

install_packages() {
  local wanted=("${packages_tools[@]}" "$(redis_client)") missing
  [ "$1" = build ] && wanted+=("${packages_build[@]}")
  if ! command -v apt-get >/dev/null; then
    # Not Debian: someone's laptop, whose owner installs things their own way.
    need_commands curl dig jq
    return
  fi
  missing=$(missing_packages "${wanted[@]}")
  [ -n "$missing" ] || return 0
  [ "$EUID" = 0 ] || fail "these packages are missing, and only root can install them: apt-get install $missing"
  # shellcheck disable=SC2086 # a list of names
  step "packages: $missing" apt_install $missing
}

apt_install() {
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # apt's own talk is kept for the case that it fails.
  apt-get install -y -qq --no-install-recommends "$@" >"$RUN/apt.log" 2>&1 </dev/null || {
    tail -20 "$RUN/apt.log" >&2
    fail "apt-get install failed (whole log: $RUN/apt.log)"
  }
}

missing_packages() {
  local package
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || printf '%s ' "$package"
  done
}

# Debian 12 has the same client under its older name.
redis_client() {
  # shellcheck source=/dev/null # only where there is apt
  (. /etc/os-release 2>/dev/null && [ "${ID:-}${VERSION_ID:-}" = debian12 ] && echo redis-tools) || echo valkey-tools
}

need_commands() {
  local command missing=()
  for command in "$@"; do command -v "$command" >/dev/null || missing+=("$command"); done
  [ ${#missing[@]} = 0 ] || fail "please install: ${missing[*]}"
}

# ensure_go: a Go of at least 1.26 on PATH. Debian's own is older, but it can fetch a newer one as the Go module that Go
# toolchains are published as, checked against Go's checksum database like any other module.
ensure_go() {
  go_is_new_enough && return
  local toolchain="$BED/go-$GO"
  if [ ! -x "$toolchain/bin/go" ]; then
    type -P go >/dev/null || step "package golang-go, to fetch Go $GO with" apt_install golang-go
    step "Go $GO" fetch_go "$toolchain"
  fi
  PATH=$toolchain/bin:$PATH
  go_is_new_enough || fail "Go 1.26 or newer is needed, and fetching it did not work: install it from https://go.dev/dl"
}

go_is_new_enough() {
  local version
  # GOTOOLCHAIN=local: the Go that is here, not the one that it would fetch if a go.mod asked.
  version=$(GOTOOLCHAIN=local command go env GOVERSION 2>/dev/null) || return 1
  [ "$(printf '%s\n' go1.26 "$version" | sort -V | head -1)" = go1.26 ]
}

fetch_go() {
  local answer source
  answer=$(command go mod download -json "golang.org/toolchain@v0.0.1-go$GO.linux-$(command go env GOARCH)") || fail "$(jq -r .Error <<<"$answer")"
  source=$(jq -r .Dir <<<"$answer")
  rm -rf "$1.part"
  cp -r --no-preserve=mode "$source" "$1.part"
  # A module's files carry no mode.
  chmod +x "$1.part"/bin/* "$1.part"/pkg/tool/*/*
  mv "$1.part" "$1"
}
