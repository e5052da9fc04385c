//! What an answer can be other than what was asked for.

use miette::Diagnostic;
use thiserror::Error;

use super::digest::DigestError;

/// An answer that is none.
#[derive(Debug, Clone, PartialEq, Eq, Error, Diagnostic)]
#[non_exhaustive]
pub enum ProtocolError {
    /// It is not there.
    #[error("{what} is not in the registry")]
    #[diagnostic(
        code(loko::registry::not_found),
        help("`loko registry repos` and `loko registry tags` list what is there")
    )]
    NotFound {
        /// `the manifest app:1`, …
        what: String,
    },
    /// The registry wants to know who asks, or does not let them.
    #[error("the registry does not allow to {action}: {message}")]
    #[diagnostic(
        code(loko::registry::denied),
        help("log in with a name that may do this, or check its rights")
    )]
    Denied {
        /// `read app:1`, …
        action: String,
        /// The registry's own words.
        message: String,
    },
    /// The registry can, or will, not do this.
    #[error("the registry refused to {action}: {message} (HTTP {status})")]
    #[diagnostic(code(loko::registry::refused))]
    Refused {
        /// `write app:1`, …
        action: String,
        /// HTTP status.
        status: u16,
        /// The error's code (OCI distribution specification, "Error Codes"): `UNSUPPORTED`, …
        code: Option<String>,
        /// The registry's own words.
        message: String,
    },
    /// The answer is not what the specification says it is.
    #[error("the registry's answer has {what} that cannot be read: {reason}")]
    #[diagnostic(
        code(loko::registry::malformed),
        help("is this the address of a registry? Something in between, such as a proxy, may have answered")
    )]
    Malformed {
        /// `a manifest`, `a Location`, …
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// The content is not what was asked for.
    #[error("{what} was damaged or changed on its way")]
    #[diagnostic(
        code(loko::registry::digest),
        help("try again; if it stays so, remove it from the registry and push it anew")
    )]
    Digest {
        /// `the manifest app:1`, …
        what: String,
        /// What differs.
        #[source]
        source: DigestError,
    },
}

impl ProtocolError {
    /// Whether the registry does not offer what was asked of it at all.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        match self {
            Self::Refused { status, code, .. } => *status == 405 || code.as_deref() == Some("UNSUPPORTED"),
            Self::NotFound { .. } | Self::Denied { .. } | Self::Malformed { .. } | Self::Digest { .. } => false,
        }
    }
}
