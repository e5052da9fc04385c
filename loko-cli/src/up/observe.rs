//! What is there before anything is done.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use loko_config::model::AutoPort;
use loko_config::slots::{self, PortKey, Slot};
use loko_engine::{ContainerFacts, labels};
use loko_haproxy::routes::Routes;

use crate::context::Platform;
use crate::error::CliError;
use crate::host;

/// What was found before anything was done.
#[derive(Debug)]
pub(crate) struct Observed {
    /// All containers of ours, of every environment.
    pub(crate) containers: Vec<ContainerFacts>,
    /// The entry point of each port.
    pub(crate) slots: BTreeMap<PortKey, Slot>,
    /// Port of the API on 127.0.0.1.
    pub(crate) api_port: NonZeroU16,
}

/// Looks at what is there; nothing is changed.
pub(crate) async fn observe(platform: &Platform) -> Result<Observed, CliError> {
    let environment = &platform.environment;
    let edge = super::edge(platform);
    let (containers, routes) = futures_util::join!(platform.cluster.containers(), edge.environments());
    let (containers, routes) = (containers?, routes?);
    let had = routes
        .get(&environment.name)
        .map(|routes| held(platform, routes))
        .unwrap_or_default();
    let slots = slots::assign(&had, &slots::wanted(environment)).map_err(|error| CliError::Usage {
        message: error.to_string(),
        help: "an environment has 64 TCP and 16 UDP ports; `http` needs none of them".to_owned(),
    })?;
    let api_port = match environment.cluster.kubernetes.api_port {
        AutoPort::Fixed(port) => Some(port),
        AutoPort::Auto => platform.cluster.api_port(&containers).or_else(host::free_port),
    };
    let none = || CliError::Ports {
        conflicts: vec!["127.0.0.1 has no free port".to_owned()],
    };
    Ok(Observed {
        containers,
        slots,
        api_port: api_port.ok_or_else(none)?,
    })
}

/// The slots that an environment's ports have, as HAProxy's routes say.
fn held(platform: &Platform, routes: &Routes) -> BTreeMap<PortKey, Slot> {
    let tcp = routes
        .tcp
        .iter()
        .map(|route| (&route.workload, route.listen, route.node_port));
    let udp = routes
        .udp
        .iter()
        .map(|route| (&route.workload, route.listen, route.node_port));
    let known: Vec<_> = tcp
        .chain(udp)
        .filter_map(|(name, port, node)| Some((name, port, Slot::of_node_port(node)?)))
        .collect();
    let mut held = BTreeMap::new();
    for workload in &platform.environment.workloads.list {
        for port in &workload.ports {
            let found = known.iter().find(|(name, listen, slot)| {
                **name == workload.name && *listen == port.host_port && slot.protocol() == port.protocol
            });
            let key = PortKey {
                workload: workload.name.clone(),
                port: port.port,
                protocol: port.protocol,
            };
            held.extend(found.map(|(.., slot)| (key, *slot)));
        }
    }
    held
}

/// Whether any container of this environment is there.
pub(crate) fn exists(platform: &Platform, containers: &[ContainerFacts]) -> bool {
    containers
        .iter()
        .any(|container| labels::is_ours(&container.labels, Some(platform.environment.name.as_str())))
}
