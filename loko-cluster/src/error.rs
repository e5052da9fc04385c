//! What can go wrong with a cluster.

use loko_engine::EngineError;
use miette::Diagnostic;
use thiserror::Error;

use crate::kubeconfig::InvalidKubeconfig;
use crate::manifest::NotAnObject;
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
        /// Conditions, events and last log lines.
        evidence: String,
    },
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
