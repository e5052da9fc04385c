//! UDP ports of one environment, which HAProxy does not forward: Traefik again, on the host, with UDP entry points only.
//!
//! It is there only while the environment has a UDP port. Its entry points are arguments, so a port more or less makes
//! its container anew; where they lead it asks HAProxy once a second, which knows what nodes are up.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;

use loko_config::names::EnvName;
use loko_engine::labels;
use loko_engine::{ContainerSpec, EdgeMode, NetworkAttachment, PublishedPort, Restart};

use crate::configuration::{RELAY_PATH, RelayDocument};
use crate::container::Names;
use crate::routes::{Routes, UdpRoute};

/// The name of the relay's container: `loko-<env>-udp`.
#[must_use]
pub fn container_name(environment: &EnvName) -> String {
    format!("loko-{environment}-udp")
}

/// The relay's container; `None` where the environment has no UDP port. It asks the HAProxy of `names` at the port of its
/// `statistics`.
#[must_use]
pub fn spec(routes: &Routes, image: &str, mode: EdgeMode, names: &Names, statistics: u16) -> Option<ContainerSpec> {
    if routes.udp.is_empty() {
        return None;
    }
    let (inside, haproxy) = match mode {
        EdgeMode::HostNetwork => (routes.address, "127.0.0.1"),
        EdgeMode::Published => (IpAddr::V4(Ipv4Addr::UNSPECIFIED), names.container.as_str()),
    };
    let mut command = [
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
        "--log.level=INFO",
        // Of two seconds: what one answer says is all there is to wait for.
        "--providers.providersthrottleduration=200ms",
        "--providers.http.pollinterval=1s",
        "--providers.http.polltimeout=2s",
        &format!(
            "--providers.http.endpoint=http://{haproxy}:{statistics}{RELAY_PATH}/{}",
            routes.environment
        ),
    ]
    .map(str::to_owned)
    .to_vec();
    for route in &routes.udp {
        let name = entry_point(route);
        let address = SocketAddr::new(inside, route.listen.get());
        command.push(format!("--entrypoints.{name}.address={address}/udp"));
        command.push(format!(
            "--entrypoints.{name}.udp.timeout={}s",
            session_seconds(route.listen)
        ));
    }
    let (network, ports) = match mode {
        EdgeMode::HostNetwork => (NetworkAttachment::Host, Vec::new()),
        EdgeMode::Published => {
            let publish = |route: &UdpRoute| PublishedPort {
                host_ip: routes.address,
                host_port: route.listen.get(),
                container_port: route.listen.get(),
                udp: true,
            };
            let name = names.network.clone();
            (
                NetworkAttachment::Named { name, address: None },
                routes.udp.iter().map(publish).collect(),
            )
        }
    };
    Some(ContainerSpec {
        name: container_name(&routes.environment),
        image: image.to_owned(),
        entrypoint: Some(vec!["traefik".to_owned()]),
        command: Some(command),
        user: Some("0:0".to_owned()),
        // An engine that remaps users refuses the host's network without this.
        host_user_namespace: mode == EdgeMode::HostNetwork,
        cap_drop: vec!["ALL".to_owned()],
        cap_add: vec!["NET_BIND_SERVICE".to_owned()],
        security_opt: vec!["no-new-privileges".to_owned()],
        labels: labels::of(Some(routes.environment.as_str()), "udp"),
        network,
        ports,
        restart: Restart::UnlessStopped,
        ..ContainerSpec::default()
    })
}

/// What the relay is told when it asks: where each of its entry points leads, with the health of each node at that moment.
/// A format string of HAProxy, which answers with it ([`RELAY_PATH`]) and puts 1 or 0 for a node that is up or down.
///
/// Traefik checks no UDP servers itself. `None` where there is no UDP port.
#[must_use]
pub fn document(routes: &Routes) -> Option<RelayDocument> {
    // An answer is one buffer of HAProxy, 16 KiB; so many nodes at all 16 ports fit.
    const MOST_NODES: usize = 4;
    if routes.udp.is_empty() {
        return None;
    }
    let nodes = || routes.nodes.iter().take(MOST_NODES).zip(1..);
    let (mut ways, mut services) = (Vec::new(), Vec::new());
    for route in &routes.udp {
        let name = entry_point(route);
        ways.push(format!(r#""{name}":{{"entryPoints":["{name}"],"service":"{name}"}}"#));
        let weights = nodes().map(|(node, number)| {
            let check = format!("{}:nodes/{}", routes.environment, node.name);
            format!(r#"{{"name":"{name}-{number}","weight":%[srv_is_up({check})]}}"#)
        });
        let weights = weights.collect::<Vec<_>>().join(",");
        services.push(format!(r#""{name}":{{"weighted":{{"services":[{weights}]}}}}"#));
        services.extend(nodes().map(|(node, number)| {
            let address = SocketAddr::new(node.address, route.node_port.get());
            format!(r#""{name}-{number}":{{"loadBalancer":{{"servers":[{{"address":"{address}"}}]}}}}"#)
        }));
    }
    let (ways, services) = (ways.join(","), services.join(","));
    Some(RelayDocument {
        environment: routes.environment.clone(),
        body: format!(r#"{{"udp":{{"routers":{{{ways}}},"services":{{{services}}}}}}}"#),
    })
}

/// How long a client's address and its port towards the node belong together after the last datagram.
///
/// A session holds two buffers of 64 KiB. DNS asks once for each port of its client, so the long time that RFC 4787
/// REQ-5 gives to all others would cost it a gigabyte at a hundred queries a second.
fn session_seconds(listen: NonZeroU16) -> u16 {
    if listen.get() == 53 { 10 } else { 120 }
}

fn entry_point(route: &UdpRoute) -> String {
    format!("udp-{}", route.listen)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::configuration::STATISTICS_PORT;
    use crate::routes::tests::{port, routes};

    pub(crate) fn udp() -> Vec<UdpRoute> {
        let route = |workload: &str, listen, node_port| UdpRoute {
            workload: workload.parse().unwrap(),
            listen: port(listen),
            node_port: port(node_port),
        };
        vec![route("coredns", 53, 30065), route("echo", 9001, 30066)]
    }

    fn with_udp() -> Routes {
        Routes {
            udp: udp(),
            ..routes("dev", "127.0.0.1", "dev.me")
        }
    }

    fn spec_of(routes: &Routes, mode: EdgeMode) -> Option<ContainerSpec> {
        spec(routes, "traefik:v3", mode, &Names::default(), STATISTICS_PORT)
    }

    #[test]
    fn there_is_no_relay_without_a_udp_port() {
        let none = routes("dev", "127.0.0.1", "dev.me");
        assert_eq!(spec_of(&none, EdgeMode::HostNetwork), None);
        assert_eq!(document(&none), None);
    }

    #[test]
    fn its_arguments() {
        let spec = spec_of(&with_udp(), EdgeMode::HostNetwork).unwrap();
        insta::assert_snapshot!(spec.command.unwrap().join("\n"));
    }

    #[test]
    fn what_it_is_told_is_json_once_health_is_filled_in() {
        let body = document(&with_udp()).unwrap().body;
        let mut filled = body.replace("%[srv_is_up(dev:nodes/loko-dev-control-plane)]", "1");
        filled = filled.replace("%[srv_is_up(dev:nodes/loko-dev-worker)]", "0");
        let json: serde_yaml::Value = serde_yaml::from_str(&filled).unwrap();
        insta::assert_snapshot!(serde_yaml::to_string(&json).unwrap());
    }

    #[test]
    fn what_it_is_told_fits_an_answer_and_holds_no_quote_of_haproxys() {
        let mut most = with_udp();
        most.environment = "e".repeat(35).parse().unwrap();
        most.udp = (0..16)
            .map(|number| UdpRoute {
                workload: "w".repeat(63).parse().unwrap(),
                listen: port(60_000 + number),
                node_port: port(30_065 + number),
            })
            .collect();
        for _ in 0..7 {
            most.nodes.push(most.nodes[0].clone());
        }
        let body = document(&most).unwrap().body;
        // The sample of health is one digit in the answer.
        let answered = body.len() - body.matches("%[").count() * "%[srv_is_up()]".len();
        assert!(answered < 16_000, "{answered}");
        assert!(!body.contains('\''));
    }

    #[test]
    fn another_node_does_not_change_the_container() {
        let before = with_udp();
        let mut after = before.clone();
        after.nodes.pop();
        assert_ne!(document(&before), document(&after));
        let hash = |routes| spec_of(routes, EdgeMode::Published).unwrap().hash();
        assert_eq!(hash(&before), hash(&after));
    }
}
