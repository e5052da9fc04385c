# shellcheck shell=bash
# The programs, in groups: a group is what one build makes. build_<group> DIR makes into DIR what outputs[<group>] lists.

declare -A outputs=(
  [kubernetes]='bin/node bin/kubectl bin/metrics-server bin/coredns'
  [kubectl]=bin/kubectl
  [engine]='bin/dockerd bin/docker-proxy bin/containerd bin/containerd-shim-runc-v2 bin/ctr bin/runc bin/host-local bin/loopback bin/ptp bin/portmap'
  [traefik]=bin/traefik
  [kind]=bin/kind
  [kindfiles]=share/kindfiles.tar
  [local-path-provisioner]=bin/local-path-provisioner
  [registry]=bin/registry
  [httpbin]=bin/go-httpbin
  [wire]=bin/wire
  [pause]=bin/pause
  [docker]=bin/docker
  [crane]=bin/crane
  [helm]=bin/helm
  [oras]=bin/oras
  [conformance]=bin/oci-conformance
  [pebble]='bin/pebble bin/pebble-challtestsrv'
)
# Files of ours that a group is built from, besides its own recipe.
declare -A sources=([kubernetes]=go/node [kubectl]=go/node [engine]=go/engine [kindfiles]=go/kindfiles [wire]=go/wire [pause]=images/pause/pause.c)

groups_build=(kubernetes engine traefik kind kindfiles local-path-provisioner registry httpbin wire pause)
groups_pull=(kubectl kind wire)
groups_optional=(crane helm oras conformance pebble)

# ---- Recipes ----------------------------------------------------------------------------------------------------------------

strip='-s -w'

# go: quiet about modules, and the same wherever it runs: no paths, no commit, no go.mod changed on the way.
# GOTOOLCHAIN: a go.mod may ask for a later patch release than the one that is here; Debian's default is not to fetch it.
go() { GOTOOLCHAIN=auto GOFLAGS="-trimpath -buildvcs=false ${GOMOD_FLAG:--mod=readonly}" command go "$@" 2> >(sed -E '/^go: (downloading|added|upgraded|finding)/d' >&2); }

# module MODULE VERSION: where its source is.
module() { go mod download -json "$1@$2" | jq -r .Dir; }

# go_install DIR PACKAGE VERSION: a program with the requirements that its own module states.
go_install() { GOBIN=$1/bin go install -ldflags "$strip" "$2@$3"; }

build_kubernetes() {
  local v=k8s.io/component-base/version
  cd "$here/go/node"
  go build -ldflags "$strip -X $v.gitVersion=$KUBERNETES -X $v.gitMajor=1 -X $v.gitMinor=$(cut -d. -f2 <<<"$KUBERNETES") -X $v.gitTreeState=clean" \
    -o "$1/bin/" . sigs.k8s.io/metrics-server/cmd/metrics-server github.com/coredns/coredns
  ln -s node "$1/bin/kubectl"
}

# Where the node image is pulled, kubectl is all that is wanted of the above.
build_kubectl() {
  cd "$here/go/node"
  go build -ldflags "$strip -X k8s.io/component-base/version.gitVersion=$KUBERNETES" -o "$1/bin/" k8s.io/kubernetes/cmd/kubectl
}

build_engine() {
  local cni=github.com/containernetworking/plugins/plugins containerd=github.com/containerd/containerd/v2 moby=github.com/moby/moby/v2
  cd "$here/go/engine"
  CGO_ENABLED=1 go build -tags seccomp -ldflags "$strip" -o "$1/bin/runc" github.com/opencontainers/runc
  go build -tags "no_btrfs no_zfs no_devmapper no_aufs" -ldflags "$strip -X $containerd/version.Version=$CONTAINERD" \
    -o "$1/bin/" $containerd/cmd/{containerd,containerd-shim-runc-v2,ctr}
  go build -ldflags "$strip" -o "$1/bin/" $cni/ipam/host-local $cni/main/{loopback,ptp} $cni/meta/portmap
  # The module's version is a beta's number; what users know is the engine's.
  go build -tags "exclude_graphdriver_btrfs exclude_graphdriver_zfs" -ldflags "$strip -X $moby/dockerversion.Version=29.0.0" \
    -o "$1/bin/" $moby/cmd/{dockerd,docker-proxy}
}

# Three things of Traefik's build are not to be had as modules: its nested module `ext` (two empty types), its fork of
# go-http-auth at that commit (an older commit of the same fork compiles), and the SDKs of DNS vendors behind ACME's DNS
# challenge (left out). Its go.mod and go.sum are its own, so they need no pin here.
build_traefik() {
  local source lego
  source=$(module github.com/traefik/traefik/v3 "$TRAEFIK")
  lego=$(module github.com/go-acme/lego/v5 "$LEGO")
  cd "$1"
  awk -v require="github.com/traefik/traefik/v3 $TRAEFIK" \
    '/^module / { print "module testbed/traefik"; next } { print } /^require \($/ && !done { print "\t" require; done = 1 }' "$source/go.mod" >go.mod
  install -m 644 "$source/go.sum" go.sum
  mkdir ext
  printf 'module github.com/traefik/traefik/dynamic/ext\n\ngo 1.24\n' >ext/go.mod
  printf 'package ext\n\ntype HTTP struct{}\n\ntype Router struct{}\n' >ext/ext.go
  cp -r --no-preserve=mode "$lego" lego
  rm -f lego/providers/dns/*_test.go
  cat >lego/providers/dns/zz_gen_dns_providers.go <<'GO'
package dns

import (
	"fmt"

	"github.com/go-acme/lego/v5/challenge"
)

// NewDNSChallengeProviderByName knows no provider: the test bed reaches no DNS vendor.
func NewDNSChallengeProviderByName(name string) (challenge.Provider, error) {
	return nil, fmt.Errorf("unrecognized DNS provider: %s", name)
}
GO
  sed -i -e 's#=> ./pkg/config/dynamic/ext#=> ./ext#' -e 's#\(containous/go-http-auth\) v.*#\1 v0.4.1-0.20200324110947-a37a7636d23e#' go.mod
  go mod edit -replace github.com/go-acme/lego/v5=./lego
  printf '//go:build tools\n\npackage traefik\n\nimport _ "github.com/traefik/traefik/v3/cmd/traefik"\n' >tools.go
  GOMOD_FLAG=-mod=mod go build -ldflags "$strip -X github.com/traefik/traefik/v3/pkg/version.Version=$TRAEFIK" \
    -o "$1/bin/traefik" github.com/traefik/traefik/v3/cmd/traefik
}

build_kind() { go_install "$1" sigs.k8s.io/kind "$KIND"; }
build_local-path-provisioner() { go_install "$1" github.com/rancher/local-path-provisioner "$LOCAL_PATH"; }
build_registry() { go_install "$1" github.com/distribution/distribution/v3/cmd/registry "$DISTRIBUTION"; }
build_httpbin() { go_install "$1" github.com/mccutchen/go-httpbin/v2/cmd/go-httpbin "v$HTTPBIN"; }
build_wire() { cd "$here/go/wire" && go build -ldflags "$strip" -o "$1/bin/" .; }
build_crane() { go_install "$1" github.com/google/go-containerregistry/cmd/crane "$CRANE"; }
build_helm() { go_install "$1" helm.sh/helm/v4/cmd/helm "$HELM"; }
build_oras() { go_install "$1" oras.land/oras/cmd/oras "$ORAS"; }
build_conformance() {
  go_install "$1" github.com/opencontainers/distribution-spec/conformance "$CONFORMANCE"
  mv "$1/bin/conformance" "$1/bin/oci-conformance"
}

# An ACME server, and the name server that it asks.
build_pebble() {
  local module=github.com/letsencrypt/pebble/v2/cmd
  go_install "$1" $module/pebble "$PEBBLE"
  go_install "$1" $module/pebble-challtestsrv "$PEBBLE"
}

# What kind bakes into a node image besides programs: its files, and the manifests of the pod network and of storage.
build_kindfiles() {
  local source manifests=$1/files/kind/manifests image
  source=$(module sigs.k8s.io/kind "$KIND")
  mkdir -p "$1/files"
  cp -rL --no-preserve=mode "$source"/images/base/files/{usr,etc,kind} "$1/files/"
  chmod 755 "$1"/files/usr/local/bin/* "$1"/files/kind/bin/*
  mkdir -p "$manifests"
  cd "$here/go/kindfiles"
  go run . "$source/pkg/build/nodeimage" defaultCNIManifest >"$manifests/default-cni.yaml"
  go run . "$source/pkg/build/nodeimage" defaultStorageManifest >"$manifests/default-storage.yaml"
  for image in "$KINDNETD" "$LOCAL_PATH_PROVISIONER" "$LOCAL_PATH_HELPER"; do
    grep -qF "docker.io/$image" "$manifests"/*.yaml ||
      fail "kind $KIND does not name $image; put these into versions.env: $(grep -ohE 'docker.io/kindest/\S+' "$manifests"/*.yaml | sort -u | xargs)"
  done
  tar -C "$1/files" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf "$1/share/kindfiles.tar" .
}

build_pause() { gcc -Os -static -s -o "$1/bin/pause" "$here/images/pause/pause.c"; }

# Only where the machine has no `docker`. Debian 12's is too old for this engine, so it is taken out of the release that the
# images stand on, and without its package: that would bring an engine along.
build_docker() {
  local root
  root=$(debian_root docker-cli)
  cp "$root/usr/bin/docker" "$1/bin/"
  rm -rf --one-file-system "$root"
}

# ---- Made once --------------------------------------------------------------------------------------------------------------

# group_stamp GROUP: digest of its recipe (as bash prints it: comments do not count), the versions that the recipe uses and its
# sources. The Go compiler's version is left out: its patch releases would rebuild everything for nothing.
group_stamp() {
  local recipe
  recipe=$(declare -f "build_$1")
  {
    printf '%s\n' "$recipe" "${outputs[$1]}"
    versions_in "$recipe"
    # shellcheck disable=SC2086 # a list of paths
    [ -z "${sources[$1]:-}" ] || digest_files ${sources[$1]}
  } | digest
}

# stamps/binaries/<group> holds the group's stamp, then the checksum of each of its files, for the images that copy them.
group_record() { printf '%s/stamps/binaries/%s' "$BED" "$1"; }

# group_state GROUP: ok, stale or missing.
group_state() {
  local record file
  record=$(group_record "$1")
  for file in ${outputs[$1]}; do [ -e "$BED/$file" ] || { echo missing; return; }; done
  if [ -f "$record" ] && [ "$(head -1 "$record")" = "$(group_stamp "$1")" ]; then echo ok; else echo stale; fi
}

ensure_group() {
  [ "$(group_state "$1")" = ok ] && return
  ensure_go
  step "building ${outputs[$1]//bin\//}" make_group "$1"
}

# make_group GROUP: built beside, checked, then renamed into place, the stamp last: a kill at any point costs this group at most.
make_group() {
  local group=$1 stage=$BED/build/$1 file
  rm -rf "$stage"
  mkdir -p "$stage"/{bin,share} "$bin" "$BED/share" "$BED/stamps/binaries"
  (
    export CGO_ENABLED=0
    "build_$group" "$stage"
  )
  rm -f "$(group_record "$group")"
  for file in ${outputs[$group]}; do mv "$stage/$file" "$BED/$file"; done
  write_group_record "$group"
  rm -rf "$stage"
}

write_group_record() {
  local record
  record=$(group_record "$1")
  # shellcheck disable=SC2086 # a list of paths
  { group_stamp "$1" && (cd "$BED" && sha256sum ${outputs[$1]}); } >"$record.part"
  mv "$record.part" "$record"
}

# ensure_binaries MODE OPTIONAL…: every group that this machine needs.
ensure_binaries() {
  local group groups=("${groups_build[@]}")
  [ "$1" = pull ] && groups=("${groups_pull[@]}")
  shift
  command -v docker >/dev/null && [ "$(command -v docker)" != "$bin/docker" ] || groups=(docker "${groups[@]}")
  for group in "${groups[@]}" "$@"; do ensure_group "$group"; done
}
