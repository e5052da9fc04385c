# Ends what runs in a node, in the order in which nothing waits for what is gone: pods and the API server, then etcd. Each
# gets the signal that its image asks for and $1 seconds. Without it systemd ends all at once, and an API server whose etcd
# has gone waits a minute for it.
limit=$1

# It would start again what ends.
systemctl stop kubelet

# field NAME: the value of a string in JSON without blanks
field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }

# end PASS ID PID
end() {
  info=$(ctr -n k8s.io containers info "$2" 2>/dev/null | tr -d ' \t\n')
  name=$(printf %s "$info" | field io.kubernetes.container.name)
  # A sandbox has no name and nothing to lose.
  case $1,$name in *,) return ;; pods,etcd) return ;; etcd,etcd) ;; etcd,*) return ;; esac
  # What containerd keeps of a container says its image's STOPSIGNAL.
  kept=$(printf %s "$info" | sed -n 's/.*"io.cri-containerd.container.metadata":{\([^}]*\)}.*/\1/p' | field value)
  signal=$(printf %s "$kept" | base64 -d 2>/dev/null | field StopSignal)
  ctr -n k8s.io tasks kill --signal "${signal:-SIGTERM}" "$2" 2>/dev/null
  # DNS, kube-proxy and the like hold nothing.
  case $(printf %s "$info" | field io.kubernetes.pod.namespace),$name in kube-system,etcd | kube-system,kube-apiserver) ;; kube-system,*) return ;; esac
  tries=$((limit * 20))
  while [ -d "/proc/$3" ] && [ $tries -gt 0 ]; do
    sleep 0.05
    tries=$((tries - 1))
  done
  [ ! -d "/proc/$3" ] || ctr -n k8s.io tasks kill --signal SIGKILL "$2" 2>/dev/null
}

for pass in pods etcd; do
  ctr -n k8s.io tasks ls | {
    while read -r id pid status; do
      [ "$status" != RUNNING ] || end $pass "$id" "$pid" &
    done
    wait
  }
done
