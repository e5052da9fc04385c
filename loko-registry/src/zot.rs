//! Zot's configuration (`config.json`) as types. Only keys that are set are written, and only those that the given version knows:
//! Zot refuses to start on a key that it does not know (`pkg/cli/server/root.go`, `LoadConfiguration`).

pub mod search;
mod version;

use std::collections::BTreeMap;

use serde::Serialize;

pub use version::ZotVersion;

use crate::distribution::TLS_DIRECTORY;
use crate::source::Source;
use crate::spec::{Credentials, DATA, PORT, RegistrySpec};

/// The name of its configuration file.
pub const CONFIG_FILE: &str = "config.json";
/// Where the names and passwords for upstreams lie inside the container, when there are any.
pub const CREDENTIALS_PATH: &str = "/etc/loko/credentials/credentials.json";

/// What of Docker Hub is mirrored at the root.
const ROOT_GLOB: &str = "library/*";
/// Where the database of vulnerabilities comes from.
const TRIVY_DATABASE: &str = "ghcr.io/aquasecurity/trivy-db";

/// The whole of `config.json`. Key names are Zot's own (`pkg/api/config/config.go`, `pkg/extensions/config`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// The version of the distribution specification that Zot announces.
    pub dist_spec_version: &'static str,
    /// Where and how images are kept.
    pub storage: Storage,
    /// Where it listens.
    pub http: Http,
    /// What it says.
    pub log: Log,
    /// Mirrors, search, pages, metrics.
    pub extensions: Extensions,
}

/// The key `storage`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// An absolute path in the container.
    pub root_directory: String,
    /// Equal blobs are hard links of one file.
    pub dedupe: bool,
    /// Blobs that nothing refers to are removed.
    pub gc: bool,
    /// How old an unreferenced blob must be to be removed; a Go duration.
    pub gc_delay: &'static str,
    /// How often; a Go duration.
    pub gc_interval: &'static str,
    /// What garbage collection must keep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
}

/// The key `storage.retention`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Retention {
    /// The first that matches a repository holds.
    pub policies: Vec<RetentionPolicy>,
}

/// One entry of `storage.retention.policies`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RetentionPolicy {
    /// Globs.
    pub repositories: Vec<String>,
    /// Whether manifests without a tag are removed. A pod that names its image by digest leaves just such a one.
    pub delete_untagged: bool,
}

/// The key `http`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Http {
    /// The address it listens at.
    pub address: &'static str,
    /// A string, as Zot wants it.
    pub port: String,
    /// The certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// `docker2s2`: Docker's manifests are taken as they are, so that digests stay.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub compat: Vec<&'static str>,
    /// `0s` is no limit. Where the key is known its default is 60 s, which cuts a large layer off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_timeout: Option<&'static str>,
    /// As `read_timeout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_timeout: Option<&'static str>,
}

/// The key `http.tls`: paths in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tls {
    /// PEM, leaf first.
    pub cert: String,
    /// PEM.
    pub key: String,
}

/// The key `log`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Log {
    /// `debug`, `info`, `warn`, `error`.
    pub level: &'static str,
}

/// The key `extensions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Extensions {
    /// Mirrors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync: Option<Sync>,
    /// Search, and with it scanning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
    /// The web pages; they need search.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ui: Option<Enabled>,
    /// Figures for Prometheus.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
}

/// A switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Enabled {
    /// Whether it is on.
    pub enable: bool,
}

/// The key `extensions.metrics`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Metrics {
    /// Whether it is on.
    pub enable: bool,
    /// Where.
    pub prometheus: Prometheus,
}

/// The key `extensions.metrics.prometheus`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Prometheus {
    /// A path of the same server.
    pub path: &'static str,
}

/// The key `extensions.search`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Search {
    /// Whether it is on.
    pub enable: bool,
    /// Scanning for known vulnerabilities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cve: Option<Cve>,
}

/// The key `extensions.search.cve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cve {
    /// A Go duration; Zot raises what is less than two hours to two hours.
    pub update_interval: String,
    /// Where the database comes from.
    pub trivy: Trivy,
}

/// The key `extensions.search.cve.trivy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trivy {
    /// An OCI repository.
    #[serde(rename = "dbRepository")]
    pub db_repository: &'static str,
}

/// The key `extensions.sync`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sync {
    /// Whether it is on.
    pub enable: bool,
    /// A file of names and passwords by registry host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<&'static str>,
    /// Asked in this order.
    pub registries: Vec<SyncRegistry>,
}

/// One entry of `extensions.sync.registries`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncRegistry {
    /// Tried in order.
    pub urls: Vec<String>,
    /// Fetched when asked for, never by polling.
    pub on_demand: bool,
    /// Whether the upstream's certificate is verified.
    pub tls_verify: bool,
    /// How often a failed request is repeated. Needs `retry_delay`.
    pub max_retries: u8,
    /// A Go duration.
    pub retry_delay: &'static str,
    /// Manifests stay as upstream wrote them. Needs `http.compat`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preserve_digest: Option<bool>,
    /// Which repositories, and where they lie here.
    pub content: Vec<Content>,
}

/// One entry of `extensions.sync.registries[].content`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Content {
    /// A glob over the upstream's repositories.
    pub prefix: &'static str,
    /// The path under which they lie here; none is the root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
}

impl Config {
    /// What a specification asks for, in the words of its version.
    #[must_use]
    pub fn of(spec: &RegistrySpec) -> Self {
        let version = ZotVersion::of_tag(&spec.version);
        let no_limit = version.knows_timeouts().then_some("0s");
        Self {
            dist_spec_version: "1.1.1",
            storage: Storage {
                root_directory: DATA.to_owned(),
                dedupe: true,
                gc: true,
                gc_delay: "1h",
                gc_interval: "24h",
                retention: retention(&spec.sources),
            },
            http: Http {
                address: "0.0.0.0",
                port: PORT.to_string(),
                tls: Some(Tls {
                    cert: format!("{TLS_DIRECTORY}/tls.crt"),
                    key: format!("{TLS_DIRECTORY}/tls.key"),
                }),
                compat: if version.knows_compat() {
                    vec!["docker2s2"]
                } else {
                    Vec::new()
                },
                read_timeout: no_limit,
                write_timeout: no_limit,
            },
            log: Log { level: "info" },
            extensions: Extensions {
                sync: sync(spec, version),
                search: Some(Search {
                    enable: true,
                    cve: spec.scanning.as_ref().map(|interval| Cve {
                        update_interval: interval.clone(),
                        trivy: Trivy {
                            db_repository: TRIVY_DATABASE,
                        },
                    }),
                }),
                ui: Some(Enabled { enable: true }),
                metrics: Some(Metrics {
                    enable: true,
                    prometheus: Prometheus { path: "/metrics" },
                }),
            },
        }
    }

    /// The file's text.
    #[must_use]
    pub fn render(&self) -> String {
        // Fails only on maps whose keys are no strings, of which there are none.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// The file of names and passwords for upstreams.
#[must_use]
pub fn credentials_file(credentials: &BTreeMap<String, Credentials>) -> String {
    serde_json::to_string_pretty(credentials).unwrap_or_default()
}

fn sync(spec: &RegistrySpec, version: ZotVersion) -> Option<Sync> {
    if spec.sources.is_empty() {
        return None;
    }
    // Registries are asked in order, and the root's glob fits repositories of the others too: whoever has it comes last.
    let (rooted, named): (Vec<_>, Vec<_>) = spec.sources.iter().partition(|source| source.at_root);
    Some(Sync {
        enable: true,
        credentials_file: (!spec.credentials.is_empty()).then_some(CREDENTIALS_PATH),
        registries: named
            .into_iter()
            .chain(rooted)
            .map(|source| SyncRegistry {
                urls: vec![source.url.clone()],
                on_demand: true,
                tls_verify: source.is_https(),
                // An upstream out of reach holds up whoever asks for an image that is already here. None would be taken for
                // the default, which is five; and each takes as long as a connection needs to fail.
                max_retries: 1,
                retry_delay: "100ms",
                preserve_digest: version.knows_preserve_digest().then_some(true),
                content: contents(source),
            })
            .collect(),
    })
}

/// Where a source's repositories lie: under its namespace, and Docker Hub's at the root too. The named destination comes first,
/// because the first that fits holds. The root takes Docker's own images only (`library/nginx`): a pushed `app:1` or `me/app:1`
/// is never asked for upstream, nor replaced by what Docker Hub has under its name. Nodes do not need the root, their
/// `hosts.toml` leads to the namespace.
fn contents(source: &Source) -> Vec<Content> {
    let named = Content {
        prefix: "**",
        destination: Some(format!("/{}", source.namespace)),
    };
    let root = source.at_root.then_some(Content {
        prefix: ROOT_GLOB,
        destination: None,
    });
    std::iter::once(named).chain(root).collect()
}

/// What garbage collection keeps: whatever was mirrored, tagged or not.
fn retention(sources: &[Source]) -> Option<Retention> {
    (!sources.is_empty()).then(|| Retention {
        policies: vec![RetentionPolicy {
            repositories: sources
                .iter()
                .map(|source| format!("{}/**", source.namespace))
                .chain(
                    sources
                        .iter()
                        .any(|source| source.at_root)
                        .then(|| ROOT_GLOB.to_owned()),
                )
                .collect(),
            delete_untagged: false,
        }],
    })
}
