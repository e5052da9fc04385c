//! The files that a specification asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use loko_config::model::RegistryEngine;

use super::{Capability, Host, HostsFile, Settings};
use crate::spec::{PORT, RegistrySpec};

/// Where containerd looks, `config_path` of its registry configuration.
pub const CERTS_DIRECTORY: &str = "/etc/containerd/certs.d";
/// Where the authority that signs the registry's certificate lies in a node. No registry host begins with a dot.
pub const CA_PATH: &str = "/etc/containerd/certs.d/.loko/ca.crt";

/// How long a node waits for the mirror before it asks the upstream. A cluster address with nothing behind it would otherwise
/// hold each pull up for 30 s.
const DIAL_TIMEOUT: &str = "2s";

/// The file for a registry host as image names write it (`docker.io`, `cr.dev.me:8443`).
#[must_use]
pub fn path(host: &str) -> String {
    format!("{CERTS_DIRECTORY}/{host}/hosts.toml")
}

/// The files of a node, by registry host: one for the registry itself, one for each host of a mirrored source.
/// `address` is the registry's cluster address: nodes know no names of the environment's domain.
#[must_use]
pub fn wanted(spec: &RegistrySpec, address: IpAddr) -> BTreeMap<String, HostsFile> {
    let own = HostsFile {
        server: Some(url(address, PORT, "")),
        server_settings: settings(
            [
                Capability::Pull,
                Capability::Resolve,
                Capability::Push,
                Capability::Referrers,
            ],
            false,
        ),
        hosts: Vec::new(),
    };
    let mut files = BTreeMap::from([(spec.reference_host(), own)]);
    for source in &spec.sources {
        let path = match spec.engine {
            RegistryEngine::Zot => format!("/v2/{}", source.namespace),
            RegistryEngine::Distribution => "/v2".to_owned(),
        };
        let mirror = Host {
            url: url(address, spec.mirror_port(source), &path),
            settings: settings([Capability::Pull, Capability::Resolve], true),
        };
        let file = HostsFile {
            server: Some(source.url.clone()),
            server_settings: Settings::default(),
            hosts: vec![mirror],
        };
        files.extend(source.hosts.iter().map(|host| (host.clone(), file.clone())));
    }
    files
}

fn settings<const N: usize>(capabilities: [Capability; N], override_path: bool) -> Settings {
    Settings {
        capabilities: BTreeSet::from(capabilities),
        ca: vec![CA_PATH.to_owned()],
        skip_verify: None,
        override_path,
        dial_timeout: Some(DIAL_TIMEOUT.to_owned()),
    }
}

fn url(address: IpAddr, port: u16, path: &str) -> String {
    // A socket address writes the brackets of IPv6.
    format!("https://{}{path}", std::net::SocketAddr::new(address, port))
}
