//! Nodes: their names, their addresses, and the containers that they are, laid out exactly as kind lays them out
//! (kind v0.33: `pkg/cluster/internal/providers/docker/provision.go`), so that kind's own commands work on them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;

use ipnet::Ipv4Net;
use loko_config::Environment;
use loko_engine::{
    ContainerFacts, ContainerSpec, EngineFacts, Mount, NetworkAttachment, PublishedPort, Restart, labels, subnet,
};
use serde::Serialize;

use crate::authorities;

/// The network of all environments.
pub const NETWORK: &str = "loko";
/// Where the API listens inside a node.
pub const API_PORT: u16 = 6443;
/// Where kubeadm's configuration is inside a node; kind's entry point reads it when an address has changed.
pub const KUBEADM_CONFIG: &str = "/kind/kubeadm.conf";
/// Written inside a node once kubeadm has ended well: a node without it was interrupted and holds nothing of value.
pub const INITIALISED: &str = "/kind/loko-initialised";

/// What a node is to Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Runs the API server, the scheduler, the controllers and etcd.
    ControlPlane,
    /// Runs pods only.
    Worker,
}

impl Role {
    /// The value of kind's role label, and the end of the node's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::Worker => "worker",
        }
    }
}

/// A node as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Name of the container and of the Kubernetes node.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// Its place among the nodes of its role, from 1.
    pub index: u8,
    /// Its address on [`NETWORK`], pinned.
    pub address: Ipv4Addr,
}

/// Names of an environment's nodes in kind's order: the first of a role has no number.
pub fn names(environment: &Environment) -> impl Iterator<Item = (String, Role, u8)> {
    let cluster = environment.cluster_name();
    let nodes = &environment.cluster.nodes;
    let of = |role: Role, count: u8| (1..=count).map(move |index| (role, index));
    of(Role::ControlPlane, nodes.control_planes)
        .chain(of(Role::Worker, nodes.workers))
        .map(move |(role, index)| {
            let number = if index == 1 { String::new() } else { index.to_string() };
            (format!("{cluster}-{}{number}", role.as_str()), role, index)
        })
}

/// No address is left in the upper half of the network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("the network {NETWORK} ({subnet}) has no free address for {node}")]
#[diagnostic(
    code(loko::cluster::addresses),
    help("destroy an environment, or remove the network with `docker network rm {NETWORK}` while none runs")
)]
pub struct NoAddress {
    /// The network's subnet.
    pub subnet: Ipv4Net,
    /// The node that has none.
    pub node: String,
}

/// Gives every node its address: the one it has, else a free one that no container of ours holds.
pub fn place(
    environment: &Environment,
    division: &subnet::Division,
    containers: &[ContainerFacts],
) -> Result<Vec<Node>, NoAddress> {
    let has = |container: &ContainerFacts| match container.addresses.get(NETWORK) {
        Some(IpAddr::V4(address)) => Some(*address),
        _ => None,
    };
    let held: BTreeMap<&str, Ipv4Addr> = containers
        .iter()
        .filter_map(|container| Some((container.name.as_str(), has(container)?)))
        .collect();
    let mut used: Vec<Ipv4Addr> = held.values().copied().collect();
    // Two environments that are created at the same moment start at different places.
    let start = environment
        .name
        .as_str()
        .bytes()
        .fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    names(environment)
        .map(|(name, role, index)| {
            let kept = held
                .get(name.as_str())
                .copied()
                .filter(|address| division.pinned.contains(address));
            let Some(address) = kept.or_else(|| subnet::free_address(division.pinned, &used, start)) else {
                return Err(NoAddress {
                    subnet: division.subnet,
                    node: name,
                });
            };
            used.push(address);
            Ok(Node {
                name,
                role,
                index,
                address,
            })
        })
        .collect()
}

/// What the containers of nodes need to know besides the environment.
#[derive(Debug, Clone)]
pub struct NodeInput<'a> {
    /// The engine they run on.
    pub engine: &'a EngineFacts,
    /// Port of the API on 127.0.0.1.
    pub api_port: NonZeroU16,
    /// Proxy variables, `NO_PROXY` already extended; both spellings.
    pub proxy: BTreeMap<String, String>,
    /// Files with authorities that it trusts besides the public ones, by their paths in it ([`crate::authorities::files`]).
    pub authorities: BTreeMap<String, Vec<u8>>,
    /// The registry's volume and where it is mounted in the first control plane, where there is a registry.
    pub registry_volume: Option<(String, String)>,
    /// The volume with the workloads' data, which every node mounts at [`crate::storage::DATA_PATH`].
    pub data_volume: Option<String>,
}

/// The container that a node is.
#[must_use]
pub fn container(environment: &Environment, node: &Node, input: &NodeInput<'_>) -> ContainerSpec {
    let mut labels = labels::of(Some(environment.name.as_str()), "node");
    labels.insert(labels::KIND_CLUSTER.to_owned(), environment.cluster_name());
    labels.insert(labels::KIND_ROLE.to_owned(), node.role.as_str().to_owned());
    // Passed on empty as kind does: the entry point chooses the snapshotter by the file system below it.
    let mut env = BTreeMap::from([("KIND_EXPERIMENTAL_CONTAINERD_SNAPSHOTTER".to_owned(), String::new())]);
    env.extend(input.proxy.clone());
    env.extend(authorities::mark(&input.authorities).map(|mark| (authorities::MARK.to_owned(), mark)));
    let mut mounts = vec![
        Mount::Anonymous {
            target: "/var".to_owned(),
        },
        Mount::Bind {
            source: "/lib/modules".to_owned(),
            target: "/lib/modules".to_owned(),
            read_only: true,
        },
    ];
    mounts.extend(input.data_volume.iter().map(|volume| Mount::Volume {
        name: volume.clone(),
        target: crate::storage::DATA_PATH.to_owned(),
        read_only: false,
    }));
    mounts.extend(environment.cluster.extra_mounts.iter().map(|mount| Mount::Bind {
        source: mount.host_path.clone(),
        target: mount.container_path.clone(),
        read_only: mount.read_only,
    }));
    let mut ports = Vec::new();
    if node.role == Role::ControlPlane {
        env.insert("KUBECONFIG".to_owned(), "/etc/kubernetes/admin.conf".to_owned());
        if node.index == 1 && environment.cluster.nodes.control_planes == 1 {
            ports.push(PublishedPort {
                host_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
                host_port: input.api_port.get(),
                container_port: API_PORT,
                udp: false,
            });
        }
        if let (1, Some((volume, target))) = (node.index, &input.registry_volume) {
            mounts.push(Mount::Volume {
                name: volume.clone(),
                target: target.clone(),
                read_only: false,
            });
        }
    }
    let mut devices = Vec::new();
    if input.engine.rootless {
        devices.push("/dev/fuse".to_owned());
    }
    if matches!(input.engine.storage_driver.as_str(), "btrfs" | "zfs") {
        mounts.push(Mount::Bind {
            source: "/dev/mapper".to_owned(),
            target: "/dev/mapper".to_owned(),
            read_only: false,
        });
    }
    ContainerSpec {
        name: node.name.clone(),
        image: environment.cluster.kubernetes.reference(),
        hostname: Some(node.name.clone()),
        env,
        labels,
        mounts,
        tmpfs: vec!["/tmp".to_owned(), "/run".to_owned()],
        network: NetworkAttachment::Named {
            name: NETWORK.to_owned(),
            address: Some(node.address),
        },
        ports,
        privileged: true,
        security_opt: vec!["seccomp=unconfined".to_owned(), "apparmor=unconfined".to_owned()],
        private_cgroup_namespace: true,
        host_user_namespace: input.engine.remaps_users,
        restart: Restart::OnFailureOnce,
        init: Some(false),
        tty: true,
        devices,
        ..ContainerSpec::default()
    }
}

/// Nodes of this environment that are there and no longer wanted, by name.
#[must_use]
pub fn surplus(environment: &Environment, containers: &[ContainerFacts]) -> Vec<String> {
    let wanted: BTreeSet<String> = names(environment).map(|(name, ..)| name).collect();
    containers
        .iter()
        .filter(|container| {
            labels::is_ours(&container.labels, Some(environment.name.as_str()))
                && container.labels.get(labels::ROLE).is_some_and(|role| role == "node")
                && !wanted.contains(&container.name)
        })
        .map(|container| container.name.clone())
        .collect()
}
