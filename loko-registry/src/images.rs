//! Where an image lies in the registry.

use loko_config::model::RegistryEngine;
use loko_config::names::{ImageRef, InvalidName};

use crate::oci::{Reference, Repository};
use crate::spec::RegistrySpec;

/// An image's reference in full: what is left out in `nginx` is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullName {
    /// `docker.io` where the reference names no registry.
    pub host: String,
    /// With `library/` where Docker Hub's has one part only.
    pub repository: Repository,
    /// The digest where there is one, else the tag, else `latest`.
    pub reference: Reference,
}

impl FullName {
    /// Reads a reference as Docker does (github.com/distribution/reference, `ParseDockerRef`): where it has tag and digest,
    /// the digest holds.
    pub fn of(image: &ImageRef) -> Result<Self, InvalidName> {
        let (host, rest) = split_host(image.as_str());
        let host = match host {
            None | Some("index.docker.io") => "docker.io",
            Some(host) => host,
        };
        let (name, digest) = match rest.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (rest, None),
        };
        let (path, tag) = match name.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (name, None),
        };
        let repository = if host == "docker.io" && !path.contains('/') {
            format!("library/{path}").parse()?
        } else {
            path.parse()?
        };
        Ok(Self {
            host: host.to_owned(),
            repository,
            reference: digest.or(tag).unwrap_or("latest").parse()?,
        })
    }
}

impl RegistrySpec {
    /// Where the registry serves an image of a mirrored source, at the registry's own address; `None` where it does not:
    /// the image is of no source that is switched on, or its mirror is a program of its own.
    pub fn mirrored(&self, image: &ImageRef) -> Result<Option<(Repository, Reference)>, InvalidName> {
        let name = FullName::of(image)?;
        let source = self.sources.iter().find(|source| source.hosts.contains(&name.host));
        let Some(source) = source.filter(|source| self.mirror_port(source) == crate::spec::PORT) else {
            return Ok(None);
        };
        let repository = format!("{}/{}", source.namespace, name.repository).parse()?;
        Ok(Some((repository, name.reference)))
    }

    /// Where an image of the engine is put when it is loaded into the registry: `cr.dev.me/app:1` and `app:1` under `app`,
    /// `ghcr.io/me/app:1` under `ghcr.io/me/app`, where nodes look for it by its plain name when that source is mirrored.
    pub fn place_of(&self, image: &ImageRef) -> Result<(Repository, Reference), InvalidName> {
        let full = FullName::of(image)?;
        let repository = match split_host(image.as_str()).0 {
            Some(host) if host == self.host || host == self.reference_host() => full.repository,
            Some(host) => format!("{}/{}", host.replace(':', "-"), full.repository).parse()?,
            None => {
                // As written: `app`, and not what Docker Hub would call it.
                let text = full.repository.as_str();
                match text.strip_prefix("library/") {
                    Some(short) if !image.as_str().starts_with("library/") => short.parse()?,
                    _ => full.repository,
                }
            }
        };
        Ok((repository, full.reference))
    }

    /// The source that a repository of the registry is a mirror of; `None`: it was pushed, or nobody knows.
    #[must_use]
    pub fn source_of(&self, repository: &Repository) -> Option<&crate::Source> {
        self.sources.iter().find(|source| {
            let under = |prefix: &str| {
                let rest = repository.as_str().strip_prefix(prefix);
                rest.is_some_and(|rest| rest.starts_with('/'))
            };
            under(&source.namespace) || (source.at_root && self.engine == RegistryEngine::Zot && under("library"))
        })
    }
}

/// The registry's host, where the first part is one: it has a dot or a port, or is `localhost`.
fn split_host(text: &str) -> (Option<&str>, &str) {
    match text.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (Some(first), rest),
        _ => (None, text),
    }
}
