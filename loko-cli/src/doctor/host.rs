//! Verdicts on this machine's kernel and its limits.

use loko_config::model::KubeProxyMode;

use super::{Disk, Finding, Inotify, Machine, Wanted, bytes};

/// What kind recommends (kind: "Known issues", "Pod errors due to too many open files").
const INSTANCES: u64 = 512;
/// The same, of watches.
const WATCHES: u64 = 524_288;
/// Memory that should be free before an environment is started, in bytes.
const AVAILABLE: u64 = 1 << 30;
/// Files of this machine that should be free.
const FILES: u64 = 20_000;
/// Files that `loko` itself may open.
const OPEN_FILES: u64 = 1024;

pub(super) fn judge(machine: &Machine, wanted: &Wanted, rootless: bool) -> Vec<Finding> {
    let mut all = Vec::new();
    all.extend(machine.inotify.map(inotify));
    all.extend(files(machine));
    if let Some(memory) = machine.memory.filter(|memory| memory.available < AVAILABLE) {
        all.push(Finding::warning(
            "memory",
            format!("{} of {} are available", bytes(memory.available), bytes(memory.total)),
            "without room etcd and the API server are ended by the kernel, again and again",
            "stop what is not needed: `loko env list`, `docker stats --no-stream`",
        ));
    }
    all.extend(modules(machine, wanted.kube_proxy));
    if let Some(lowest) = machine
        .unprivileged_port
        .filter(|lowest| rootless && wanted.lowest_port < *lowest)
    {
        all.push(Finding::failure(
            "privileged-ports",
            format!(
                "an engine without root binds no port below {lowest}, and {} is wanted",
                wanted.lowest_port
            ),
            "nothing would listen there",
            format!(
                "sudo sysctl -w net.ipv4.ip_unprivileged_port_start={}, or other `network.lb-ports` in loko.yaml",
                wanted.lowest_port
            ),
        ));
    }
    all
}

fn inotify(inotify: Inotify) -> Finding {
    let Inotify { instances, watches } = inotify;
    let found = format!("inotify allows {instances} instances and {watches} watches");
    if instances >= INSTANCES && watches >= WATCHES {
        return Finding::ok("inotify", found);
    }
    Finding::warning(
        "inotify",
        found,
        "each node's systemd, kubelet and containerd take some, and so does dnsmasq; without, they say `too many open files`",
        format!("sudo sysctl -w fs.inotify.max_user_instances={INSTANCES} fs.inotify.max_user_watches={WATCHES}"),
    )
}

fn files(machine: &Machine) -> Option<Finding> {
    match (machine.files_left, machine.open_files) {
        (Some(left), _) if left < FILES => Some(Finding::warning(
            "files",
            format!("this machine can open {left} more files"),
            "a node alone opens some thousands",
            "sudo sysctl -w fs.file-max=1000000",
        )),
        (_, Some(limit)) if limit < OPEN_FILES => Some(Finding::warning(
            "files",
            format!("this shell's programs may open {limit} files"),
            "images stream into several nodes at once, each through connections of its own",
            format!("ulimit -n {OPEN_FILES}"),
        )),
        (None, None) => None,
        (_, limit) => {
            let limit = limit.map_or_else(|| "any number of".to_owned(), |limit| limit.to_string());
            Some(Finding::ok(
                "files",
                format!("this shell's programs may open {limit} files"),
            ))
        }
    }
}

/// kube-proxy falls back for none of its modes: it ends where the kernel lacks what it needs.
fn modules(machine: &Machine, mode: KubeProxyMode) -> Option<Finding> {
    let (name, there) = match mode {
        KubeProxyMode::Ipvs => ("ip_vs", machine.ipvs),
        KubeProxyMode::Nftables => ("nf_tables", machine.nftables),
        KubeProxyMode::Iptables | KubeProxyMode::None => return None,
    };
    if there? {
        return Some(Finding::ok("kube-proxy", format!("the kernel has {name}")));
    }
    Some(Finding::failure(
        "kube-proxy",
        format!("the kernel {} has no {name}", machine.kernel),
        "kube-proxy does not run in the mode that `cluster.kube-proxy-mode` names, and no service would answer",
        format!("sudo modprobe {name}; where there is no such module, leave `cluster.kube-proxy-mode` at `iptables`"),
    ))
}

pub(super) fn disk(disk: &Disk) -> Finding {
    let found = format!("{} are free at {}, where {}", bytes(disk.free), disk.path, disk.what);
    let why = "images are unpacked there; when it is full, the engine and etcd stop in the middle";
    let remedy = "docker system df; docker image prune";
    if disk.free < disk.needed {
        Finding::failure("disk", found, why, remedy)
    } else if disk.free < disk.wanted {
        Finding::warning("disk", found, why, remedy)
    } else {
        Finding::ok("disk", found)
    }
}
