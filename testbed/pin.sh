# shellcheck shell=bash
# Writes go.mod and go.sum of go/node and go/engine from versions.env. They are committed: what they pin are some 600 modules,
# and a build that looked them up each time would be another build each month.

pin() {
  ensure_go
  step "go/node" pin_node
  step "go/engine" pin_engine
  say "look at: git diff --stat $here/go"
}

# Kubernetes' own requirements and replacements, its staging modules by their published versions, and the other programs of
# the group.
pin_node() {
  local source staging=v0.${KUBERNETES#v1.}
  source=$(module k8s.io/kubernetes "$KUBERNETES")
  cd "$here/go/node"
  awk -v require="k8s.io/kubernetes $KUBERNETES" \
    '/^module / { print "module testbed/node"; next } { print } /^require \($/ && !done { print "\t" require; done = 1 }' "$source/go.mod" |
    sed "s#=> ./staging/src/\(\S*\)#=> \1 $staging#" >go.mod
  install -m 644 "$source/go.sum" go.sum
  pin_tools "k8s.io/kubectl@$staging" "go.etcd.io/etcd/server/v3@$ETCD" "sigs.k8s.io/metrics-server@$METRICS_SERVER" "github.com/coredns/coredns@$COREDNS" \
    -- sigs.k8s.io/metrics-server/cmd/metrics-server github.com/coredns/coredns k8s.io/kubernetes/cmd/kubectl
}

pin_engine() {
  local cni=github.com/containernetworking/plugins containerd=github.com/containerd/containerd/v2 moby=github.com/moby/moby/v2 runc=github.com/opencontainers/runc
  cd "$here/go/engine"
  printf 'module testbed/engine\n\ngo 1.26.0\n' >go.mod
  : >go.sum
  pin_tools "$moby@$MOBY" "$containerd@$CONTAINERD" "$runc@$RUNC" "$cni@$CNI" \
    -- $moby/cmd/{dockerd,docker-proxy} $containerd/cmd/{containerd,containerd-shim-runc-v2,ctr} $runc \
    $cni/plugins/ipam/host-local $cni/plugins/main/{loopback,ptp} $cni/plugins/meta/portmap
}

# pin_tools MODULE@VERSION… -- PROGRAM…: the requirements of this directory's go.mod, for those programs.
pin_tools() {
  local modules=()
  while [ "$1" != -- ]; do
    modules+=("$1")
    shift
  done
  shift
  GOMOD_FLAG=-mod=mod go get "${modules[@]}"
  go mod edit "${@/#/-tool=}"
  # -e: tests of dependencies, which nothing here runs, import what cannot be had.
  GOMOD_FLAG=-mod=mod go mod tidy -e
}
