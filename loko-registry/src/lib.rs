//! An OCI registry for a local cluster: its configuration, its mirrors, who trusts it, and a client for it.
//!
//! ```text
//!                                  ┌─ zot, distribution ─→ config.json, config.yml ─┐
//! Environment ─→ RegistrySpec ─────┼─ manifests ←───────────────────────────────────┴─→ Kubernetes objects
//!                └ Source, Source… └─ hosts ─ diff ←─ what the nodes hold ─→ certs.d/<host>/hosts.toml to write, to remove
//!
//! Call ─→ Request ─→ driver (HTTP) ─→ Response ─→ manifests, tags, blobs, an inventory; what `docker save` writes goes in
//!
//! RenovateComment ─→ Lookup ─→ driver ─→ the versions that there are
//! ```
//!
//! Everything but the module `driver` is pure: addresses, certificates and paths are arguments, files and objects come back as values.

pub mod archive;
pub mod bundle;
pub mod distribution;
#[cfg(feature = "driver")]
pub mod driver;
pub mod hosts;
pub mod images;
pub mod inventory;
pub mod login;
pub mod manifests;
pub mod oci;
pub mod source;
pub mod spec;
pub mod versions;
pub mod zot;

pub use hosts::{HostChanges, HostsFile};
pub use inventory::{ImageSummary, Inventory};
pub use manifests::{Identity, Place};
pub use source::{Source, SourceError};
pub use spec::{Credentials, RegistrySpec};
