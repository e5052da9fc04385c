//! Which pods leave a node before it goes, by the rules of `kubectl drain --ignore-daemonsets --delete-emptydir-data --force`.

use k8s_openapi::api::core::v1::Pod;

/// The annotation of pods that the kubelet runs from a file; the API only mirrors them.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Name of a pod to evict.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// The pods of `node` that have to be evicted, sorted. The others are over already, or belong to the node: those of
/// daemon sets, which come back at once, and mirrors of the kubelet's files.
#[must_use]
pub fn evictions(node: &str, pods: &[Pod]) -> Vec<PodName> {
    let mut list: Vec<PodName> = pods
        .iter()
        .filter(|pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node))
        .filter(|pod| !is_over(pod) && !belongs_to_node(pod))
        .filter_map(|pod| {
            Some(PodName {
                namespace: pod.metadata.namespace.clone()?,
                name: pod.metadata.name.clone()?,
            })
        })
        .collect();
    list.sort_unstable();
    list
}

/// Whether it runs no more; one that is being deleted is on its way already, but counted until it is gone.
fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn belongs_to_node(pod: &Pod) -> bool {
    let annotations = pod.metadata.annotations.as_ref();
    let mirror = annotations.is_some_and(|annotations| annotations.contains_key(MIRROR));
    let mut owners = pod.metadata.owner_references.iter().flatten();
    mirror || owners.any(|owner| owner.controller == Some(true) && owner.kind == "DaemonSet")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, node: &str, more: &serde_json::Value) -> Pod {
        let mut value = serde_json::json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "x"},
            "spec": {"nodeName": node, "containers": []},
        });
        for (pointer, field) in more.as_object().unwrap() {
            let (parent, key) = pointer.split_once('/').unwrap();
            value[parent][key] = field.clone();
        }
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_belongs_to_the_node_stays_and_what_is_over_is_left_alone() {
        let owner = |kind: &str| {
            serde_json::json!({"metadata/ownerReferences": [
                {"apiVersion": "apps/v1", "kind": kind, "name": "o", "uid": "u", "controller": true}
            ]})
        };
        let pods = [
            pod("web", "worker", &owner("ReplicaSet")),
            pod("alone", "worker", &serde_json::json!({})),
            pod("traefik", "worker", &owner("DaemonSet")),
            pod(
                "etcd",
                "worker",
                &serde_json::json!({"metadata/annotations": {MIRROR: "x"}}),
            ),
            pod("job", "worker", &serde_json::json!({"status/phase": "Succeeded"})),
            pod("elsewhere", "worker2", &serde_json::json!({})),
        ];
        let names: Vec<String> = evictions("worker", &pods).into_iter().map(|pod| pod.name).collect();
        assert_eq!(names, ["alone", "web"]);
    }
}
