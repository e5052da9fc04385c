//! What can go wrong with a cluster.

use loko_engine::EngineError;
use miette::Diagnostic;
use thiserror::Error;

use crate::kubeconfig::InvalidKubeconfig;
use crate::manifest::{NotAnObject, ObjectKey};
use crate::nodes::NoAddress;

/// Failure of something done to a cluster.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum ClusterError {
    /// The engine failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Engine(#[from] EngineError),
    /// No address is left.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Address(#[from] NoAddress),
    /// The service subnet is too small.
    #[error(transparent)]
    #[diagnostic(transparent)]
    ServiceSubnet(#[from] crate::addresses::SubnetTooSmall),
    /// A workload cannot be rendered.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Workload(#[from] crate::workloads::WorkloadError),
    /// A mirror of the registry cannot be.
    #[error(transparent)]
    #[diagnostic(code(loko::cluster::registry_source))]
    RegistrySource(#[from] loko_registry::SourceError),
    /// A chart has no origin.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Chart(#[from] crate::charts::ChartError),
    /// Helm.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Helm(#[from] HelmError),
    /// A kubeconfig cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Kubeconfig(#[from] InvalidKubeconfig),
    /// A generated or bundled object is none.
    #[error("{origin} holds something that is no Kubernetes object")]
    #[diagnostic(code(loko::cluster::object))]
    Object {
        /// Where it came from.
        origin: String,
        /// What it lacks.
        #[source]
        source: NotAnObject,
    },
    /// kubeadm failed on a node.
    #[error("kubeadm failed on {node}")]
    #[diagnostic(code(loko::cluster::kubeadm), help("{evidence}"))]
    Kubeadm {
        /// The node.
        node: String,
        /// The last lines of kubeadm and of the kubelet.
        evidence: String,
    },
    /// The API refused or did not answer.
    #[error("failed to {action}: {message}")]
    #[diagnostic(code(loko::cluster::api))]
    Api {
        /// What was asked.
        action: String,
        /// The API's own words.
        message: String,
    },
    /// What a Service needs is another's.
    #[error("failed to apply {service}: {what} is held by {by}")]
    #[diagnostic(
        code(loko::cluster::held),
        help("give {by} another one, or take it away: `kubectl delete service {} --namespace {}`", by.name, by.namespace.as_deref().unwrap_or("default"))
    )]
    Held {
        /// What was applied.
        service: String,
        /// `the node port 30081`
        what: String,
        /// Who has it.
        by: Box<ObjectKey>,
    },
    /// What a Service needs is nobody's, and not free.
    #[error("failed to apply {service}: {what} is still reserved after {minutes} min, though no Service holds it")]
    #[diagnostic(
        code(loko::cluster::reserved),
        help(
            "the API server frees what a request reserved that was cut off; run the same again in a while, or make the cluster anew with its data kept: `loko recreate`"
        )
    )]
    Reserved {
        /// What was applied.
        service: String,
        /// `the node port 30081`
        what: String,
        /// How long it was waited for.
        minutes: u64,
    },
    /// Something did not become ready in time.
    #[error("{what} is not ready after {seconds} s: {reason}")]
    #[diagnostic(code(loko::cluster::not_ready), help("{evidence}"))]
    NotReady {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
        /// What it waits for itself.
        reason: String,
        /// The image that could not be had, where it is that.
        image: Option<String>,
        /// Conditions, events and last log lines.
        evidence: String,
    },
    /// kubeadm's configuration cannot be rendered.
    #[error(transparent)]
    #[diagnostic(transparent)]
    KubeadmConfiguration(#[from] crate::kubeadm::KubeadmError),
    /// A template could not be rendered.
    #[error("failed to render {file}")]
    #[diagnostic(code(loko::cluster::render))]
    Render {
        /// The generated file.
        file: &'static str,
        /// The template engine's word.
        #[source]
        source: askama::Error,
    },
}

/// Failure of Helm, or of git for it.
#[derive(Debug, Clone, PartialEq, Eq, Error, Diagnostic)]
#[non_exhaustive]
pub enum HelmError {
    /// There is none.
    #[error("`helm` is not on PATH, and workloads are Helm charts: {workloads}")]
    #[diagnostic(
        code(loko::helm::missing),
        help("install Helm 3.14 or newer (https://helm.sh/docs/intro/install), or set `enabled: false` for them")
    )]
    Missing {
        /// Which ones.
        workloads: String,
    },
    /// It is too old.
    #[error("the `helm` on PATH is {found}; 3.14 or newer is needed")]
    #[diagnostic(code(loko::helm::too_old), help("update it: https://helm.sh/docs/intro/install"))]
    TooOld {
        /// What it said of itself.
        found: String,
    },
    /// A folder without a chart.
    #[error("{path} holds no Helm chart: there is no Chart.yaml")]
    #[diagnostic(
        code(loko::helm::no_chart),
        help("`config.chart` is a folder as seen from loko.yaml, or the archive of a chart")
    )]
    NoChart {
        /// Where it was looked for.
        path: String,
    },
    /// A release of that name is not ours.
    #[error("a Helm release `{name}` is in the namespace {namespace} that loko did not install")]
    #[diagnostic(
        code(loko::helm::foreign),
        help(
            "give the workload another name, or take the release away: `helm uninstall {name} --namespace {namespace}`"
        )
    )]
    Foreign {
        /// Its name.
        name: String,
        /// Where it is.
        namespace: String,
    },
    /// A program failed.
    #[error("failed to {action}: {said}")]
    #[diagnostic(code(loko::helm::failed))]
    Failed {
        /// What it was to do.
        action: String,
        /// Its own last words.
        said: String,
    },
}
