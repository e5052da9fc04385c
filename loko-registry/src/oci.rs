//! The distribution API of OCI (github.com/opencontainers/distribution-spec, v1.1) without I/O: what is asked and how answers
//! are read. Bytes in, values out; who carries the bytes is no concern of this module.
//!
//! ```text
//! Call ─ request() ─→ Request ─→ (anything that speaks HTTP) ─→ Response ─ read() ─→ its output
//!                        ↑                                        │ 401
//!                        └─ Authorization ←─ auth::answer ←─ Challenge
//! ```

pub mod auth;
pub mod calls;
mod digest;
mod error;
mod http;
pub mod link;
pub mod manifest;
mod name;
pub mod upload;

pub use auth::{Authorization, Challenge};
pub use digest::{Digest, DigestError, Hasher};
pub use error::ProtocolError;
pub(crate) use http::encode;
pub use http::{Method, Request, Response, Scope};
pub use manifest::{Descriptor, Manifest, Platform};
pub use name::{Reference, Repository};

/// A question to a registry and how its answer is read.
pub trait Call {
    /// What the answer says.
    type Output;

    /// The request to send. A call whose body is too large for memory leaves it out.
    fn request(&self) -> Request;

    /// Reads the answer. A status of 401 is the business of [`auth`], and does not come here unless nothing helped.
    fn read(&self, response: &Response) -> Result<Self::Output, ProtocolError>;

    /// What has to be allowed, for registries that ask who is there.
    fn scope(&self) -> Scope;
}
