//! What the registry of one environment is asked to be.

use std::collections::BTreeMap;
use std::fmt;

use loko_config::Environment;
use loko_config::model::RegistryEngine;

use crate::source::{Source, SourceError};

/// Where the data lies inside the registry's container.
pub const DATA: &str = "/var/lib/registry";
/// The port on which it serves HTTPS, in its pod and at its cluster address.
pub const PORT: u16 = 5000;

/// What the registry of one environment is asked to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrySpec {
    /// Which program serves.
    pub engine: RegistryEngine,
    /// Its image, without tag.
    pub image: String,
    /// The image's tag, by which Zot's known keys are chosen.
    pub version: String,
    /// Its host: `cr.dev.me`.
    pub host: String,
    /// The port of HTTPS on the host machine.
    pub https_port: u16,
    /// What it mirrors, in this order.
    pub sources: Vec<Source>,
    /// How often the database of vulnerabilities is renewed (a Go duration); `None`: images are not scanned.
    pub scanning: Option<String>,
    /// Names and passwords for upstreams, by the host of the source's URL.
    pub credentials: BTreeMap<String, Credentials>,
}

/// A name and a password for an upstream.
#[derive(Clone, PartialEq, Eq, serde::Serialize)]
pub struct Credentials {
    /// The user.
    pub username: String,
    /// The password or token.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl RegistrySpec {
    /// What an environment asks for; `None` where its registry is switched off.
    pub fn of(environment: &Environment) -> Result<Option<Self>, SourceError> {
        let registry = &environment.registry;
        let component = &environment.components.registry;
        if !registry.enabled || !component.enabled {
            return Ok(None);
        }
        Ok(Some(Self {
            engine: registry.engine,
            image: component.image.to_string(),
            version: component.version.to_string(),
            host: environment.registry_host(),
            https_port: environment.network.lb_ports.https.get(),
            sources: Source::enabled(&registry.mirroring)?,
            scanning: registry.scanning.enabled.then(|| registry.scanning.interval.clone()),
            credentials: BTreeMap::new(),
        }))
    }

    /// The host as image names write it: with the port where that is not 443.
    #[must_use]
    pub fn reference_host(&self) -> String {
        match self.https_port {
            443 => self.host.clone(),
            port => format!("{}:{port}", self.host),
        }
    }

    /// Where the host's Docker looks for the authority that signs this registry's certificate. Read at each push and pull,
    /// without a restart (docs.docker.com, "Verify repository client with certificates").
    #[must_use]
    pub fn docker_ca_path(&self) -> String {
        format!("/etc/docker/certs.d/{}/ca.crt", self.reference_host())
    }

    /// `image:version`.
    #[must_use]
    pub fn reference(&self) -> String {
        format!("{}:{}", self.image, self.version)
    }

    /// The port at which the mirror of a source is served: with Zot all are one registry, with distribution each is its own.
    #[must_use]
    pub fn mirror_port(&self, source: &Source) -> u16 {
        match self.engine {
            RegistryEngine::Zot => PORT,
            RegistryEngine::Distribution => PORT.saturating_add(1).saturating_add(source.slot),
        }
    }
}
