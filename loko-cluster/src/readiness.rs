//! Whether an object does what it was made for, from its own status.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

mod failure;

pub use failure::{Failure, failure, of_newest};

/// Kinds that take time to become ready and say so in their status.
pub const WATCHED: [&str; 4] = ["Deployment", "StatefulSet", "DaemonSet", "Job"];

/// The taint of a node that is not ready, given and taken by Kubernetes' node lifecycle controller.
const NOT_READY: &str = "node.kubernetes.io/not-ready";

/// How far an object is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Readiness {
    /// It does what it was made for.
    Ready,
    /// Not yet; what it waits for.
    Waiting(String),
}

/// Reads the status of one of [`WATCHED`], a node or a pod as `kubectl rollout status` and
/// `kubectl wait` do; every other kind is ready as soon as it is there.
#[must_use]
pub fn of(object: &Value) -> Readiness {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let generation = number("/metadata/generation");
    let kind = object.pointer("/kind").and_then(Value::as_str).unwrap_or_default();
    if WATCHED.contains(&kind) && kind != "Job" && number("/status/observedGeneration") < generation {
        return Readiness::Waiting("its controller has not seen it yet".to_owned());
    }
    let counted = |done: i64, wanted: i64, what: &str| {
        if done >= wanted {
            Readiness::Ready
        } else {
            Readiness::Waiting(format!("{done} of {wanted} {what}"))
        }
    };
    match kind {
        "Deployment" => {
            let wanted = object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
            let updated = number("/status/updatedReplicas");
            // While new pods do not come up the old ones are kept, and are available.
            let old = number("/status/replicas") - updated;
            if old > 0 && updated >= wanted {
                return Readiness::Waiting(format!("{old} pods of before are still there, new ones come up first"));
            }
            counted(
                updated.min(number("/status/availableReplicas")),
                wanted,
                "pods available",
            )
        }
        "StatefulSet" => {
            let wanted = object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
            let current = object.pointer("/status/currentRevision") == object.pointer("/status/updateRevision");
            let fresh = if current {
                number("/status/readyReplicas")
            } else {
                number("/status/updatedReplicas").min(number("/status/readyReplicas"))
            };
            counted(fresh, wanted, "pods ready")
        }
        "DaemonSet" => {
            let wanted = number("/status/desiredNumberScheduled");
            if wanted == 0 {
                return Readiness::Waiting("no node may run it".to_owned());
            }
            counted(
                number("/status/updatedNumberScheduled").min(number("/status/numberReady")),
                wanted,
                "pods ready",
            )
        }
        "Job" => counted(number("/status/succeeded"), 1, "runs done"),
        // The condition comes first, the taint that keeps pods away goes a moment later.
        "Node" if has_taint(object, NOT_READY) => Readiness::Waiting("pods are still kept away from it".to_owned()),
        "Node" | "Pod" => condition(object, "Ready"),
        _ => Readiness::Ready,
    }
}

/// Whether the status of a pod was written before its node was last started, and so tells of containers that are gone.
///
/// A node that was stopped keeps in the API's memory what it said last: its pods are Ready there until its kubelet speaks
/// again. `started` has each node by name and when its container was started. A pod that has no node yet, is on its way out,
/// or is done with its work has nothing more to tell.
#[must_use]
pub fn is_stale(pod: &Value, started: &BTreeMap<String, Timestamp>) -> bool {
    let node = pod.pointer("/spec/nodeName").and_then(Value::as_str);
    let Some(started) = node.and_then(|node| started.get(node)) else {
        return false;
    };
    let is_going = !pod["metadata"]["deletionTimestamp"].is_null();
    if is_going || matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
        return false;
    }
    // Kubernetes writes whole seconds.
    let started = *started - SignedDuration::from_secs(1);
    let statuses = pod["status"]["containerStatuses"].as_array();
    statuses.into_iter().flatten().any(|status| {
        let since = status.pointer("/state/running/startedAt").and_then(Value::as_str);
        let since = since.and_then(|text| text.parse::<Timestamp>().ok());
        since.is_some_and(|since| since < started)
    })
}

fn has_taint(node: &Value, key: &str) -> bool {
    let taints = node.pointer("/spec/taints").and_then(Value::as_array);
    taints.into_iter().flatten().any(|taint| taint["key"] == key)
}

fn condition(object: &Value, name: &str) -> Readiness {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let found = conditions.into_iter().flatten().find(|c| c["type"] == name);
    match found {
        Some(condition) if condition["status"] == "True" => Readiness::Ready,
        Some(condition) => Readiness::Waiting(condition["message"].as_str().unwrap_or("not ready").to_owned()),
        None => Readiness::Waiting(format!("the condition {name} is not set yet")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rollout_is_ready_when_the_new_pods_are_available() {
        let mut object = json!({"kind": "Deployment", "metadata": {"generation": 2}, "spec": {"replicas": 2},
            "status": {"observedGeneration": 1, "updatedReplicas": 2, "availableReplicas": 2}});
        assert!(
            matches!(of(&object), Readiness::Waiting(_)),
            "the status is of the old generation"
        );
        object["status"]["observedGeneration"] = json!(2);
        assert_eq!(of(&object), Readiness::Ready);
        object["status"]["updatedReplicas"] = json!(1);
        assert_eq!(of(&object), Readiness::Waiting("1 of 2 pods available".into()));
        // One new pod that does not come up, beside the old one that it was to replace.
        object["spec"]["replicas"] = json!(1);
        object["status"] =
            json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 1});
        assert!(matches!(of(&object), Readiness::Waiting(_)));
    }

    #[test]
    fn a_daemon_set_that_no_node_may_run_is_not_ready() {
        let object = json!({"kind": "DaemonSet", "metadata": {"generation": 1}, "status": {"observedGeneration": 1}});
        assert_eq!(of(&object), Readiness::Waiting("no node may run it".into()));
    }

    #[test]
    fn a_node_that_pods_are_kept_away_from_is_not_ready() {
        let mut object = json!({"kind": "Node", "spec": {"taints": [{"key": NOT_READY, "effect": "NoExecute"}]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        assert!(matches!(of(&object), Readiness::Waiting(_)));
        object["spec"]["taints"] = json!([{"key": "node-role.kubernetes.io/control-plane"}]);
        assert_eq!(of(&object), Readiness::Ready);
    }

    #[test]
    fn what_a_pod_said_before_its_node_was_started_does_not_count() {
        let started = BTreeMap::from([("one".to_owned(), "2026-01-02T03:04:05.6Z".parse().expect("a time"))]);
        let mut pod = json!({"spec": {"nodeName": "one"}, "status": {"phase": "Running", "containerStatuses": [
            {"state": {"running": {"startedAt": "2026-01-02T03:00:00Z"}}}]}});
        assert!(is_stale(&pod, &started));
        pod["metadata"] = json!({"deletionTimestamp": "2026-01-02T03:05:00Z"});
        assert!(!is_stale(&pod, &started), "it goes");
        pod["metadata"] = json!({});
        pod["spec"]["nodeName"] = json!("other");
        assert!(!is_stale(&pod, &started), "its node was not started");
        pod["spec"]["nodeName"] = json!("one");
        pod["status"]["containerStatuses"][0]["state"] = json!({"running": {"startedAt": "2026-01-02T03:04:05Z"}});
        assert!(!is_stale(&pod, &started), "started within the same second");
        pod["status"]["containerStatuses"][0]["state"] = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        assert!(!is_stale(&pod, &started), "its kubelet knows that it does not run");
    }

    #[test]
    fn a_node_is_ready_by_its_condition() {
        let object = json!({"kind": "Node", "status": {"conditions": [{"type": "Ready", "status": "False", "message": "no CNI"}]}});
        assert_eq!(of(&object), Readiness::Waiting("no CNI".into()));
    }
}
