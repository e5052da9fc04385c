//! Labels and taints of nodes that are there already.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node;
use serde_json::Value;

use super::api::KubeApi;
use crate::error::ClusterError;
use crate::manifest::ObjectKey;
use crate::scheduling::{MarkChange, NodeMarks, ObservedMarks, changes, patch};

impl KubeApi {
    /// Gives nodes, by name, the labels and taints that are wanted, and tells what was changed. A node that the API does not
    /// know yet is passed over: it joins with its marks.
    pub async fn mark_nodes(
        &self,
        wanted: &BTreeMap<String, NodeMarks>,
    ) -> Result<Vec<(String, MarkChange)>, ClusterError> {
        let mut done = Vec::new();
        for value in self.list("v1", "Node", None, "").await? {
            let name = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            if let Some(marks) = wanted.get(&name) {
                let changes = self.mark(&name, value, marks).await?;
                done.extend(changes.into_iter().map(|change| (name.clone(), change)));
            }
        }
        Ok(done)
    }

    /// What [`Self::mark_nodes`] would change, and the nodes onto which no pod may come yet ([`super::Cluster::open`]).
    pub async fn marks_ahead(
        &self,
        wanted: &BTreeMap<String, NodeMarks>,
    ) -> Result<(Vec<(String, MarkChange)>, Vec<String>), ClusterError> {
        let (mut differences, mut closed) = (Vec::new(), Vec::new());
        for value in self.list("v1", "Node", None, "").await? {
            let name = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            if super::opening::is_closed(&value) {
                closed.push(name.clone());
            }
            let Ok(typed) = serde_json::from_value::<Node>(value) else {
                continue;
            };
            if let Some(marks) = wanted.get(&name) {
                let found = changes(&ObservedMarks::of(&typed), marks);
                differences.extend(found.into_iter().map(|change| (name.clone(), change)));
            }
        }
        Ok((differences, closed))
    }

    async fn mark(&self, name: &str, mut node: Value, marks: &NodeMarks) -> Result<Vec<MarkChange>, ClusterError> {
        let key = ObjectKey {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            namespace: None,
            name: name.to_owned(),
        };
        let mut attempts = 0;
        loop {
            let Ok(typed) = serde_json::from_value::<Node>(node) else {
                return Ok(Vec::new());
            };
            let observed = ObservedMarks::of(&typed);
            let Some(patch) = patch(&observed, marks, typed.metadata.resource_version.as_deref()) else {
                return Ok(Vec::new());
            };
            attempts += 1;
            match self.merge(&key, &patch).await {
                Ok(()) => return Ok(changes(&observed, marks)),
                // Most likely a controller has changed the taints in between.
                Err(error) if attempts == 5 => return Err(error),
                Err(_) => node = self.get(&key).await?.unwrap_or_default(),
            }
        }
    }
}
