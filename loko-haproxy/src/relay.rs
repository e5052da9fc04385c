//! UDP ports of one environment, which HAProxy does not forward: Traefik again, on the host, with UDP entry points only.
//!
//! It is there only while the environment has a UDP port. Its entry points are arguments, so a port more or less makes
//! its container anew; where they lead is a file that it follows while it runs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;

use askama::Template;
use loko_config::names::EnvName;
use loko_engine::labels;
use loko_engine::{ContainerSpec, EdgeMode, NetworkAttachment, PublishedPort, Restart};

use crate::routes::{Routes, UdpRoute};

/// Where the relay's file is, in its container. The directory is followed, so a rename in it is seen.
pub const FILE: &str = "/etc/traefik/udp/udp.yaml";

/// The name of the relay's container: `loko-<env>-udp`.
#[must_use]
pub fn container_name(environment: &EnvName) -> String {
    format!("loko-{environment}-udp")
}

/// The relay's container; `None` where the environment has no UDP port. `network` is that of the nodes, which it is on
/// where ports are published.
#[must_use]
pub fn spec(routes: &Routes, image: &str, mode: EdgeMode, network: &str) -> Option<ContainerSpec> {
    if routes.udp.is_empty() {
        return None;
    }
    let inside = match mode {
        EdgeMode::HostNetwork => routes.address,
        EdgeMode::Published => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    let mut command = [
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
        "--log.level=INFO",
        &format!("--providers.file.directory={}", directory()),
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
            let name = network.to_owned();
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

/// The file that says where the entry points lead.
#[must_use]
pub fn render(routes: &Routes) -> String {
    let ports = routes.udp.iter().map(|route| Port {
        name: format!("{}-{}", route.workload, route.listen),
        entry_point: entry_point(route),
        servers: routes
            .nodes
            .iter()
            .map(|node| SocketAddr::new(node.address, route.node_port.get()))
            .collect(),
    });
    let file = File {
        environment: &routes.environment,
        ports: ports.collect(),
    };
    // Writing to a string does not fail, and no filter of the template does.
    let mut text = file.render().unwrap_or_default();
    text.push('\n');
    text
}

#[derive(Template)]
#[template(path = "udp.yaml", escape = "none")]
struct File<'a> {
    environment: &'a EnvName,
    ports: Vec<Port>,
}

struct Port {
    name: String,
    entry_point: String,
    servers: Vec<SocketAddr>,
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

fn directory() -> &'static str {
    FILE.rsplit_once('/').map_or(FILE, |(directory, _)| directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::tests::{port, routes};

    fn with_udp() -> Routes {
        let mut routes = routes("dev", "127.0.0.1", "dev.me");
        for (workload, listen, node_port) in [("coredns", 53, 30065), ("echo", 9001, 30066)] {
            routes.udp.push(UdpRoute {
                workload: workload.parse().unwrap(),
                listen: port(listen),
                node_port: port(node_port),
            });
        }
        routes
    }

    #[test]
    fn there_is_no_relay_without_a_udp_port() {
        let none = routes("dev", "127.0.0.1", "dev.me");
        assert_eq!(spec(&none, "traefik:v3", EdgeMode::HostNetwork, "loko"), None);
    }

    #[test]
    fn its_arguments() {
        let spec = spec(&with_udp(), "traefik:v3", EdgeMode::HostNetwork, "loko").unwrap();
        insta::assert_snapshot!(spec.command.unwrap().join("\n"));
    }

    #[test]
    fn its_file() {
        insta::assert_snapshot!(render(&with_udp()));
    }

    #[test]
    fn another_node_changes_the_file_and_not_the_container() {
        let before = with_udp();
        let mut after = before.clone();
        after.nodes.pop();
        assert_ne!(render(&before), render(&after));
        let hash = |routes| spec(routes, "traefik:v3", EdgeMode::Published, "loko").unwrap().hash();
        assert_eq!(hash(&before), hash(&after));
    }
}
