#!/usr/bin/env bash
# From a clone to an HTTPS answer out of a pod, and then what one can do next. Run by `make demo`.
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=lib.sh
. testbed/lib.sh
# shellcheck source=packages.sh
. testbed/packages.sh
# shellcheck source=rust.sh
. testbed/rust.sh

config=examples/quickstart/loko.yaml
domain=quick.loko.test
state=${LOKO_HOME:-$HOME/.loko}

# show COMMAND…: as a user would type it, and then what it answers.
show() {
  printf '\n$ %s\n' "$*"
  "$@"
}

main() {
  local loko address port
  mkdir -p "$RUN"
  install_packages tools
  ensure_rust
  step "building loko" cargo build --quiet --package loko-cli
  loko=${CARGO_TARGET_DIR:-target}/debug/loko
  testbed/bed up

  show "$loko" create -c "$config"

  IFS=: read -r address port <<<"$(dns_server "$loko")"
  show dig +short "@$address" -p "$port" "whoami.$domain" A
  address=$(dig +short "@$address" -p "$port" "whoami.$domain" A)
  [ -n "$address" ] || fail "no answer from dnsmasq for whoami.$domain; look at: $loko logs dns"

  # --resolve: this host need not know the domain yet. --cacert: the answer counts only if its certificate is right.
  show curl --silent --show-error --fail --max-time 30 --cacert "$state/ca/ca.crt" --resolve "whoami.$domain:443:$address" "https://whoami.$domain/headers"
  next_steps "$loko" "$address"
}

# dns_server LOKO: address:port of the environment's dnsmasq. The status may still be "starting"; only what it says counts here.
dns_server() { "$1" status -c "$config" -o json 2>/dev/null | jq -r '.components[] | select(.name == "dnsmasq") | .addresses[0] | ltrimstr("dns://")'; }

# shellcheck disable=SC2016 # to be typed, not run
next_steps() {
  local loko=$1 address=$2
  printf '\nThat was a pod, asked by name through HAProxy and Traefik, with a certificate of your own authority. What next?\n\n'
  next "what runs, and where" "$loko status -c $config"
  next "what a component or a workload says" "$loko logs -c $config whoami"
  next "the database, on a port of this host" "$(redis_command) -h $address ping"
  next "it is a kind cluster" 'eval "$(testbed/bed env)"; kubectl get pods -A; kind get clusters'
  next "after an edit of $config: applies the edit" "$loko create -c $config"
  next "removes all of it, and asks first" "$loko destroy -c $config"
  printf 'A browser wants to know the authority, %s, and where %s is, %s.\n' "$state/ca/ca.crt" "whoami.$domain" "$address"
}
next() { printf '  # %s\n  %s\n' "$1" "$2"; }
redis_command() { if command -v valkey-cli >/dev/null; then echo valkey-cli; else echo redis-cli; fi; }

main "$@"
