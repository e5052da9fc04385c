//! What the cluster's Traefiks say of their routes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::KubeApi;
use crate::components::NAMESPACE;
use crate::components::traefik::{self, METRICS_PORT, routes};
use crate::error::ClusterError;

impl KubeApi {
    /// The first Traefik that is ready and has no route for some of `hosts`, in words; `None` where each has one for all.
    pub async fn traefiks_without(&self, hosts: &BTreeSet<&str>) -> Result<Option<String>, ClusterError> {
        let selector = format!("app.kubernetes.io/name={}", traefik::NAME);
        let path = format!("{}?{}", routes::ROUTERS_PATH, routes::ALL);
        for pod in self.list("v1", "Pod", Some(NAMESPACE), &selector).await? {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            if !is_serving(&pod) {
                continue;
            }
            let answer = self.text_of_pod(NAMESPACE, name, METRICS_PORT, &path).await?;
            let unknown = routes::unknown(&answer, hosts).map_err(|error| ClusterError::Api {
                action: format!("read the routes of {name}"),
                message: error.to_string(),
            })?;
            if let Some(host) = unknown.first() {
                let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
                return Ok(Some(format!("Traefik on {node} has no route for {host} yet")));
            }
        }
        Ok(None)
    }
}

/// Whether a pod is sent connections.
fn is_serving(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    pod["metadata"]["deletionTimestamp"].is_null()
        && conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}
