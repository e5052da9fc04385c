//! A Docker-compatible engine as data: what is wanted, what is there, what differs; and one driver that acts.
//!
//! ```text
//! ContainerSpec, NetworkSpec ──────────────┐
//!                                          ├─ container::compare, subnet::choose ─→ change ─→ Engine (driver)
//! ContainerFacts, NetworkFacts, EngineFacts┘
//! ```
//!
//! Everything but [`driver`] is pure. Whatever is made carries the labels of [`labels`]; nothing else is ever touched.

pub mod container;
pub mod edge;
pub mod endpoint;
pub mod error;
pub mod image;
pub mod labels;
pub mod network;
pub mod subnet;

#[cfg(feature = "driver")]
pub mod driver;

pub use container::{ContainerFacts, ContainerSpec, ContainerState, Mount, NetworkAttachment, PublishedPort, Restart};
#[cfg(feature = "driver")]
pub use driver::Engine;
pub use edge::{EdgeMode, EngineFacts, HostFacts};
pub use error::EngineError;
pub use network::{NetworkFacts, NetworkSpec};
