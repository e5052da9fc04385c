//! Objects that the API refuses to change, and how they are replaced without losing what hangs on them.

/// What becomes of the objects that belong to one that is deleted (Kubernetes' `propagationPolicy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dependents {
    /// They stay, and the new object takes them over by its selector: pods of a stateful set go on running meanwhile.
    Stay,
    /// They go as well.
    Go,
}

/// What the API says where a field cannot be changed. All come with status 422.
const REFUSALS: [&str; 5] = [
    "field is immutable",
    "may not change once set",
    "updates to statefulset spec",
    "cannot change roleRef",
    "primary clusterIP",
];

/// How to replace an object whose change was refused with status `code` and `message`; `None` where the refusal has another
/// cause, or where replacing would lose data: volume claims, namespaces and definitions are never replaced.
#[must_use]
pub fn replacement(kind: &str, code: u16, message: &str) -> Option<Dependents> {
    let refused = code == 422 && REFUSALS.iter().any(|refusal| message.contains(refusal));
    match kind {
        "StatefulSet" if refused => Some(Dependents::Stay),
        "Deployment" | "DaemonSet" | "Job" | "Service" | "Secret" | "ConfigMap" | "RoleBinding"
        | "ClusterRoleBinding"
            if refused =>
        {
            Some(Dependents::Go)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Kubernetes 1.36 words them.
    #[test]
    fn refusals_are_known_by_their_words() {
        let size = "StatefulSet.apps \"db\" is invalid: spec: Forbidden: updates to statefulset spec for fields other than \
                    'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', \
                    'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
        assert_eq!(replacement("StatefulSet", 422, size), Some(Dependents::Stay));
        let selector = "Deployment.apps \"a\" is invalid: spec.selector: Invalid value: {}: field is immutable";
        assert_eq!(replacement("Deployment", 422, selector), Some(Dependents::Go));
        let address =
            "Service \"a\" is invalid: spec.clusterIPs[0]: Invalid value: [\"10.96.0.14\"]: may not change once set";
        assert_eq!(replacement("Service", 422, address), Some(Dependents::Go));
        assert_eq!(
            replacement("PersistentVolumeClaim", 422, "spec: field is immutable"),
            None
        );
        assert_eq!(
            replacement("Deployment", 422, "spec.replicas: must be non-negative"),
            None
        );
        assert_eq!(replacement("Deployment", 409, selector), None);
    }
}
