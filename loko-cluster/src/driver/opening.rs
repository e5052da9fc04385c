//! When pods may come onto the first control plane: once the cluster's services answer there.
//!
//! The node is Ready as soon as its kubelet runs ([`crate::cni`]), which is before kube-proxy does. A pod that asks the API
//! at its cluster address meanwhile sends a packet that nobody answers, and most clients try for 30 s before they ask again.
//! So the node carries a taint from birth, which kube-proxy and the pod network tolerate, and loses it when the address
//! answers.

use std::time::Duration;

use loko_engine::driver::ExecSpec;
use serde_json::{Value, json};

use super::{Cluster, KubeApi};
use crate::addresses;
use crate::error::ClusterError;
use crate::manifest::ObjectKey;
use crate::scheduling::STARTING_TAINT;

/// Limit until the services answer.
const LIMIT: Duration = Duration::from_mins(3);

impl Cluster {
    /// Takes the taint off a node once the API answers there at its cluster address. Returns whether there was one.
    pub async fn open(&self, api: &KubeApi, node: &str) -> Result<bool, ClusterError> {
        let key = ObjectKey {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            namespace: None,
            name: node.to_owned(),
        };
        let there = api.get(&key).await?;
        if there.as_ref().is_some_and(|object| without_taint(object).is_none()) {
            return Ok(false);
        }
        let address = addresses::of(self.environment().cluster.service_subnet)?.api;
        // curl is in every node image: kind's own health checks use it. The answer must come from this cluster's API: on a
        // network with a portal any address answers.
        let script = format!(
            "until [ \"$(curl -s --cacert /etc/kubernetes/pki/ca.crt --connect-timeout 0.3 https://{address}/readyz)\" = ok ]; \
             do sleep 0.05; done"
        );
        let spec = ExecSpec::new(["sh", "-c", script.as_str()]).within(LIMIT);
        self.engine().exec_ok(node, &spec).await?;
        for _ in 0..50 {
            let object = api.get(&key).await?.unwrap_or_default();
            let Some(taints) = without_taint(&object) else {
                return Ok(true);
            };
            // With the version that was read: a taint that a controller sets in between is not lost.
            let patch = json!({
                "metadata": {"resourceVersion": object["metadata"]["resourceVersion"]},
                "spec": {"taints": taints},
            });
            if api.merge(&key, &patch).await.is_ok() {
                return Ok(true);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(ClusterError::Api {
            action: format!("let pods onto {node}"),
            message: "the node changes faster than it can be changed".to_owned(),
        })
    }
}

/// Whether no pod may come onto a node yet.
pub(super) fn is_closed(node: &Value) -> bool {
    without_taint(node).is_some()
}

/// The node's taints but ours; `None` where it does not have ours.
fn without_taint(node: &Value) -> Option<Vec<Value>> {
    let taints = node["spec"]["taints"].as_array()?;
    let others: Vec<Value> = taints
        .iter()
        .filter(|taint| taint["key"] != STARTING_TAINT)
        .cloned()
        .collect();
    (others.len() < taints.len()).then_some(others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_taint_goes() {
        let node = json!({"spec": {"taints": [{"key": STARTING_TAINT}, {"key": "theirs"}]}});
        assert_eq!(without_taint(&node), Some(vec![json!({"key": "theirs"})]));
        assert_eq!(without_taint(&json!({"spec": {"taints": [{"key": "theirs"}]}})), None);
        assert_eq!(without_taint(&json!({"spec": {}})), None);
    }
}
