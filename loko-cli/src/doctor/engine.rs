//! Verdicts on the engine.

use jiff::Timestamp;
use loko_engine::EngineFacts;

use super::{EngineView, Finding, Wanted, bytes};

/// `CgroupnsMode`, which every node asks for, came with Docker 20.10.
const OLDEST_API: (u32, u32) = (1, 41);
/// Memory that one node takes with all components, in bytes.
const FIRST_NODE: u64 = 2 << 30;
/// Memory that each further node takes, in bytes.
const NEXT_NODE: u64 = 512 << 20;
/// Clocks that differ less do no harm, in seconds.
const SKEW: i64 = 10;
/// Certificates made on one side are not valid yet on the other, in seconds.
const MUCH_SKEW: i64 = 300;

pub(super) fn judge(view: &EngineView, wanted: &Wanted) -> Vec<Finding> {
    let facts = &view.facts;
    let mut all = vec![version(facts)];
    all.extend(podman(facts));
    all.extend(rootless(facts));
    all.push(cgroup(facts));
    all.push(memory(facts, wanted));
    all.extend(clock(facts, view.asked));
    all
}

fn version(facts: &EngineFacts) -> Finding {
    let name = if facts.podman { "Podman" } else { "Docker" };
    let found = format!(
        "{name} {} (API {}) at {}, {}",
        facts.version, facts.api_version, facts.endpoint, facts.operating_system
    );
    let mut numbers = facts.api_version.split('.').map_while(|part| part.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) < OLDEST_API => Finding::failure(
            "engine",
            found,
            "it gives containers no cgroup namespace of their own, without which a Kubernetes node does not start",
            "install Docker 20.10 or newer: https://docs.docker.com/engine/install/",
        ),
        _ => Finding::ok("engine", found),
    }
}

/// What is known not to work behind Podman's socket, as kind's documentation of its Podman provider and Podman's of its API
/// have it.
fn podman(facts: &EngineFacts) -> Vec<Finding> {
    if !facts.podman {
        return Vec::new();
    }
    let mut all = vec![Finding::warning(
        "podman",
        "the engine is Podman behind Docker's API",
        "LoKO is tested on Docker; containers of Podman do not come back by themselves after a reboot, `kind` finds the cluster \
         only with KIND_EXPERIMENTAL_PROVIDER=podman, and short image names need a search list",
        "after a reboot run `loko start`; write image names in full (docker.io/library/nginx)",
    )];
    all.extend(cni(facts));
    if facts.rootless {
        all.push(Finding::warning(
            "podman",
            "Podman runs without root",
            "it stops containers when their user logs out",
            "loginctl enable-linger",
        ));
    }
    all
}

/// Podman before 5 may make its networks with CNI, which refuses the addresses of nodes: they are pinned outside of the range that the
/// network gives out itself (seen with 4.3.1). Behind Docker's API only the list of drivers tells: of CNI it has `ipvlan`, of netavark
/// from 4.6 on as well.
fn cni(facts: &EngineFacts) -> Option<Finding> {
    let mut numbers = facts.version.split('.').map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next()?, numbers.next()?);
    let ipvlan = facts.network_drivers.iter().any(|driver| driver == "ipvlan");
    if version >= (5, 0) || !ipvlan {
        return None;
    }
    let why = "CNI refuses the fixed addresses that nodes have: `failed to allocate all requested IPs`";
    let remedy = "install Podman 5; or write `network_backend = \"netavark\"` under `[network]` in /etc/containers/containers.conf, \
                  then `podman system reset`, which removes all its containers and images";
    Some(if version < (4, 6) {
        Finding::failure(
            "podman",
            format!("Podman {} makes networks with CNI", facts.version),
            why,
            remedy,
        )
    } else {
        let found = format!("Podman {} may make networks with CNI", facts.version);
        Finding::warning("podman", found, why, remedy)
    })
}

/// What kind asks of an engine without root (kind: `pkg/cluster/internal/create`).
fn rootless(facts: &EngineFacts) -> Option<Finding> {
    if !facts.rootless {
        return None;
    }
    Some(if facts.cgroup_version == 1 {
        Finding::failure(
            "rootless",
            "the engine runs without root on cgroup v1",
            "a node must limit its pods, and on cgroup v1 only root may",
            "boot with cgroup v2 (kernel argument `systemd.unified_cgroup_hierarchy=1`), or use an engine with root",
        )
    } else if facts.limits {
        Finding::ok(
            "rootless",
            "the engine runs without root and may limit memory, CPU and processes",
        )
    } else {
        Finding::failure(
            "rootless",
            "the engine runs without root, and controllers are not delegated to it",
            "a node must limit memory, CPU and processes of its pods",
            "sudo mkdir -p /etc/systemd/system/user@.service.d && printf '[Service]\\nDelegate=yes\\n' | sudo tee \
             /etc/systemd/system/user@.service.d/delegate.conf && sudo systemctl daemon-reload; then log in anew",
        )
    })
}

fn cgroup(facts: &EngineFacts) -> Finding {
    if facts.cgroup_version == 1 {
        Finding::warning(
            "cgroup",
            "cgroup v1",
            "Kubernetes from 1.35 on runs on it only when told, which LoKO does, and will drop it",
            "boot with cgroup v2: kernel argument `systemd.unified_cgroup_hierarchy=1`",
        )
    } else {
        Finding::ok("cgroup", "cgroup v2")
    }
}

fn memory(facts: &EngineFacts, wanted: &Wanted) -> Finding {
    let need = FIRST_NODE + wanted.nodes.saturating_sub(1) * NEXT_NODE;
    let found = format!(
        "the engine has {} of memory and {} CPUs",
        bytes(facts.memory),
        facts.cpus
    );
    let remedy = format!(
        "give it {}: in Docker Desktop under Settings, Resources; with Colima `colima start --memory {}`",
        bytes(need),
        need.div_ceil(1 << 30)
    );
    let why = "without room etcd and the API server are ended by the kernel, again and again";
    match facts.memory {
        0 => Finding::ok("memory", "the engine does not say how much memory it has"),
        memory if memory < need / 2 => Finding::failure("memory", found, why, remedy),
        // What a machine calls 2 GiB is a little less to its kernel.
        memory if memory < need / 10 * 9 => Finding::warning("memory", found, why, remedy),
        _ => Finding::ok("memory", found),
    }
}

fn clock(facts: &EngineFacts, asked: Timestamp) -> Option<Finding> {
    let engine: Timestamp = facts.time.parse().ok()?;
    let skew = engine.as_second() - asked.as_second();
    let found = match skew {
        0 => "the engine's clock is this host's".to_owned(),
        1.. => format!("the engine's clock is {skew} s ahead of this host's"),
        _ => format!("the engine's clock is {} s behind this host's", -skew),
    };
    let why = "a certificate that is made on one side is not valid yet, or no longer, on the other";
    let remedy = "sudo timedatectl set-ntp true; a machine that the engine runs in is set right when it is restarted";
    Some(match skew.abs() {
        ..=SKEW => Finding::ok("clock", found),
        skew if skew < MUCH_SKEW => Finding::warning("clock", found, why, remedy),
        _ => Finding::failure("clock", found, why, remedy),
    })
}
