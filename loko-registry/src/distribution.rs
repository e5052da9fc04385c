//! Configuration of distribution, the reference registry (`registry:3`): one instance for pushes, one for each mirrored source,
//! because an instance that mirrors takes no pushes and mirrors one upstream
//! (distribution.github.io/distribution, "Registry as a pull through cache").

use std::collections::BTreeMap;

use loko_config::model::RegistryEngine;
use serde::Serialize;

use crate::source::Source;
use crate::spec::{DATA, PORT, RegistrySpec};

/// The directory of the certificate and its key inside the container.
pub const TLS_DIRECTORY: &str = "/etc/loko/tls";

/// One instance: what its container and its file are called, and what is in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// `registry` for pushes, `mirror-<source>` for a mirror; a DNS label.
    pub name: String,
    /// Where it serves HTTPS.
    pub port: u16,
    /// Its `config.yml`.
    pub config: Config,
    /// The source it mirrors.
    pub source: Option<Source>,
}

/// `config.yml` of distribution 3, as far as it is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Config {
    version: &'static str,
    log: Log,
    storage: Storage,
    http: Http,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy: Option<Proxy>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Log {
    level: &'static str,
    accesslog: Disabled,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Disabled {
    disabled: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Enabled {
    enabled: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Storage {
    filesystem: Filesystem,
    delete: Enabled,
    cache: BTreeMap<&'static str, &'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Filesystem {
    rootdirectory: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Http {
    addr: String,
    /// Locations without a host: the registry stands behind an ingress whose port it does not know.
    relativeurls: bool,
    tls: Tls,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Tls {
    certificate: String,
    key: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Proxy {
    remoteurl: String,
    /// 0: what is cached stays. The default throws it away after seven days.
    ttl: &'static str,
}

/// The instances that a specification asks for, the one for pushes first. None for another engine.
#[must_use]
pub fn instances(spec: &RegistrySpec) -> Vec<Instance> {
    if spec.engine != RegistryEngine::Distribution {
        return Vec::new();
    }
    let own = Instance {
        name: "registry".to_owned(),
        port: PORT,
        config: config("registry", PORT, None),
        source: None,
    };
    let mirrors = spec.sources.iter().map(|source| {
        let name = format!("mirror-{}", label(&source.name));
        let port = spec.mirror_port(source);
        Instance {
            config: config(&name, port, Some(source)),
            name,
            port,
            source: Some(source.clone()),
        }
    });
    std::iter::once(own).chain(mirrors).collect()
}

impl Config {
    /// The file's text.
    #[must_use]
    pub fn render(&self) -> String {
        // Fails only on maps whose keys are no strings, of which there are none.
        serde_yaml::to_string(self).unwrap_or_default()
    }
}

fn config(name: &str, port: u16, source: Option<&Source>) -> Config {
    Config {
        version: "0.1",
        log: Log {
            level: "info",
            accesslog: Disabled { disabled: true },
        },
        storage: Storage {
            filesystem: Filesystem {
                rootdirectory: format!("{DATA}/{name}"),
            },
            delete: Enabled { enabled: true },
            cache: BTreeMap::from([("blobdescriptor", "inmemory")]),
        },
        http: Http {
            addr: format!(":{port}"),
            relativeurls: true,
            tls: Tls {
                certificate: format!("{TLS_DIRECTORY}/tls.crt"),
                key: format!("{TLS_DIRECTORY}/tls.key"),
            },
        },
        proxy: source.map(|source| Proxy {
            remoteurl: source.url.clone(),
            ttl: "0s",
        }),
    }
}

/// A source's name as a DNS label of at most 56 bytes.
fn label(name: &str) -> String {
    let label: String = name
        .chars()
        .take(56)
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect();
    label.trim_matches('-').to_owned()
}
