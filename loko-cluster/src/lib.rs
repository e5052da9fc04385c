//! A kind-compatible Kubernetes cluster: nodes, certificates, components, workloads and what they are doing.
//!
//! ```text
//! Environment ─→ nodes, kubeadm ─→ containers (loko-engine) ─┐
//!             ├→ certificates                                ├─ facts ─ diff ─→ plan ─→ driver
//!             └→ components, workloads ─→ manifests ─────────┘
//! ```
//!
//! Everything but [`driver`] is pure: time, randomness and addresses are arguments.

pub mod addresses;
pub mod allocation;
pub mod authorities;
pub mod balancer;
pub mod catalogue;
pub mod certificates;
pub mod charts;
pub mod cni;
pub mod components;
pub mod difference;
pub mod drain;
pub mod error;
pub mod kubeadm;
pub mod kubeconfig;
pub mod manifest;
pub mod nodes;
pub mod ownership;
pub mod plan;
pub mod proxy;
pub mod readiness;
pub mod replace;
pub mod scheduling;
pub mod secrets;
pub mod storage;
pub mod wanted;
pub mod workloads;

#[cfg(feature = "driver")]
pub mod driver;

pub use error::ClusterError;
pub use manifest::{Manifest, ObjectKey};
