//! Every port of the host that leads into a cluster, with its route, health and traffic: what `loko tunnel status` shows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroU16;

use loko_config::model::Protocol;
use loko_config::names::{EnvName, HostName, NodeName, WorkloadName};
use loko_config::slots::{Slot, WEB_NODE_PORT, WEBSECURE_NODE_PORT};
use serde::Serialize;

use crate::configuration::{BackendId, Target};
use crate::routes::Routes;
use crate::stats::{NodeHealth, Statistics, Traffic};

/// One port of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tunnel {
    /// Whose.
    pub environment: EnvName,
    /// Address and port on the host.
    pub address: SocketAddr,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Where it leads; `None`: to all HTTP hosts.
    pub workload: Option<WorkloadName>,
    /// Server names by which it is shared; empty: it is not.
    pub sni: BTreeSet<HostName>,
    /// Traefik's entry point: `web`, `websecure`, or a slot.
    pub entry_point: String,
    /// The port of each node.
    pub node_port: NonZeroU16,
    /// Each node and its health, as far as it is known.
    pub nodes: BTreeMap<NodeName, Option<NodeHealth>>,
    /// Connections and bytes since the last change; `None` for UDP, and where HAProxy does not answer.
    pub traffic: Option<Traffic>,
    /// All of it in one word.
    pub state: State,
}

/// A port in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// At least one node takes connections.
    Up,
    /// No node does, or nobody listens.
    Down,
    /// The address is none of this host's: it was on another network when the routes were made. The next `loko create` or
    /// `loko tunnel sync` finds the new one.
    AddressAway,
}

/// What is known of an environment's way in.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// HAProxy's; `None` where it does not answer.
    pub statistics: Option<&'a Statistics>,
    /// Whether the environment's UDP relay runs.
    pub relay: bool,
    /// Whether the environment's address is one of this host's.
    pub address_here: bool,
}

/// The ports of one environment, as they are served.
#[must_use]
pub fn tunnels(routes: &Routes, seen: Seen<'_>) -> Vec<Tunnel> {
    let Seen {
        statistics,
        relay,
        address_here,
    } = seen;
    let health = statistics
        .map(|statistics| statistics.nodes(&routes.environment))
        .unwrap_or_default();
    let node_up = health.values().any(|node| node.up);
    let tunnel = |listen: NonZeroU16, node_port: NonZeroU16, target: Option<Target>, entry_point: String| {
        let id = target.clone().map(|target| BackendId {
            environment: routes.environment.clone(),
            target,
        });
        let backend = id.and_then(|id| statistics?.backends.get(&id));
        let protocol = if target.is_some() { Protocol::Tcp } else { Protocol::Udp };
        let served = match protocol {
            Protocol::Tcp => backend.is_some_and(|backend| backend.up() > 0),
            Protocol::Udp => relay && node_up,
        };
        Tunnel {
            environment: routes.environment.clone(),
            address: SocketAddr::new(routes.address, listen.get()),
            protocol,
            workload: None,
            sni: BTreeSet::new(),
            entry_point,
            node_port,
            nodes: routes
                .nodes
                .iter()
                .map(|node| (node.name.clone(), health.get(&node.name).cloned()))
                .collect(),
            traffic: backend.map(|backend| backend.traffic),
            state: match (address_here, served) {
                (false, _) => State::AddressAway,
                (true, true) => State::Up,
                (true, false) => State::Down,
            },
        }
    };
    let at = |port| NonZeroU16::new(port).unwrap_or(NonZeroU16::MIN);
    let slot = |port| {
        Slot::of_node_port(port)
            .map(|slot| slot.to_string())
            .unwrap_or_default()
    };
    let mut all = vec![
        tunnel(routes.http, at(WEB_NODE_PORT), Some(Target::Http), "web".to_owned()),
        tunnel(
            routes.https,
            at(WEBSECURE_NODE_PORT),
            Some(Target::Https),
            "websecure".to_owned(),
        ),
    ];
    all.extend(routes.tcp.iter().map(|route| {
        let target = Target::Tcp {
            workload: route.workload.clone(),
            listen: route.listen,
        };
        Tunnel {
            workload: Some(route.workload.clone()),
            sni: route.sni.clone(),
            ..tunnel(route.listen, route.node_port, Some(target), slot(route.node_port))
        }
    }));
    all.extend(routes.udp.iter().map(|route| Tunnel {
        workload: Some(route.workload.clone()),
        ..tunnel(route.listen, route.node_port, None, slot(route.node_port))
    }));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::UdpRoute;
    use crate::routes::tests::{port, routes};
    use crate::stats::parse;

    #[test]
    fn each_port_has_its_entry_point_health_and_traffic() {
        let mut dev = routes("dev", "127.0.0.1", "dev.me");
        dev.udp.push(UdpRoute {
            workload: "coredns".parse().unwrap(),
            listen: port(53),
            node_port: port(30065),
        });
        let csv = "# pxname,svname,scur,stot,bin,bout,status,lastchg,check_status\n\
            dev:nodes,loko-dev-control-plane,,,,,UP,5,L7OK\n\
            dev:nodes,loko-dev-worker,,,,,DOWN,2,L4TOUT\n\
            dev:https,BACKEND,1,20,300,4000,UP,5,\n\
            dev:https,loko-dev-control-plane,1,20,300,4000,UP,5,\n\
            dev:tcp:postgres:5432,loko-dev-worker,0,0,0,0,DOWN,2,\n";
        let statistics = Statistics::of(&parse(csv).unwrap());
        let seen = Seen {
            statistics: Some(&statistics),
            relay: true,
            address_here: true,
        };
        insta::assert_yaml_snapshot!(tunnels(&dev, seen));
        let silent = Seen {
            statistics: None,
            ..seen
        };
        assert!(tunnels(&dev, silent).iter().all(|tunnel| tunnel.state == State::Down));
        let away = Seen {
            address_here: false,
            ..seen
        };
        assert!(
            tunnels(&dev, away)
                .iter()
                .all(|tunnel| tunnel.state == State::AddressAway)
        );
    }
}
