//! What the registry of one environment is asked to be.

use std::collections::BTreeMap;
use std::fmt;

use loko_config::Environment;
use loko_config::model::{Mirroring, RegistryEngine};

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
    /// Names and passwords for upstreams, by the host of the source's URL: of two sources of one host the later one's hold.
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
        let sources = Source::enabled(&registry.mirroring)?;
        Ok(Some(Self {
            engine: registry.engine,
            image: component.image.to_string(),
            version: component.version.to_string(),
            host: environment.registry_host(),
            https_port: environment.network.lb_ports.https.get(),
            credentials: credentials(&registry.mirroring, &sources),
            sources,
            scanning: registry.scanning.enabled.then(|| registry.scanning.interval.clone()),
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

/// What sources say of themselves, by upstream.
fn credentials(mirroring: &Mirroring, sources: &[Source]) -> BTreeMap<String, Credentials> {
    let said = sources.iter().filter_map(|source| {
        let mirror = mirroring.sources.iter().find(|mirror| mirror.name == source.name)?;
        let credentials = mirror.credentials.as_ref()?;
        Some((
            source.upstream().to_owned(),
            Credentials {
                username: credentials.username.clone(),
                password: credentials.password.clone(),
            },
        ))
    });
    said.collect()
}

#[cfg(test)]
mod tests {
    use loko_config::{LoadOptions, load};

    use super::*;

    #[test]
    fn credentials_stand_under_the_upstreams_host() {
        let text = "name: dev
registry:
  mirroring:
    enabled: true
    sources:
      - {name: docker_hub, credentials: {username: me, password: a}}
      - {name: corp, url: 'https://r.example:5000/team', credentials: {username: us, password: b}}
      - {name: ghcr, enabled: false, credentials: {username: them, password: c}}
      - quay
";
        let environment = load(text, &LoadOptions::default()).unwrap().environment;
        let spec = RegistrySpec::of(&environment).unwrap().unwrap();
        let found: Vec<_> = spec
            .credentials
            .iter()
            .map(|(host, it)| (host.as_str(), it.username.as_str(), it.password.as_str()))
            .collect();
        assert_eq!(
            found,
            [("r.example:5000", "us", "b"), ("registry-1.docker.io", "me", "a")]
        );
        assert!(!format!("{spec:?}").contains("\"a\""));
    }
}
