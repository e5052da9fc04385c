//! Every name of an environment's domain resolves, on the host and in pods, and no other query is captured.
//!
//! ```text
//! Environment, address, port ─→ Zone ─┬─ render ─→ dnsmasq.conf, hosts.d/* ─┐
//!                                     ├─ container::spec ───────────────────┼─ plan ─→ driver ─→ Report
//!                  what is there ─────┼─────────────── Facts ───────────────┘
//!                                     ├─ resolver::set ─→ Plan of actions on the host ─→ resolver::host
//!                                     ├─ corefile ─→ the same names in pods
//!                                     └─ check ─→ verdict, cause, remedy    ←─ probe: one question, one server
//! ```
//!
//! Everything but `driver`, `resolver::host`, `probe::ask` and `check::gather` is pure, and builds without the feature
//! `driver`.

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
pub mod rule;
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
