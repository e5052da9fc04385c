//! Every name of an environment's domain resolves, on the host and in pods, and no other query is captured.
//!
//! ```text
//! Environment, address, port ─→ Zone ─┬─ render ─→ dnsmasq.conf, hosts.d/* ─┐
//!                                     ├─ container::spec ───────────────────┼─ plan ─→ driver ─→ Report
//!                  what is there ─────┴─────────────── Facts ───────────────┘
//! Zone ─→ corefile (the same names in pods)          name, server ─→ probe ─→ Answer
//! ```
//!
//! Everything but `driver` and `probe::ask` is pure, and builds without the feature `driver`.

pub mod check;
pub mod container;
pub mod corefile;
pub mod error;
pub mod parse;
pub mod plan;
pub mod port;
pub mod probe;
pub mod render;
pub mod resolver;
#[cfg(test)]
mod samples;
pub mod zone;

#[cfg(feature = "driver")]
pub mod driver;

pub use container::Placement;
pub use corefile::corefile;
#[cfg(feature = "driver")]
pub use driver::{Report, ensure, remove, sync};
pub use error::DnsError;
pub use zone::Zone;
