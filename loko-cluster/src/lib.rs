//! A kind-compatible Kubernetes cluster: nodes, certificates, components, workloads and what they are doing.
//!
//! ```text
//! Environment ─→ nodes, kubeadm ─→ containers (loko-engine) ─┐
//!             ├→ certificates                                ├─ facts ─ diff ─→ plan ─→ driver
//!             └→ components, workloads ─→ manifests ─────────┘
//! ```
//!
//! Everything but [`driver`] is pure: time, randomness and addresses are arguments.

pub mod kubeadm;
pub mod manifest;
pub mod nodes;

pub use manifest::{Manifest, ObjectKey};
