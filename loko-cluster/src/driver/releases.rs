//! What Helm left in the cluster: its releases, and the objects of each.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use serde_json::Value;

use super::KubeApi;
use crate::charts::{self, RELEASE_NAME, Release};
use crate::error::ClusterError;
use crate::manifest::ObjectKey;
use crate::readiness;

/// What every object of a release carries beside [`RELEASE_NAME`].
const RELEASE_NAMESPACE: &str = "meta.helm.sh/release-namespace";

impl KubeApi {
    /// The newest revision of every release of the cluster.
    pub async fn releases(&self) -> Result<Vec<Release>, ClusterError> {
        let secrets = self.list_metadata("v1", "Secret", None, "owner=helm").await?;
        Ok(charts::releases(&secrets))
    }

    /// The objects that take time to become ready, of every release: namespace and name of the release → objects.
    pub async fn release_objects(&self) -> Result<BTreeMap<(String, String), Vec<ObjectKey>>, ClusterError> {
        let kinds = readiness::WATCHED.map(|kind| {
            let version = if kind == "Job" { "batch/v1" } else { "apps/v1" };
            async move {
                let list = self.list_metadata(version, kind, None, MANAGED).await?;
                Ok::<_, ClusterError>(list.into_iter().map(move |object| (version, kind, object)))
            }
        });
        let mut found: BTreeMap<(String, String), Vec<ObjectKey>> = BTreeMap::new();
        for (version, kind, object) in try_join_all(kinds).await?.into_iter().flatten() {
            let Some(release) = release_of(&object) else { continue };
            let text = |field: &str| object["metadata"][field].as_str().map(str::to_owned);
            found.entry(release).or_default().push(ObjectKey {
                api_version: version.to_owned(),
                kind: kind.to_owned(),
                namespace: text("namespace"),
                name: text("name").unwrap_or_default(),
            });
        }
        Ok(found)
    }

    /// The services of a release with their ports, in the release's own namespace.
    pub async fn release_services(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<BTreeMap<String, Vec<u64>>, ClusterError> {
        let list = self.list("v1", "Service", Some(namespace), MANAGED).await?;
        let of_release = |service: &&Value| release_of(service).is_some_and(|(_, release)| release == name);
        Ok(list
            .iter()
            .filter(of_release)
            .map(|service| {
                let ports = service["spec"]["ports"].as_array().into_iter().flatten();
                (
                    service["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
                    ports.filter_map(|port| port["port"].as_u64()).collect(),
                )
            })
            .collect())
    }
}

/// The label that Helm sets on every object of a release, beside the annotations.
const MANAGED: &str = "app.kubernetes.io/managed-by=Helm";

fn release_of(object: &Value) -> Option<(String, String)> {
    let annotations = &object["metadata"]["annotations"];
    let text = |name: &str| Some(annotations.get(name)?.as_str()?.to_owned());
    Some((text(RELEASE_NAMESPACE)?, text(RELEASE_NAME)?))
}
