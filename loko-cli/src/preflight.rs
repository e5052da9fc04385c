//! What can be refused before anything is touched.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use loko_cluster::ClusterError;
use loko_cluster::driver::Helm;
use loko_config::Source;
use loko_config::model::{KubeProxyMode, Protocol};
use loko_haproxy::Edge;
use loko_haproxy::portcheck::{self, Conflict, Wanted};
use loko_haproxy::routes::Routes;
use serde::Serialize;

use crate::context::{Context, Platform};
use crate::doctor::{self, Facts};
use crate::error::CliError;
use crate::up::{self, Observed};

/// Kubernetes versions that kubeadm's v1beta4 configuration is read by.
const OLDEST_KUBERNETES: (u64, u64) = (1, 31);

/// Refuses what cannot work: ports in use by others, charts without `helm`, a Kubernetes too old.
pub(crate) async fn check(context: &Context, platform: &Platform, observed: &Observed) -> Result<(), CliError> {
    kubernetes(platform)?;
    topology(platform)?;
    charts(platform).await?;
    machine(context, platform).await?;
    // What another environment has is refused by its name.
    let routes = Routes::new(&platform.environment, platform.address, Vec::new(), &observed.slots);
    up::edge(platform).check(&routes).await?;
    refuse(&ports(platform, observed).await?)
}

/// What [`ports`] found, as the error that ends a command.
pub(crate) fn refuse(ports: &[PortState]) -> Result<(), CliError> {
    let conflicts = sentences(ports);
    if conflicts.is_empty() {
        Ok(())
    } else {
        Err(CliError::Ports { conflicts })
    }
}

/// One sentence for each port that somebody else has.
pub(crate) fn sentences(ports: &[PortState]) -> Vec<String> {
    let conflicts = ports.iter().flat_map(|port| &port.conflicts);
    conflicts.map(ToString::to_string).collect()
}

/// What `loko doctor` calls a failure. Ports are told apart from it, by name and with who has them.
async fn machine(context: &Context, platform: &Platform) -> Result<(), CliError> {
    let engine = doctor::whole(&platform.engine, platform.connected).await?;
    let facts = Facts {
        wanted: doctor::Wanted::of(&platform.environment),
        machine: doctor::machine(context.home.root(), engine.data_root()),
        engine: Ok(engine),
        ports: None,
        resolver: None,
        trust: None,
        proxies: BTreeMap::new(),
    };
    doctor::refuse(&doctor::judge(&facts))
}

fn kubernetes(platform: &Platform) -> Result<(), CliError> {
    let tag = platform.environment.cluster.kubernetes.tag.as_str();
    let mut numbers = tag
        .trim_start_matches('v')
        .split('.')
        .map_while(|part| part.parse::<u64>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) < OLDEST_KUBERNETES => Err(CliError::Usage {
            message: format!("Kubernetes {tag} is too old"),
            help: "`cluster.kubernetes.tag` must be v1.31 or newer: kubeadm of older ones reads another configuration"
                .to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Without kube-proxy nothing answers at the addresses of services, which everything of ours is reached at: a replacement
/// would have to be there before Traefik, CoreDNS and the pod network.
fn topology(platform: &Platform) -> Result<(), CliError> {
    if platform.environment.cluster.kube_proxy_mode != KubeProxyMode::None {
        return Ok(());
    }
    Err(CliError::Usage {
        message: "`cluster.kube-proxy-mode: none`: no service of the cluster would answer, those of LoKO among them"
            .to_owned(),
        help: "choose `iptables`, `nftables` or `ipvs`; for a cluster with another service proxy, use kind itself"
            .to_owned(),
    })
}

/// Charts need `helm`; images and the catalogue do not.
async fn charts(platform: &Platform) -> Result<(), CliError> {
    let environment = &platform.environment;
    let charts = environment
        .enabled_workloads()
        .filter(|one| matches!(one.source, Source::Chart(_)));
    let names: Vec<String> = charts.map(|workload| workload.name.to_string()).collect();
    if !names.is_empty() {
        Helm::check(&names).await.map_err(ClusterError::from)?;
    }
    Ok(())
}

/// A port of the host that the environment needs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PortState {
    pub(crate) address: SocketAddr,
    pub(crate) protocol: Protocol,
    #[serde(rename = "use")]
    pub(crate) whose: Use,
    /// Who has it, where somebody else does.
    pub(crate) conflicts: Vec<Conflict>,
}

/// Whose a port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Use {
    /// Nobody's.
    Free,
    /// In use by `LoKO` itself.
    Own,
    /// Somebody else's.
    Taken,
}

/// Sockets that the edge of this environment binds on the host.
fn wanted_ports(platform: &Platform, edge: &Edge) -> Vec<Wanted> {
    let network = &platform.environment.network;
    let at = |port: u16, protocol| Wanted {
        address: SocketAddr::new(platform.address, port),
        protocol,
    };
    let mut wanted = vec![
        at(network.lb_ports.http.get(), Protocol::Tcp),
        at(network.lb_ports.https.get(), Protocol::Tcp),
    ];
    for workload in platform.environment.enabled_workloads() {
        wanted.extend(
            workload
                .ports
                .iter()
                .map(|port| at(port.host_port.get(), port.protocol)),
        );
    }
    wanted.push(Wanted {
        address: edge.statistics(),
        protocol: Protocol::Tcp,
    });
    wanted
}

/// Every port that the environment needs on this host, and whose it is. What our own containers have is no conflict: two
/// environments share the edge, and what they cannot share it refuses itself.
pub(crate) async fn ports(platform: &Platform, observed: &Observed) -> Result<Vec<PortState>, CliError> {
    let edge = up::edge(platform);
    let mut wanted = wanted_ports(platform, &edge);
    let mut own = edge.served().await?;
    let api = Wanted {
        address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), observed.api_port.get()),
        protocol: Protocol::Tcp,
    };
    wanted.push(api);
    let endpoint = loko_cluster::balancer::endpoint(&platform.environment);
    let mut containers = observed.containers.iter();
    if containers.any(|container| container.name == endpoint && container.is_running()) {
        own.insert(api);
    }
    let asked: Vec<Wanted> = wanted.iter().filter(|port| !own.contains(port)).copied().collect();
    let all = platform.engine.containers(&BTreeMap::new()).await?;
    let ours: BTreeSet<String> = observed
        .containers
        .iter()
        .flat_map(|c| [c.id.clone(), c.name.clone()])
        .collect();
    let conflicts = portcheck::check(&asked, &all, &ours);
    let state = |port: Wanted| {
        let its = |conflict: &&Conflict| conflict.wanted == port.address && conflict.protocol == port.protocol;
        let conflicts: Vec<Conflict> = conflicts.iter().filter(its).cloned().collect();
        PortState {
            address: port.address,
            protocol: port.protocol,
            whose: match (own.contains(&port), conflicts.is_empty()) {
                (true, _) => Use::Own,
                (false, true) => Use::Free,
                (false, false) => Use::Taken,
            },
            conflicts,
        }
    };
    Ok(wanted.into_iter().map(state).collect())
}
