//! The registries that are mirrored.

use loko_config::model::{Mirror, MirrorSource, Mirroring};
use miette::Diagnostic;
use thiserror::Error;

/// A registry that is mirrored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// As loko.yaml names it: `docker_hub`, `quay`, or the user's own word.
    pub name: String,
    /// The registry hosts by which images of it are named, the main one first: `registry.k8s.io`, `k8s.gcr.io`.
    pub hosts: Vec<String>,
    /// Where the images come from, without a slash at the end: `https://registry-1.docker.io`.
    pub url: String,
    /// The path under which the mirror holds it: `docker.io`. A repository has no `:`, so a port follows a `-`.
    pub namespace: String,
    /// Whether it is mirrored at the root as well, which only Docker Hub is.
    pub at_root: bool,
    /// Its place in loko.yaml's list, counted from 0 over enabled and disabled ones: so that switching one off moves no other.
    pub slot: u16,
}

/// Why an entry of `registry.mirroring.sources` is no source.
#[derive(Debug, Clone, PartialEq, Eq, Error, Diagnostic)]
#[non_exhaustive]
pub enum SourceError {
    /// Nothing says where the images come from.
    #[error("the mirror source `{name}` has no url")]
    #[diagnostic(
        code(loko::registry::source_url),
        help(
            "write it as {{name: {name}, url: \"https://registry.example\"}}, or use docker_hub, quay, ghcr, k8s_registry or mcr"
        )
    )]
    NoUrl {
        /// The entry's name.
        name: String,
    },
    /// What says it is no address of a registry.
    #[error("the mirror source `{name}` has the url `{url}`, which is no address of a registry")]
    #[diagnostic(
        code(loko::registry::source_url),
        help("write the scheme, the host and, where needed, a port and a path: https://registry.example:5000")
    )]
    BadUrl {
        /// The entry's name.
        name: String,
        /// The entry's address.
        url: String,
    },
    /// The prefix is no registry host.
    #[error("the mirror source `{name}` has the prefix `{prefix}`, which is no registry host")]
    #[diagnostic(
        code(loko::registry::source_prefix),
        help("write the host as image names do, with a dot or a port in it: registry.example:5000")
    )]
    BadPrefix {
        /// The entry's name.
        name: String,
        /// Its prefix.
        prefix: String,
    },
}

impl Source {
    /// A well-known registry at its own address, in the slot that it has in the list of all.
    #[must_use]
    pub fn known(source: MirrorSource) -> Self {
        let (name, hosts, url): (_, &[&str], _) = match source {
            MirrorSource::DockerHub => ("docker_hub", &["docker.io"], "https://registry-1.docker.io"),
            MirrorSource::Quay => ("quay", &["quay.io"], "https://quay.io"),
            MirrorSource::Ghcr => ("ghcr", &["ghcr.io"], "https://ghcr.io"),
            MirrorSource::K8sRegistry => (
                "k8s_registry",
                &["registry.k8s.io", "k8s.gcr.io"],
                "https://registry.k8s.io",
            ),
            MirrorSource::Mcr => ("mcr", &["mcr.microsoft.com"], "https://mcr.microsoft.com"),
        };
        Self {
            name: name.to_owned(),
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            url: url.to_owned(),
            namespace: hosts[0].to_owned(),
            at_root: source == MirrorSource::DockerHub,
            slot: source as u16,
        }
    }

    /// What the entry of loko.yaml in this slot means, enabled or not.
    pub fn of(mirror: &Mirror, slot: u16) -> Result<Self, SourceError> {
        let name = &mirror.name;
        let url = match &mirror.url {
            Some(url) => Some(registry_url(url).ok_or_else(|| SourceError::BadUrl {
                name: name.clone(),
                url: url.clone(),
            })?),
            None => None,
        };
        let mut source = match (mirror.known, &url) {
            (Some(known), _) => Self::known(known),
            (None, Some((_, host))) => Self::at(name, host),
            (None, None) => return Err(SourceError::NoUrl { name: name.clone() }),
        };
        if let Some((url, _)) = url {
            source.url = url;
        }
        if let Some(prefix) = &mirror.prefix {
            if !is_registry_host(prefix) {
                return Err(SourceError::BadPrefix {
                    name: name.clone(),
                    prefix: prefix.clone(),
                });
            }
            let Self { hosts, namespace, .. } = Self::at(name, prefix);
            source = Self {
                hosts,
                namespace,
                ..source
            };
        }
        source.slot = slot;
        Ok(source)
    }

    /// The sources that are switched on, in the order written; none where mirroring is off.
    pub fn enabled(mirroring: &Mirroring) -> Result<Vec<Self>, SourceError> {
        if !mirroring.enabled {
            return Ok(Vec::new());
        }
        (0..)
            .zip(&mirroring.sources)
            .filter(|(_, mirror)| mirror.enabled)
            .map(|(slot, mirror)| Self::of(mirror, slot))
            .collect()
    }

    fn at(name: &str, host: &str) -> Self {
        Self {
            name: name.to_owned(),
            hosts: vec![host.to_owned()],
            url: format!("https://{host}"),
            namespace: host.to_ascii_lowercase().replace(':', "-"),
            at_root: false,
            slot: 0,
        }
    }

    /// Whether the upstream is spoken to with TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.url.starts_with("https://")
    }

    /// The upstream's `host[:port]`.
    #[must_use]
    pub fn upstream(&self) -> &str {
        let rest = self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest);
        rest.split('/').next().unwrap_or(rest)
    }
}

/// Splits the address of a registry into itself without a last slash, and its `host[:port]`.
fn registry_url(url: &str) -> Option<(String, String)> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let url = url.trim_end_matches('/');
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path_ok = path
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '~'));
    (is_host_and_port(host) && path_ok).then(|| (url.to_owned(), host.to_owned()))
}

/// Whether an image name beginning with this would be taken to name a registry: it has a dot or a port, or is `localhost`
/// (the rule of Docker's reference library).
fn is_registry_host(text: &str) -> bool {
    is_host_and_port(text) && (text.contains(['.', ':']) || text == "localhost")
}

fn is_host_and_port(text: &str) -> bool {
    let (host, port) = text.split_once(':').unwrap_or((text, "443"));
    let host_ok = host
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))
        && host.starts_with(|c: char| c.is_ascii_alphanumeric())
        && host.ends_with(|c: char| c.is_ascii_alphanumeric())
        && !host.contains("..");
    host_ok && port.parse::<std::num::NonZeroU16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirror(name: &str, known: Option<MirrorSource>, url: Option<&str>, prefix: Option<&str>) -> Mirror {
        Mirror {
            name: name.to_owned(),
            known,
            enabled: true,
            url: url.map(str::to_owned),
            prefix: prefix.map(str::to_owned),
            credentials: None,
        }
    }

    #[test]
    fn a_known_source_may_be_served_from_elsewhere_and_keeps_its_host() {
        let source = Source::of(
            &mirror("ghcr", Some(MirrorSource::Ghcr), Some("http://172.18.0.1:5001/"), None),
            0,
        );
        let source = source.unwrap();
        assert_eq!(source.url, "http://172.18.0.1:5001");
        assert_eq!(source.hosts, ["ghcr.io"]);
        assert!(!source.is_https());
    }

    #[test]
    fn a_source_of_ones_own_is_named_by_its_host_or_its_prefix() {
        let source = Source::of(
            &mirror("corp", None, Some("https://registry.corp.example:5000"), None),
            0,
        )
        .unwrap();
        assert_eq!(source.hosts, ["registry.corp.example:5000"]);
        assert_eq!(source.namespace, "registry.corp.example-5000");
        let source = Source::of(
            &mirror("corp", None, Some("http://10.0.0.1:5000"), Some("corp.example")),
            0,
        )
        .unwrap();
        assert_eq!(
            (source.hosts[0].as_str(), source.url.as_str()),
            ("corp.example", "http://10.0.0.1:5000")
        );
    }

    #[test]
    fn what_names_no_registry_is_refused() {
        let refused = |url, prefix| Source::of(&mirror("corp", None, url, prefix), 0).unwrap_err();
        assert_eq!(
            refused(None, None),
            SourceError::NoUrl {
                name: "corp".to_owned()
            }
        );
        for url in [
            "registry.example",
            "ftp://x.y",
            "https://",
            "https://a b",
            "https://u@h.io",
            "https://h:0",
            "https://h\"/",
        ] {
            assert!(matches!(refused(Some(url), None), SourceError::BadUrl { .. }), "{url}");
        }
        assert!(matches!(
            refused(Some("https://x.y"), Some("nodot")),
            SourceError::BadPrefix { .. }
        ));
    }

    #[test]
    fn nothing_is_mirrored_while_mirroring_is_off() {
        let mut mirroring = Mirroring {
            enabled: false,
            sources: vec![mirror("quay", Some(MirrorSource::Quay), None, None)],
        };
        assert_eq!(Source::enabled(&mirroring), Ok(vec![]));
        mirroring.enabled = true;
        let quay = |slot| Source {
            slot,
            ..Source::known(MirrorSource::Quay)
        };
        assert_eq!(Source::enabled(&mirroring), Ok(vec![quay(0)]));
        mirroring
            .sources
            .insert(0, mirror("ghcr", Some(MirrorSource::Ghcr), None, None));
        mirroring.sources[0].enabled = false;
        assert_eq!(Source::enabled(&mirroring), Ok(vec![quay(1)]));
    }
}
