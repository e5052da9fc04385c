//! What the user runs, as typed objects.
//!
//! ```text
//! Workload ─┬─ image::objects ──→ ConfigMap, Service, Deployment or StatefulSet ─┐  (of an image; a chart's are Helm's)
//!           └─ routes::objects ─→ Ingress, IngressRouteTCP, IngressRouteUDP ─────┴─→ part `workload-<name>`
//!                  ↑ slots
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;

use loko_config::model::{Environment, Protocol, Source, Workload};
use loko_config::slots::{PortKey, Slot};
use sha2::{Digest as _, Sha256};

use crate::components::Objects;
use crate::manifest::{Manifest, NotAnObject};

mod image;
mod routes;
mod typed;

pub use routes::{acme_hosts, exposed_ports};

/// What the objects of workloads depend on besides the environment.
#[derive(Debug, Clone, Copy)]
pub struct WorkloadContext<'a> {
    /// The entry point of each TCP and UDP port ([`loko_config::slots::assign`]).
    pub slots: &'a BTreeMap<PortKey, Slot>,
}

/// Why a workload cannot be rendered.
#[derive(Debug, Clone, PartialEq, thiserror::Error, miette::Diagnostic)]
pub enum WorkloadError {
    /// A workload of the catalogue that the catalogue was not applied to ([`crate::catalogue::Catalogue::resolve`]).
    #[error("deploy `{workload}`: the catalogue was not applied to it")]
    #[diagnostic(
        code(loko::workload::not_resolved),
        help("this is a mistake in loko: please report it")
    )]
    NotResolved {
        /// Its name.
        workload: String,
    },
    /// The given slots lack a port.
    #[error("route {protocol} port {port} of `{workload}`: it has no entry point")]
    #[diagnostic(code(loko::workload::no_slot), help("this is a mistake in loko: please report it"))]
    NoSlot {
        /// Whose port it is.
        workload: String,
        /// In the container.
        port: u16,
        /// TCP or UDP.
        protocol: Protocol,
    },
    /// A field that is passed through is not as Kubernetes knows it.
    #[error("read `{field}` of `{workload}`: {reason}")]
    #[diagnostic(
        code(loko::workload::field),
        help("it is passed to Kubernetes as it is: `kubectl explain pod.spec --recursive` lists the names")
    )]
    Field {
        /// Whose field it is.
        workload: String,
        /// For example `readinessProbe`.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Kubernetes puts the name and a hash into a label of 63 bytes.
    #[error("deploy `{workload}`: its name has {} bytes, and a workload with storage may have {MAX_STATEFUL_NAME}", workload.len())]
    #[diagnostic(code(loko::workload::long_name), help("choose a shorter name"))]
    LongName {
        /// The name.
        workload: String,
    },
    /// An object could not be made.
    #[error(transparent)]
    NotAnObject(#[from] NotAnObject),
}

/// The longest name of a stateful set: its pods carry the label `controller-revision-hash: <name>-<10 characters>`.
pub const MAX_STATEFUL_NAME: usize = 52;

/// The objects of every enabled workload by part, each list in an order in which it can be applied. The environment must be
/// expanded ([`Environment::expand`]); its namespace is made by [`crate::components::namespaces`].
pub fn manifests(
    environment: &Environment,
    context: WorkloadContext<'_>,
) -> Result<BTreeMap<String, Vec<Manifest>>, WorkloadError> {
    environment
        .enabled_workloads()
        .map(|workload| Ok((part(workload.name.as_str()), objects(environment, workload, context)?)))
        .collect()
}

/// Every image that the pods of a workload run, its own first: those of init containers and sidecars as well. None for
/// workloads whose images are not known beforehand.
#[must_use]
pub fn images(workload: &Workload) -> Vec<String> {
    let Source::Image(image) = &workload.source else {
        return Vec::new();
    };
    let init = image.pod.get("initContainers").and_then(|list| list.as_array());
    let others = init.into_iter().flatten().chain(&image.sidecars);
    let others = others.filter_map(|container| container.get("image")?.as_str());
    let mut list = vec![image.image.to_string()];
    for other in others {
        if !list.iter().any(|known| known == other) {
            list.push(other.to_owned());
        }
    }
    list
}

/// The service that the ways into a workload lead to: its own, or for a chart the one that `http.service` names.
#[must_use]
pub fn service_of(workload: &Workload) -> &str {
    let given = workload.http.as_ref().and_then(|http| http.service.as_deref());
    match workload.source {
        Source::Chart(_) => given.unwrap_or(workload.name.as_str()),
        Source::Image(_) | Source::Catalogue { .. } => workload.name.as_str(),
    }
}

/// The part of a workload: `workload-<name>`, shortened with a hash where a label's 63 bytes do not hold it.
#[must_use]
pub fn part(workload: &str) -> String {
    const PREFIX: &str = "workload-";
    const MAX_LABEL: usize = 63;
    if PREFIX.len() + workload.len() <= MAX_LABEL {
        return format!("{PREFIX}{workload}");
    }
    let hash = hex(Sha256::digest(workload).get(..5).unwrap_or_default());
    let kept = MAX_LABEL - PREFIX.len() - hash.len() - 1;
    format!("{PREFIX}{}-{hash}", workload.get(..kept).unwrap_or_default())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String never fails.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn objects(
    environment: &Environment,
    workload: &Workload,
    context: WorkloadContext<'_>,
) -> Result<Vec<Manifest>, WorkloadError> {
    let not_resolved = || WorkloadError::NotResolved {
        workload: workload.name.to_string(),
    };
    let mut objects = Objects::of(&part(workload.name.as_str()));
    match &workload.source {
        Source::Image(image) => image::add(&mut objects, environment, workload, image)?,
        // Helm makes what runs ([`crate::charts`]); the ways in are ours.
        Source::Chart(_) => {}
        Source::Catalogue { .. } => return Err(not_resolved()),
    }
    routes::add(&mut objects, environment, workload, context)?;
    Ok(objects.into_list())
}

#[cfg(test)]
mod tests;
