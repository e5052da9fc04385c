//! The container `loko-<environment>-dnsmasq` as data.

use std::num::NonZeroU16;

use loko_config::names::EnvName;
use loko_engine::{ContainerFacts, ContainerSpec, EdgeMode, Mount, NetworkAttachment, PublishedPort, Restart, labels};

use crate::render::{CONF_PATH, DIRECTORY, Listen};
use crate::zone::Zone;

/// Value of [`labels::ROLE`] on what this crate makes.
pub const ROLE: &str = "dnsmasq";
/// Label that keeps the chosen port.
pub const PORT_LABEL: &str = "dev.loko.dns-port";
/// User and group that own nothing, `nobody` on Debian and Alpine: dnsmasq needs no more for a port from 1024 on. It
/// also has inotify instances of its own, a number that is limited for each user.
const NOBODY: &str = "65534:65534";

/// How an environment's dnsmasq is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Image reference with tag, from `components.dnsmasq`.
    pub image: String,
    /// On the host's network, or published.
    pub mode: EdgeMode,
    /// The network it is on where published.
    pub network: String,
}

impl Placement {
    /// Where dnsmasq listens inside its network.
    #[must_use]
    pub fn listen(&self) -> Listen {
        match self.mode {
            EdgeMode::HostNetwork => Listen::Address,
            EdgeMode::Published => Listen::Everywhere,
        }
    }
}

/// The container's name: `loko-<environment>-dnsmasq`.
#[must_use]
pub fn name(environment: &EnvName) -> String {
    format!("loko-{environment}-dnsmasq")
}

/// Name of the volume that holds what dnsmasq reads: `loko-<environment>-dns`.
#[must_use]
pub fn volume(environment: &EnvName) -> String {
    format!("loko-{environment}-dns")
}

/// The container that serves a zone. It has no capability, except the one for a port below 1024 on the host's network.
#[must_use]
pub fn spec(zone: &Zone, placement: &Placement) -> ContainerSpec {
    let port = zone.port.get();
    let host_network = placement.mode == EdgeMode::HostNetwork;
    let privileged_port = port < 1024;
    // A capability given to a container reaches only root in it.
    let as_root = host_network && privileged_port;
    let mut labels = labels::of(Some(zone.environment.as_str()), ROLE);
    labels.insert(PORT_LABEL.to_owned(), port.to_string());
    let mut spec = ContainerSpec {
        name: name(&zone.environment),
        image: placement.image.clone(),
        entrypoint: Some(vec!["dnsmasq".to_owned()]),
        command: Some(
            [
                "--keep-in-foreground",
                "--log-facility=-",
                &format!("--conf-file={CONF_PATH}"),
                // No change of user and no file for its id: it has no right to either.
                "--user=root",
                "--group=root",
                "--pid-file=",
            ]
            .map(str::to_owned)
            .to_vec(),
        ),
        user: Some(if as_root { "0:0" } else { NOBODY }.to_owned()),
        labels,
        mounts: vec![Mount::Volume {
            name: volume(&zone.environment),
            target: DIRECTORY.to_owned(),
            read_only: false,
        }],
        security_opt: vec!["no-new-privileges".to_owned()],
        cap_drop: vec!["ALL".to_owned()],
        restart: Restart::UnlessStopped,
        ..ContainerSpec::default()
    };
    if as_root {
        spec.cap_add.push("NET_BIND_SERVICE".to_owned());
    }
    if host_network {
        spec.network = NetworkAttachment::Host;
    } else {
        spec.network = NetworkAttachment::Named {
            name: placement.network.clone(),
            address: None,
        };
        let addresses = zone.listen().into_iter();
        spec.ports = addresses
            .flat_map(|host_ip| {
                [false, true].map(|udp| PublishedPort {
                    host_ip,
                    host_port: port,
                    container_port: port,
                    udp,
                })
            })
            .collect();
        if privileged_port {
            // Docker sets this for every container, Podman does not.
            spec.sysctls
                .insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned());
        }
    }
    spec
}

/// The port that a container was made with, by its label.
#[must_use]
pub fn kept_port(facts: &ContainerFacts) -> Option<NonZeroU16> {
    facts.labels.get(PORT_LABEL)?.parse().ok()
}

#[cfg(test)]
mod tests;
