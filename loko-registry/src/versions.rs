//! Where newer versions are listed, and how those lists are read. No I/O: the module [`driver`](crate::driver) asks.
//!
//! ```text
//! RenovateComment ─ Lookup::of ─→ Lookup ─ (driver) ─→ tags, index.yaml, releases ─→ versions, in any order
//! ```
//!
//! The datasources and what their names mean are Renovate's (docs.renovatebot.com, "Datasources"), so that one comment serves
//! both: `docker`, `helm`, `github-releases`, `github-tags`. A Helm repository may also be an OCI registry
//! (`registryUrl=oci://ghcr.io/me/charts`), as `helm` itself takes them.

mod github;
mod helm;

use std::fmt;

use loko_config::names::ImageRef;
use loko_config::versions::RenovateComment;
use miette::Diagnostic;
use thiserror::Error;

use crate::images::FullName;
use crate::oci::Repository;

pub use github::GitHubList;
pub use helm::ChartIndex;

/// GitHub's own API.
pub const GITHUB: &str = "https://api.github.com";

/// A list of versions, by where it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Lookup {
    /// The tags of a repository in a registry.
    Tags {
        /// Scheme, host and port: `https://registry-1.docker.io`.
        registry: String,
        /// The repository.
        repository: Repository,
        /// Whether tags are those of charts, where `_` stands for the `+` that no tag has (Helm, "Use OCI-based registries").
        chart: bool,
    },
    /// A chart's entries in the index of a Helm repository.
    Chart {
        /// Where `index.yaml` is, without it.
        repository: String,
        /// The chart.
        chart: String,
    },
    /// The releases of a repository on GitHub.
    Releases {
        /// The API: `https://api.github.com`, `https://git.example/api/v3`.
        api: String,
        /// `owner/name`.
        repository: String,
    },
    /// The tags of a repository on GitHub.
    GitTags {
        /// The API, as for releases.
        api: String,
        /// `owner/name`.
        repository: String,
    },
}

/// A comment that leads to no list.
#[derive(Debug, Clone, PartialEq, Eq, Error, Diagnostic)]
#[non_exhaustive]
pub enum LookupError {
    /// The datasource is none that is asked here.
    #[error("the datasource `{datasource}` is not one that is asked here")]
    #[diagnostic(
        code(loko::versions::datasource),
        help("docker, helm, github-releases and github-tags are; others are left to Renovate")
    )]
    Datasource {
        /// As written.
        datasource: String,
    },
    /// The name is not what the datasource names things by.
    #[error("depName `{name}` is no {wanted}")]
    #[diagnostic(code(loko::versions::name), help("write {example}"))]
    Name {
        /// As written.
        name: String,
        /// `image`, `repository on GitHub`, …
        wanted: &'static str,
        /// One that is.
        example: &'static str,
    },
    /// A chart without its repository.
    #[error("the comment does not say in which repository the chart `{chart}` is")]
    #[diagnostic(
        code(loko::versions::repository),
        help("add registryUrl=https://charts.example, or registryUrl=oci://ghcr.io/owner/charts, to the comment")
    )]
    Repository {
        /// The chart.
        chart: String,
    },
    /// The address is none.
    #[error("registryUrl `{url}` is no address")]
    #[diagnostic(
        code(loko::versions::url),
        help("write the scheme and the host: registryUrl=https://registry.example")
    )]
    Url {
        /// As written.
        url: String,
    },
    /// Versions that compare by an expression of the user's.
    #[error("versioning `{versioning}` is not known here")]
    #[diagnostic(
        code(loko::versions::versioning),
        help("leave it to Renovate, or take `versioning=` out where versions compare by their numbers")
    )]
    Versioning {
        /// As written.
        versioning: String,
    },
}

impl Lookup {
    /// The list that a comment means. `github` is the API that is asked where a comment names no other GitHub: [`GITHUB`],
    /// or what `GITHUB_API_URL` says.
    ///
    /// ```
    /// use loko_config::versions::parse_comment;
    /// use loko_registry::versions::{GITHUB, Lookup};
    ///
    /// let comment = parse_comment("# renovate: datasource=docker depName=haproxy").unwrap().unwrap();
    /// let lookup = Lookup::of(&comment, GITHUB).unwrap();
    /// assert_eq!(lookup.to_string(), "https://registry-1.docker.io/library/haproxy");
    /// ```
    pub fn of(comment: &RenovateComment, github: &str) -> Result<Self, LookupError> {
        if let Some(versioning) = comment.versioning.as_ref().filter(|it| it.starts_with("regex:")) {
            let versioning = versioning.clone();
            return Err(LookupError::Versioning { versioning });
        }
        let name = comment.dep_name.as_str();
        let url = comment.registry_url.as_deref().map(|url| url.trim_end_matches('/'));
        match comment.datasource.as_str() {
            "docker" => tags(name, url),
            "helm" => chart(name, url),
            "github-releases" => Ok(Self::Releases {
                api: api(url, github)?,
                repository: owned(name)?,
            }),
            "github-tags" => Ok(Self::GitTags {
                api: api(url, github)?,
                repository: owned(name)?,
            }),
            datasource => Err(LookupError::Datasource {
                datasource: datasource.to_owned(),
            }),
        }
    }

    /// The server that is asked: scheme, host, port, and the path that is in front of everything there.
    #[must_use]
    pub fn server(&self) -> &str {
        match self {
            Self::Tags { registry, .. } => registry,
            Self::Chart { repository, .. } => repository,
            Self::Releases { api, .. } | Self::GitTags { api, .. } => api,
        }
    }

    /// The host and port of the server.
    #[must_use]
    pub fn host(&self) -> &str {
        let server = self.server();
        let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
        rest.split('/').next().unwrap_or(rest)
    }
}

impl fmt::Display for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tags {
                registry, repository, ..
            } => write!(f, "{registry}/{repository}"),
            Self::Chart { repository, chart } => write!(f, "{chart} in {repository}/index.yaml"),
            Self::Releases { api, repository } => write!(f, "{api}/repos/{repository}/releases"),
            Self::GitTags { api, repository } => write!(f, "{api}/repos/{repository}/tags"),
        }
    }
}

fn tags(name: &str, url: Option<&str>) -> Result<Lookup, LookupError> {
    let bad = || LookupError::Name {
        name: name.to_owned(),
        wanted: "image",
        example: "depName=haproxy, or depName=ghcr.io/owner/image",
    };
    if let Some(url) = url {
        let (server, path) = split(url)?;
        let host = server.split_once("://").map_or("", |(_, host)| host);
        // Both `registry.example/me/app` and `me/app` are found at registryUrl=https://registry.example.
        let name = name
            .strip_prefix(host)
            .and_then(|rest| rest.strip_prefix('/'))
            .unwrap_or(name);
        let library = is_docker_hub(host) && path.is_empty() && !name.contains('/');
        let path = if library { "library" } else { path };
        let repository = [path, name]
            .iter()
            .filter(|part| !part.is_empty())
            .copied()
            .collect::<Vec<_>>();
        let registry = if is_docker_hub(host) { hub() } else { server.to_owned() };
        return Ok(Lookup::Tags {
            registry,
            repository: repository.join("/").parse().map_err(|_| bad())?,
            chart: false,
        });
    }
    let image: ImageRef = name.parse().map_err(|_| bad())?;
    let full = FullName::of(&image).map_err(|_| bad())?;
    let registry = if is_docker_hub(&full.host) {
        hub()
    } else {
        format!("{}{}", scheme(&full.host), full.host)
    };
    Ok(Lookup::Tags {
        registry,
        repository: full.repository,
        chart: false,
    })
}

fn chart(name: &str, url: Option<&str>) -> Result<Lookup, LookupError> {
    let bad = || LookupError::Name {
        name: name.to_owned(),
        wanted: "chart",
        example: "depName=grafana registryUrl=https://charts.example",
    };
    // Both `depName=oci://ghcr.io/me/charts/app` and `depName=app registryUrl=oci://ghcr.io/me/charts`.
    let oci = match (
        name.strip_prefix("oci://"),
        url.and_then(|url| url.strip_prefix("oci://")),
    ) {
        (Some(whole), _) => Some(whole.to_owned()),
        (None, Some(repository)) => Some(format!("{repository}/{name}")),
        (None, None) => None,
    };
    if let Some(oci) = oci {
        let (host, repository) = oci.split_once('/').ok_or_else(bad)?;
        let registry = if is_docker_hub(host) {
            hub()
        } else {
            format!("{}{host}", scheme(host))
        };
        return Ok(Lookup::Tags {
            registry,
            repository: repository.parse().map_err(|_| bad())?,
            chart: true,
        });
    }
    let Some(url) = url else {
        let chart = name.to_owned();
        return Err(LookupError::Repository { chart });
    };
    split(url)?;
    Ok(Lookup::Chart {
        repository: url.to_owned(),
        chart: name.to_owned(),
    })
}

/// `owner/name`, which becomes part of an address.
fn owned(name: &str) -> Result<String, LookupError> {
    let part = |part: &str| {
        let inside = part
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        inside && !part.is_empty() && !part.bytes().all(|b| b == b'.')
    };
    match name.split_once('/') {
        Some((owner, rest)) if part(owner) && part(rest) => Ok(name.to_owned()),
        _ => Err(LookupError::Name {
            name: name.to_owned(),
            wanted: "repository on GitHub",
            example: "depName=owner/name",
        }),
    }
}

/// GitHub's own API, or that of another GitHub, which has it at a path (GitHub Enterprise Server, "Getting started with the
/// REST API").
fn api(url: Option<&str>, github: &str) -> Result<String, LookupError> {
    match url {
        None | Some("https://github.com" | GITHUB) => Ok(github.trim_end_matches('/').to_owned()),
        Some(url) => {
            split(url)?;
            Ok(format!("{url}/api/v3"))
        }
    }
}

/// The server and the path of an address.
fn split(url: &str) -> Result<(&str, &str), LookupError> {
    let bad = || LookupError::Url { url: url.to_owned() };
    let (scheme, rest) = url.split_once("://").ok_or_else(bad)?;
    let host = rest.split('/').next().unwrap_or_default();
    // A name and a password in an address would be printed with it.
    let host_ok = !host.is_empty() && !host.contains(['@', '?', '#']);
    if !matches!(scheme, "http" | "https") || !host_ok {
        return Err(bad());
    }
    let server = &url[..scheme.len() + 3 + host.len()];
    Ok((server, url[server.len()..].trim_matches('/')))
}

/// Docker's rule: a registry on this machine may be without TLS (docs.docker.com, "dockerd", insecure registries), and one
/// whose name is no address of it is not.
fn scheme(host: &str) -> &'static str {
    if is_here(host) { "http://" } else { "https://" }
}

/// Whether a host, with its port or without, is an address of this machine alone.
pub(crate) fn is_here(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    let loopback = |name: &str| {
        name.parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
    };
    name == "localhost" || loopback(name.trim_start_matches('[').trim_end_matches(']'))
}

fn is_docker_hub(host: &str) -> bool {
    matches!(
        host,
        "docker.io" | "index.docker.io" | "registry-1.docker.io" | "hub.docker.com"
    )
}

fn hub() -> String {
    "https://registry-1.docker.io".to_owned()
}

#[cfg(test)]
mod tests;
