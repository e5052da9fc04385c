//! What `loko dns status` shows.

use std::collections::BTreeSet;
use std::net::IpAddr;

use loko_config::names::HostName;
use loko_engine::ContainerFacts;
use serde::Serialize;

use crate::resolver::{self, Action, Refusal};
use crate::zone::Zone;

/// What `loko dns status` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// The domain.
    pub domain: String,
    /// What names resolve to.
    pub address: IpAddr,
    /// Where dnsmasq is asked, address and port.
    pub server: String,
    /// Whether any name under the domain resolves.
    pub wildcard: bool,
    /// Whether dnsmasq runs.
    pub running: bool,
    /// Names that are known.
    pub names: BTreeSet<HostName>,
    /// How the host's resolver is told; `None` where there is no way, or something stands in it.
    pub resolver: Option<resolver::Kind>,
    /// Why not by a way that comes before it.
    pub refused: Vec<Refusal>,
    /// What is not done yet on the host, because it needs root.
    pub missing: Vec<String>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// The status of a zone. `cluster` are names found in the cluster.
#[must_use]
pub fn status(
    zone: &Zone,
    container: Option<&ContainerFacts>,
    cluster: &BTreeSet<HostName>,
    resolver: &resolver::Facts,
) -> Status {
    let (plan, stands_in_the_way) = match resolver::set(zone, resolver) {
        Ok(plan) => (plan, None),
        Err(error) => (resolver::Plan::default(), Some(error.to_string())),
    };
    Status {
        domain: zone.domain.to_string(),
        address: zone.address,
        server: zone.server().to_string(),
        wildcard: zone.wildcard,
        running: container.is_some_and(ContainerFacts::is_running),
        names: zone.hosts.union(cluster).cloned().collect(),
        resolver: plan.backend,
        refused: plan.refused,
        missing: plan.actions.iter().map(Action::to_string).collect(),
        notes: plan.notes.into_iter().chain(stands_in_the_way).collect(),
    }
}
