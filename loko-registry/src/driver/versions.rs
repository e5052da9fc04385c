//! Asks where versions are listed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::StreamExt as _;
use miette::Diagnostic;
use thiserror::Error;

use super::{Client, ClientError, ClientOptions};
use crate::login;
use crate::oci::ProtocolError;
use crate::oci::calls::Page;
use crate::versions::{ChartIndex, GitHubList, Lookup};

/// The index of a Helm repository holds every version of every chart: the largest have some twenty MiB.
const MAX_INDEX: usize = 64 << 20;
/// GitHub gives at most so many at once.
const PER_PAGE: u32 = 100;
/// GitHub lists the newest first: after so many pages nothing that is newer comes.
const MAX_PAGES: usize = 50;
/// How many are asked at once.
const AT_ONCE: usize = 8;

/// Who asks, and how patiently.
#[derive(Clone, Default)]
pub struct Datasources {
    /// The user's `~/.docker/config.json`, for registries that ask who is there.
    pub docker_config: Option<String>,
    /// A token for the GitHub at `github`, and shown to no other.
    pub github_token: Option<String>,
    /// The API to which that token belongs: [`GITHUB`](crate::versions::GITHUB).
    pub github: String,
    /// How long one answer may take.
    pub patience: Duration,
}

/// A datasource that did not answer.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum VersionsError {
    /// Nothing came back.
    #[error("{server} does not answer: {reason}")]
    #[diagnostic(
        code(loko::versions::no_answer),
        help("check the network and, where there is one, the proxy (HTTPS_PROXY), and run it again")
    )]
    NoAnswer {
        /// Who was asked.
        server: String,
        /// What the connection said.
        reason: String,
    },
    /// Its certificate is nobody's that this system trusts.
    #[error("the certificate of {server} is not trusted: {reason}")]
    #[diagnostic(
        code(loko::versions::untrusted),
        help("have this system trust the authority that signed it; `loko certs trust` does that for LoKO's own")
    )]
    Untrusted {
        /// Who was asked.
        server: String,
        /// What TLS said.
        reason: String,
    },
    /// It wants to know who asks, or was asked too much.
    #[error("{server} does not say: {reason}")]
    #[diagnostic(code(loko::versions::denied), help("{help}"))]
    Denied {
        /// Who was asked.
        server: String,
        /// Its words.
        reason: String,
        /// How one says who one is there.
        help: String,
    },
    /// It does not have the thing.
    #[error("{lookup} is not there")]
    #[diagnostic(
        code(loko::versions::not_found),
        help("check `depName` and `registryUrl` of the comment above the version")
    )]
    NotFound {
        /// What was looked for, and where.
        lookup: String,
    },
    /// It answered with something else.
    #[error("{server} answers with something else than versions: {reason}")]
    #[diagnostic(
        code(loko::versions::answer),
        help("run it again later; where it stays so, is this the address of what the comment's datasource says?")
    )]
    Answer {
        /// Who was asked.
        server: String,
        /// What was wrong.
        reason: String,
    },
}

impl std::fmt::Debug for Datasources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Datasources")
            .field("github", &self.github)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

impl Datasources {
    /// Asks for each list once, several at a time. A list may be empty; its order says nothing.
    pub async fn ask(&self, lookups: BTreeSet<Lookup>) -> BTreeMap<Lookup, Result<Vec<String>, VersionsError>> {
        let ask = |lookup: Lookup| async move {
            let answer = self.ask_one(&lookup).await;
            let answer = answer.map_err(|error| VersionsError::of(error, &lookup));
            (lookup, answer)
        };
        futures_util::stream::iter(lookups.into_iter().map(ask))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await
    }

    async fn ask_one(&self, lookup: &Lookup) -> Result<Vec<String>, ClientError> {
        let config = self.docker_config.as_deref();
        let client = Client::elsewhere(
            ClientOptions {
                registry: lookup.server().to_owned(),
                authority: None,
                addresses: BTreeMap::new(),
                credentials: match lookup {
                    Lookup::Tags { .. } => config.and_then(|config| login::credentials(config, lookup.host())),
                    Lookup::Chart { .. } | Lookup::Releases { .. } | Lookup::GitTags { .. } => None,
                },
                patience: self.patience,
            },
            MAX_INDEX,
        )?;
        match lookup {
            Lookup::Tags { repository, chart, .. } => {
                let tags = client.tags(repository).await?;
                let version = |tag: String| if *chart { tag.replace('_', "+") } else { tag };
                Ok(tags.into_iter().map(version).collect())
            }
            Lookup::Chart { chart, .. } => client.call(&ChartIndex { chart: chart.clone() }).await,
            Lookup::Releases { api, repository } => {
                let path = format!("/repos/{repository}/releases");
                self.github(&client, api, path).await
            }
            Lookup::GitTags { api, repository } => {
                let path = format!("/repos/{repository}/tags");
                self.github(&client, api, path).await
            }
        }
    }

    async fn github(&self, client: &Client, api: &str, path: String) -> Result<Vec<String>, ClientError> {
        let ours = api == self.github.trim_end_matches('/');
        let mut call = GitHubList {
            path,
            page: Page::First(PER_PAGE),
            token: self.github_token.clone().filter(|_| ours),
        };
        let mut versions = Vec::new();
        for _ in 0..MAX_PAGES {
            let listed = client.call(&call).await?;
            versions.extend(listed.items);
            match listed.next {
                Some(next) if next != call.page => call.page = within(api, next),
                Some(_) | None => break,
            }
        }
        Ok(versions)
    }
}

/// The next page's path as seen from an API that has a path itself: a client puts the API's address in front of it.
fn within(api: &str, page: Page) -> Page {
    let path = api.splitn(4, '/').nth(3).map(|path| format!("/{path}"));
    match (page, path) {
        (Page::At(target), Some(path)) => {
            let inside = target.strip_prefix(path.as_str()).filter(|rest| rest.starts_with('/'));
            Page::At(inside.map_or_else(|| target.clone(), str::to_owned))
        }
        (page, _) => page,
    }
}

impl VersionsError {
    fn of(error: ClientError, lookup: &Lookup) -> Self {
        let server = lookup.server().to_owned();
        match error {
            ClientError::Protocol(ProtocolError::NotFound { .. }) => Self::NotFound {
                lookup: lookup.to_string(),
            },
            ClientError::Protocol(ProtocolError::Denied { message, .. }) => Self::Denied {
                help: match lookup {
                    Lookup::Tags { .. } => format!("say who you are with `docker login {}`", lookup.host()),
                    Lookup::Releases { .. } | Lookup::GitTags { .. } => {
                        "put a token into GITHUB_TOKEN: without one GitHub answers 60 questions an hour".to_owned()
                    }
                    Lookup::Chart { .. } => "repositories of charts that want a name and a password are not asked; \
                                             leave them to Renovate"
                        .to_owned(),
                },
                server,
                reason: message,
            },
            ClientError::Protocol(ProtocolError::Refused { status, message, .. }) => Self::NoAnswer {
                server,
                reason: format!("it says `{message}` (HTTP {status})"),
            },
            ClientError::Protocol(error) => Self::Answer {
                server,
                reason: error.to_string(),
            },
            ClientError::Untrusted { reason, .. } => Self::Untrusted { server, reason },
            ClientError::Unreachable { source, .. } | ClientError::Broken { source, .. } => Self::NoAnswer {
                server,
                reason: root_cause(&source),
            },
            ClientError::Timeout { seconds, .. } => Self::NoAnswer {
                server,
                reason: format!("nothing came for {seconds} s"),
            },
            error @ (ClientError::Archive(_)
            | ClientError::Address { .. }
            | ClientError::Authority { .. }
            | ClientError::Io { .. }) => Self::NoAnswer {
                server,
                reason: error.to_string(),
            },
        }
    }
}

/// What lies at the bottom: `Connection refused`, `failed to lookup address information`.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
