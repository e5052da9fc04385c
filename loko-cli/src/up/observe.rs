//! What is there before anything is done.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use loko_config::Environment;
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
        .map(|routes| held(environment, routes))
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

/// The slots that an environment's ports have, as HAProxy's routes say. Those know a port by its number on the host; where that
/// changes (`network.port-overrides`) it keeps its slot all the same: what is left of a workload is paired in order.
fn held(environment: &Environment, routes: &Routes) -> BTreeMap<PortKey, Slot> {
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
    for workload in &environment.workloads.list {
        let mut its: Vec<_> = known.iter().filter(|(name, ..)| **name == workload.name).collect();
        let mut moved = Vec::new();
        for port in &workload.ports {
            let key = PortKey {
                workload: workload.name.clone(),
                port: port.port,
                protocol: port.protocol,
            };
            let same = |(_, listen, slot): &&(_, NonZeroU16, Slot)| {
                *listen == port.host_port && slot.protocol() == port.protocol
            };
            match its.iter().position(same) {
                Some(index) => {
                    held.insert(key, its.remove(index).2);
                }
                None => moved.push(key),
            }
        }
        for key in moved {
            if let Some(index) = its.iter().position(|(.., slot)| slot.protocol() == key.protocol) {
                held.insert(key, its.remove(index).2);
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_keeps_its_slot_where_its_number_on_the_host_changes() {
        let environment = |overrides: &str| {
            let yaml = format!(
                "name: dev\nnetwork: {{domain: dev.loko.test, port-overrides: {{{overrides}}}}}\nworkloads:\n  user:\n\
                 \x20   - {{name: first, image: x, ports: [1000]}}\n    - {{name: db, image: x, ports: [5432, 8080, 53/udp]}}\n"
            );
            loko_config::load(&yaml, &loko_config::LoadOptions::default())
                .unwrap()
                .environment
        };
        let before = environment("");
        let slots = slots::assign(&BTreeMap::new(), &slots::wanted(&before)).unwrap();
        let mut routes = Routes::new(&before, "127.0.0.1".parse().unwrap(), Vec::new(), &slots);
        assert_eq!(held(&before, &routes), slots);
        let after = environment("db: {5432: 15432, 53: 1053}");
        assert_eq!(held(&after, &routes), slots);
        // The lowest slot is free; nobody takes it who has one.
        routes.tcp.retain(|route| route.workload.as_str() != "first");
        let mut kept = slots;
        kept.retain(|key, _| key.workload.as_str() != "first");
        assert_eq!(held(&environment("db: {8080: 18080}"), &routes), kept);
    }
}
