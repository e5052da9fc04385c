//! Routes of all environments of a machine, rendered for HAProxy, and a driver that changes them while traffic flows.
//!
//! ```text
//! Environment, nodes, slots ─ Routes::new ─→ Routes of one environment ─┐ routes/<env>.yaml, in a volume
//!                                            Routes of the others ──────┤
//!                                                                       └─ configuration::decide ─→ Configuration
//! Configuration ─ render ─→ haproxy.cfg ─ Edge (driver): check, rename, reload, confirm ─→ Report
//!               ←─ parse ──            ←─ statistics ─ stats ─→ health, connections and bytes of each route
//! ```
//!
//! One HAProxy serves all environments, because they share 80 and 443: HTTPS by the server name of the `ClientHello`,
//! HTTP by `Host`, and each TCP port by a frontend of its own. UDP, which HAProxy does not forward, goes through a
//! [`relay`] for each environment that has a UDP port.

pub mod configuration;
pub mod container;
pub mod error;
pub mod facts;
pub mod parse;
pub mod portcheck;
pub mod relay;
pub mod render;
pub mod routes;
pub mod stats;
pub mod tunnel;

#[cfg(feature = "driver")]
pub mod driver;

pub use configuration::{Configuration, Limits, Settings};
pub use container::Names;
#[cfg(feature = "driver")]
pub use driver::{Change, Done, Edge, Relay, Report, Status};
pub use error::HaproxyError;
pub use routes::{Conflict, Routes, TcpRoute, UdpRoute, Upstream};
