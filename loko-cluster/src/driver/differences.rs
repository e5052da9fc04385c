//! How objects would change, asked of the API server without writing anything.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};
use kube::api::{Patch, PatchParams};
use serde_json::Value;

use super::KubeApi;
use crate::difference::Difference;
use crate::manifest::{FIELD_MANAGER, Manifest, ObjectKey};
use crate::plan::ObjectChange;
use crate::replace;

/// How many objects are asked about at once.
const CONCURRENT: usize = 8;

impl KubeApi {
    /// How each object that `changes` updates would change. One whose change cannot be foreseen is left out: what it needs may not
    /// be there yet.
    pub async fn differences<'a>(
        &self,
        changes: impl IntoIterator<Item = &'a ObjectChange>,
    ) -> BTreeMap<ObjectKey, Difference> {
        let updates = changes.into_iter().filter_map(|change| match change {
            ObjectChange::Update(manifest) => Some(manifest.clone()),
            ObjectChange::Create(_) | ObjectChange::Delete(_) => None,
        });
        let asked = updates.map(|manifest| async move { Some((manifest.key(), self.difference(&manifest).await?)) });
        let asked: Vec<_> = asked.collect();
        let answers = stream::iter(asked).buffer_unordered(CONCURRENT);
        answers.filter_map(|answer| async { answer }).collect().await
    }

    async fn difference(&self, manifest: &Manifest) -> Option<Difference> {
        let key = manifest.key();
        let there = self.get(&key).await.ok()??;
        let refusal = match self.foresee(&key, manifest.value()).await {
            Ok(then) => return Some(Difference::between(&there, &then)),
            Err(kube::Error::Api(status)) => status,
            Err(_) => return None,
        };
        let dependents = replace::replacement(&key.kind, refusal.code, &refusal.message)?;
        let mut rest = manifest.value().clone();
        if key.kind == "StatefulSet" {
            rest["spec"]["volumeClaimTemplates"] = there["spec"]["volumeClaimTemplates"].clone();
        }
        // Where that is refused as well, nothing is known but that all of it is made anew.
        let unknown = Difference {
            renews_pods: true,
            ..Difference::default()
        };
        let rest = self.foresee(&key, &rest).await;
        let rest = rest.map_or(unknown, |then| Difference::between(&there, &then));
        Some(Difference::replacing(rest, &there, manifest.value(), dependents))
    }

    /// What an apply would make of an object.
    async fn foresee(&self, key: &ObjectKey, value: &Value) -> Result<Value, kube::Error> {
        let params = PatchParams {
            dry_run: true,
            ..PatchParams::apply(FIELD_MANAGER).force()
        };
        let (api, patch) = (self.api_of(key), Patch::Apply(value));
        let then = self.patiently(|| api.patch(&key.name, &params, &patch)).await?;
        serde_json::to_value(then).map_err(kube::Error::SerdeError)
    }
}
