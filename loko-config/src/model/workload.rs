//! The key `workloads`: what the user runs.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

use serde::Serialize;

use crate::names::{HostName, ImageRef, NamespaceName, Quantity, WorkloadName};

/// The key `workloads`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Workloads {
    /// Default `loko-workloads`.
    pub namespace: NamespaceName,
    /// Helm repositories by name.
    pub helm_repositories: BTreeMap<String, String>,
    /// `system` (catalogue), then `user`, each in the order written.
    pub list: Vec<Workload>,
}

/// One entry of `workloads.system` or `workloads.user`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Workload {
    /// Unique over both lists.
    pub name: WorkloadName,
    /// Default true.
    pub enabled: bool,
    /// Catalogue entry, image or chart.
    pub source: Source,
    /// HTTP routes, if any.
    pub http: Option<Http>,
    /// TCP and UDP ports on the host.
    pub ports: Vec<WorkloadPort>,
    /// Size of the data volume, if any.
    pub storage: Option<Quantity>,
    /// Workloads that must be ready first.
    pub depends_on: BTreeSet<WorkloadName>,
}

/// What a workload is made from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// An entry of the catalogue, by the workload's own name, with its values overridden.
    Catalogue {
        /// Deeply merged over the entry's own. Templates until [`crate::Environment::expand`].
        config: serde_json::Map<String, serde_json::Value>,
    },
    /// One container.
    Image(Box<ImageSource>),
    /// A Helm chart.
    Chart(Box<ChartSource>),
}

/// A workload of one container. Fields are spelt as Kubernetes spells them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ImageSource {
    /// The image.
    pub image: ImageRef,
    /// Replaces the image's entry point. Templates until [`crate::Environment::expand`].
    pub command: Vec<String>,
    /// Replaces the image's arguments. Templates until [`crate::Environment::expand`].
    pub args: Vec<String>,
    /// Environment variables. Templates until [`crate::Environment::expand`].
    pub env: BTreeMap<String, String>,
    /// Default 1.
    pub replicas: u16,
    /// Where `storage` is mounted. Default `/data`.
    pub storage_path: String,
    /// Environment variables with `valueFrom`, as Kubernetes' `EnvVar` objects.
    pub env_value_from: Vec<serde_json::Value>,
    /// Configuration files: absolute path in the container → content.
    pub files: BTreeMap<String, String>,
    /// Fields of Kubernetes' `Container`, passed through: `resources`, `livenessProbe`, `readinessProbe`,
    /// `startupProbe`, `lifecycle`, `securityContext`, `workingDir`, `imagePullPolicy`, `envFrom`, `volumeMounts`.
    pub container: serde_json::Map<String, serde_json::Value>,
    /// Fields of Kubernetes' `PodSpec`, passed through: `nodeSelector`, `tolerations`, `affinity`, `volumes`,
    /// `initContainers`, `serviceAccountName`, `terminationGracePeriodSeconds`, `hostAliases`, and
    /// `securityContext` (written as `podSecurityContext`).
    pub pod: serde_json::Map<String, serde_json::Value>,
    /// Further containers of the pod, as Kubernetes' `Container` objects (written as `sidecars`).
    pub sidecars: Vec<serde_json::Value>,
    /// Annotations of the pods.
    pub annotations: BTreeMap<String, String>,
    /// Labels of the pods, beside ours.
    pub labels: BTreeMap<String, String>,
}

/// A workload that is a Helm chart.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ChartSource {
    /// `repository/chart`, an `oci://` reference, or a folder.
    pub chart: String,
    /// The chart's version, where given.
    pub version: Option<String>,
    /// Name of a Helm repository, where given (`repo.ref`).
    pub repository: Option<String>,
    /// URL of a Helm repository that is not in the list, where given (`repo.url`).
    pub repository_url: Option<String>,
    /// A git repository that holds the chart, where given (`repo.git`).
    pub git: Option<GitSource>,
    /// Values. Templates until [`crate::Environment::expand`].
    pub values: serde_json::Map<String, serde_json::Value>,
}

/// A chart in a git repository: `repo: {git: …, revision: …, path: …}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct GitSource {
    /// What `git clone` takes.
    pub url: String,
    /// A branch, tag or commit. Default: the remote's HEAD.
    pub revision: Option<String>,
}

/// The key `http` of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Http {
    /// The container's (or the chart's service's) port.
    pub port: NonZeroU16,
    /// Host names. Default: `<workload>.<domain>`.
    pub hosts: Vec<HostName>,
    /// The service to route to, for charts. Default: the workload's name.
    pub service: Option<String>,
    /// Annotations of the Ingress, for example Traefik's `router.middlewares`.
    pub annotations: BTreeMap<String, String>,
}

/// One entry of `ports`: the container's port, which is also the host's unless `network.port-overrides` says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct WorkloadPort {
    /// In the container.
    pub port: NonZeroU16,
    /// On the host.
    pub host_port: NonZeroU16,
    /// TCP unless said.
    pub protocol: Protocol,
    /// Whether the TCP port is shared by SNI (`tls: sni`).
    pub sni: bool,
}

/// TCP or UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}
