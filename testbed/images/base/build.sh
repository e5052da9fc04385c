# shellcheck shell=bash disable=SC2154 # $stamp and $names: see make_image
# image: testbed/base:latest
# part-of: node
# Debian ${DEBIAN}, with what kube-proxy and the pod network call.
root=$(debian_root ca-certificates iptables nftables conntrack kmod netbase)
import_root "$root" "${names[0]}" "$stamp"
