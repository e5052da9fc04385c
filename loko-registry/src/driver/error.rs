//! What can go wrong between here and a registry.

use miette::Diagnostic;
use thiserror::Error;

use crate::archive::ArchiveError;
use crate::oci::ProtocolError;

/// Failure of something asked of a registry.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum ClientError {
    /// The registry said no, or something that is no answer.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Protocol(#[from] ProtocolError),
    /// An archive is not what can be loaded.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Archive(#[from] ArchiveError),
    /// The address is none.
    #[error("`{registry}` is no address of a registry")]
    #[diagnostic(
        code(loko::registry::address),
        help("write it as https://cr.dev.me or http://127.0.0.1:5000")
    )]
    Address {
        /// The address.
        registry: String,
    },
    /// The authority's certificate cannot be read.
    #[error("the certificate of the authority cannot be used: {reason}")]
    #[diagnostic(
        code(loko::registry::authority),
        help("`loko certs show` says where it is and what it holds")
    )]
    Authority {
        /// Why.
        reason: String,
    },
    /// Nothing answers there.
    #[error("no registry answers at {registry}")]
    #[diagnostic(
        code(loko::registry::unreachable),
        help(
            "`loko status` says whether the environment and its registry run; `loko registry status` where the way to it ends"
        )
    )]
    Unreachable {
        /// Its address.
        registry: String,
        /// What the connection said.
        #[source]
        source: reqwest::Error,
    },
    /// Its certificate is not signed by whom it should be.
    #[error("the certificate of {registry} is not trusted: {reason}")]
    #[diagnostic(
        code(loko::registry::untrusted),
        help(
            "`loko certs trust` makes this machine trust it; `loko certs renew` makes a new one where names or dates are wrong"
        )
    )]
    Untrusted {
        /// Its address.
        registry: String,
        /// What TLS said.
        reason: String,
    },
    /// The connection ended in the middle.
    #[error("the connection to {registry} broke off")]
    #[diagnostic(
        code(loko::registry::broken),
        help("try again: what has arrived is not sent a second time")
    )]
    Broken {
        /// Its address.
        registry: String,
        /// What the connection said.
        #[source]
        source: reqwest::Error,
    },
    /// It took too long.
    #[error("to {action} took longer than {seconds} s")]
    #[diagnostic(
        code(loko::registry::timeout),
        help("a mirror answers when it has the whole image: try again, it goes on meanwhile")
    )]
    Timeout {
        /// What was waited for.
        action: String,
        /// The limit, in seconds.
        seconds: u64,
    },
    /// A file or stream on this side failed.
    #[error("failed to {action}")]
    #[diagnostic(code(loko::registry::io))]
    Io {
        /// What was done.
        action: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl ClientError {
    pub(super) fn of(registry: &str, source: reqwest::Error) -> Self {
        let registry = registry.to_owned();
        if let Some(reason) = tls_reason(&source) {
            return Self::Untrusted { registry, reason };
        }
        if source.is_connect() {
            return Self::Unreachable { registry, source };
        }
        Self::Broken { registry, source }
    }

    /// Whether the thing asked for is not in the registry.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Protocol(ProtocolError::NotFound { .. }))
    }
}

/// What TLS said, where it was TLS that failed. An `io::Error` hides what it wraps from `source`.
fn tls_reason(error: &reqwest::Error) -> Option<String> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(this) = cause {
        if let Some(rustls::Error::InvalidCertificate(reason)) = this.downcast_ref() {
            return Some(reason.to_string());
        }
        let wrapped = this.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = match wrapped {
            Some(inner) => Some(inner),
            None => this.source(),
        };
    }
    None
}
