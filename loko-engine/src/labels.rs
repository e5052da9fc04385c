//! The labels that tell ours from everybody else's.

use std::collections::BTreeMap;

/// Name of the environment, or absent on what all environments share.
pub const ENVIRONMENT: &str = "dev.loko.environment";
/// What the thing is: `node`, `haproxy`, `dnsmasq`, `udp`, `network`, `volume`.
pub const ROLE: &str = "dev.loko.role";
/// Hash of the specification it was made from, see [`crate::ContainerSpec::hash`].
pub const SPEC: &str = "dev.loko.spec";
/// The `$LOKO_HOME` that made it: two users on one engine must not take each other's.
pub const HOME: &str = "dev.loko.home";
/// kind's label for the cluster a node belongs to (kind: `pkg/cluster/internal/providers/docker/constants.go`).
pub const KIND_CLUSTER: &str = "io.x-k8s.kind.cluster";
/// kind's label for a node's role: `control-plane` or `worker`.
pub const KIND_ROLE: &str = "io.x-k8s.kind.role";

/// Labels for a thing of one environment, or of all where `environment` is `None`.
#[must_use]
pub fn of(environment: Option<&str>, role: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([(ROLE.to_owned(), role.to_owned())]);
    if let Some(environment) = environment {
        labels.insert(ENVIRONMENT.to_owned(), environment.to_owned());
    }
    labels
}

/// Whether `labels` mark a thing as ours and of `environment` (`None`: of all environments).
#[must_use]
pub fn is_ours(labels: &BTreeMap<String, String>, environment: Option<&str>) -> bool {
    labels.contains_key(ROLE) && labels.get(ENVIRONMENT).map(String::as_str) == environment
}
