# shellcheck shell=bash disable=SC2154 # $stamp and $names: see make_image
# image: kindest/node:${KUBERNETES}
# files: containerd ctr containerd-shim-runc-v2 runc host-local loopback ptp portmap node kindfiles.tar
# needs: kubernetes kubernetes-net kindnetd local-path-provisioner coredns pause
# A node as kind lays it out, on Debian ${DEBIAN}: systemd, containerd and the kubelet, with kind's own files, and the images of the control plane
# in containerd's content store. Follows images/base/Dockerfile and pkg/build/nodeimage of kind.

root=$BED/build/node

node_files() {
  local debian program
  debian=$(debian_root systemd conntrack iptables nftables iproute2 ethtool mount kmod libseccomp2 pigz bash ca-certificates curl jq \
    procps hostname nfs-common open-iscsi e2fsprogs)
  rm -rf --one-file-system "$root"
  mkdir -p "$BED/build"
  cp -a --reflink=auto "$debian" "$root"
  tar -C "$root" -xf "$BED/share/kindfiles.tar"
  mkdir -p "$root"/etc/systemd "$root"/etc/kubernetes/manifests "$root"/opt/cni/bin "$root"/usr/local/sbin
  cp "$bin"/{containerd,ctr,containerd-shim-runc-v2} "$root/usr/local/bin/"
  cp "$bin/runc" "$root/usr/local/sbin/"
  cp "$bin"/{host-local,loopback,ptp,portmap} "$root/opt/cni/bin/"
  cp "$bin/node" "$root/usr/local/bin/kubernetes"
  for program in kubelet kubeadm kubectl; do ln -s /usr/local/bin/kubernetes "$root/usr/bin/$program"; done
  printf %s "$KUBERNETES" >"$root/kind/version"
}

# Only what a node needs is started: no device manager, no consoles, no journal of the host's kernel.
node_systemd() {
  local system=$root/lib/systemd/system
  find "$system/sysinit.target.wants/" -name systemd-tmpfiles-setup.service -delete
  rm -f "$system"/{multi-user,local-fs,basic}.target.wants/* "$root"/etc/systemd/system/*.wants/* "$system"/sockets.target.wants/*{udev,initctl}*
  printf '[Journal]\nReadKMsg=no\n' >>"$root/etc/systemd/journald.conf"
  ln -sf /usr/lib/systemd/systemd "$root/sbin/init"
  # It warns that /proc is not mounted, which these two do not need.
  chroot "$root" systemctl enable --quiet kubelet.service containerd.service undo-mount-hacks.service 2>"$RUN/systemctl.log"
  chroot "$root" systemctl mask --quiet systemd-binfmt.service 2>>"$RUN/systemctl.log"
}

node_containerd() {
  "$bin/ctr" oci spec 2>/dev/null | jq '.hooks.createContainer += [{"path": "/kind/bin/mount-product-files.sh"}] | del(.process.rlimits)' >"$root/etc/containerd/cri-base.json"
  # A machine without CAP_SYS_RESOURCE cannot lower oom_score_adj; kind sets the same option for rootless engines.
  sed -i 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' "$root/etc/containerd/config.toml"
}

# Imported the way kind does: into the content store, unpacked at first use.
node_images() {
  local socket=$RUN/preload.sock config=$BED/build/preload.toml pid images
  # One that a killed run left behind.
  pid=$(cat "$RUN/preload.pid" 2>/dev/null) && grep -qs "$config" "/proc/$pid/cmdline" && kill "$pid"
  printf 'version = 3\nroot = "%s"\nstate = "%s"\n[grpc]\naddress = "%s"\n' "$root/var/lib/containerd" "$RUN/preload" "$socket" >"$config"
  "$bin/containerd" -c "$config" >"$RUN/preload.log" 2>&1 9>&- &
  pid=$!
  echo "$pid" >"$RUN/preload.pid"
  # shellcheck disable=SC2064 # this very process
  trap "kill $pid 2>/dev/null || true" EXIT
  until "$bin/ctr" -a "$socket" version >/dev/null 2>&1; do
    kill -0 "$pid" 2>/dev/null || fail "containerd did not start (its log: $RUN/preload.log)"
    sleep 0.2
  done
  read -ra images <<<"$(node_image_names)"
  docker save "${images[@]}" | "$bin/ctr" -a "$socket" -n k8s.io images import --no-unpack --digests - >/dev/null 2>"$RUN/import.log"
  kill "$pid"
  wait "$pid" || true
  trap - EXIT
}

node_image_names() {
  local directory name
  for directory in $(image_field node needs); do
    for name in $(image_field "$directory" image); do [[ $name = testbed/* ]] || printf '%s ' "$name"; done
  done
}

node_files
node_systemd
node_containerd
node_images
import_root "$root" "${names[0]}" "$stamp" 'ENTRYPOINT ["/usr/local/bin/entrypoint","/sbin/init"]' 'STOPSIGNAL SIGRTMIN+3' 'ENV container=docker'
rm -rf --one-file-system "$root"
