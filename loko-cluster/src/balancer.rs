//! What stands in front of several control planes: one address for kubelets, joining nodes and this host.
//!
//! It has the name and the role that kind gives it (kind: `pkg/cluster/constants`, `external-load-balancer`), so that kind finds
//! the API's port, and counts it as no node. It is HAProxy, of the image that the edge has already, where kind takes Envoy.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;

use askama::Template;
use loko_config::Environment;
use loko_engine::container::short_hash;
use loko_engine::{ContainerSpec, NetworkAttachment, PublishedPort, Restart, labels};

use crate::nodes::{API_PORT, NETWORK, Node, Role};

/// The value of [`labels::ROLE`].
pub const ROLE: &str = "balancer";
/// kind's word for it.
pub const KIND_ROLE: &str = "external-load-balancer";
/// Where its configuration is inside it.
pub const CONFIGURATION: &str = "/usr/local/etc/haproxy/haproxy.cfg";
/// The label that says which configuration it was made with.
const CONFIGURED: &str = "dev.loko.configuration";

#[derive(Template)]
#[template(path = "balancer.cfg", escape = "none")]
struct BalancerCfg<'a> {
    name: &'a str,
    port: u16,
    servers: Vec<(&'a str, Ipv4Addr)>,
}

/// Its name; `None` where there is one control plane, which needs none.
#[must_use]
pub fn name(environment: &Environment) -> Option<String> {
    (environment.cluster.nodes.control_planes > 1).then(|| format!("{}-{KIND_ROLE}", environment.cluster_name()))
}

/// The name by which nodes reach the API: the balancer's, or the one control plane's.
#[must_use]
pub fn endpoint(environment: &Environment) -> String {
    let first = || crate::nodes::names(environment).next().map(|(name, ..)| name);
    name(environment).or_else(first).unwrap_or_default()
}

/// Renders `haproxy.cfg`. `nodes` are all of the environment; addresses are pinned, so it never changes while they live.
pub fn configuration(name: &str, nodes: &[Node]) -> Result<String, askama::Error> {
    let servers = nodes
        .iter()
        .filter(|node| node.role == Role::ControlPlane)
        .map(|node| (node.name.as_str(), node.address))
        .collect();
    let text = BalancerCfg {
        name,
        port: API_PORT,
        servers,
    }
    .render()?;
    // HAProxy takes a file whose last line has no end for one that was cut off.
    Ok(format!("{}\n", text.trim_end()))
}

/// The container. It is made anew where `configuration` is another.
#[must_use]
pub fn container(environment: &Environment, name: String, configuration: &str, api_port: NonZeroU16) -> ContainerSpec {
    let mut labels = labels::of(Some(environment.name.as_str()), ROLE);
    labels.insert(labels::KIND_CLUSTER.to_owned(), environment.cluster_name());
    labels.insert(labels::KIND_ROLE.to_owned(), KIND_ROLE.to_owned());
    labels.insert(CONFIGURED.to_owned(), short_hash(configuration.as_bytes()));
    let command = ["-W", "-db", "-f", CONFIGURATION].map(str::to_owned);
    ContainerSpec {
        hostname: Some(name.clone()),
        name,
        image: environment.components.haproxy.reference(),
        entrypoint: Some(vec!["haproxy".to_owned()]),
        command: Some(command.to_vec()),
        // The images of HAProxy differ in their users. It needs no right of root's: its port is a high one.
        user: Some("0:0".to_owned()),
        cap_drop: vec!["ALL".to_owned()],
        security_opt: vec!["no-new-privileges".to_owned()],
        labels,
        network: NetworkAttachment::Named {
            name: NETWORK.to_owned(),
            address: None,
        },
        ports: vec![PublishedPort {
            host_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            host_port: api_port.get(),
            container_port: API_PORT,
            udp: false,
        }],
        // As the nodes behind it.
        restart: Restart::OnFailureOnce,
        stop_signal: Some("SIGTERM".to_owned()),
        ..ContainerSpec::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(control_planes: u8) -> Environment {
        let yaml = format!("name: dev\ncluster: {{nodes: {{control-planes: {control_planes}, workers: 1}}}}\n");
        loko_config::load(&yaml, &loko_config::LoadOptions::default())
            .unwrap()
            .environment
    }

    fn nodes(environment: &Environment) -> Vec<Node> {
        let division = loko_engine::subnet::divide("172.28.0.0/24".parse().unwrap()).unwrap();
        crate::nodes::place(environment, &division, &[]).unwrap()
    }

    #[test]
    fn three_control_planes_and_no_worker_are_behind_it() {
        let environment = environment(3);
        let name = name(&environment).unwrap();
        assert_eq!(name, "loko-dev-external-load-balancer");
        assert_eq!(endpoint(&environment), name);
        let text = configuration(&name, &nodes(&environment)).unwrap();
        assert!(text.ends_with('\n'));
        insta::assert_snapshot!("balancer.cfg", text);
    }

    #[test]
    fn one_control_plane_needs_none() {
        let environment = environment(1);
        assert_eq!(name(&environment), None);
        assert_eq!(endpoint(&environment), "loko-dev-control-plane");
    }

    #[test]
    fn another_configuration_makes_another_container() {
        let environment = environment(3);
        let port = NonZeroU16::new(40_001).unwrap();
        let hash = |text: &str| container(&environment, "b".to_owned(), text, port).hash();
        assert_eq!(hash("one"), hash("one"));
        assert_ne!(hash("one"), hash("other"));
    }
}
