//! Server-side apply, and what is done where it is refused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde_json::json;

use super::api::{KubeApi, failed};
use super::patience::{BUSY_PAUSE, is_busy};
use crate::allocation::{self, Taken, Verdict};
use crate::error::ClusterError;
use crate::manifest::{FIELD_MANAGER, Manifest, ObjectKey};
use crate::ownership;
use crate::replace;

/// How often something that may pass is asked again, and how long it is waited in between.
const ATTEMPTS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);
/// The same where it takes minutes.
const LONG_PAUSE: Duration = Duration::from_secs(2);

/// Where sentences for whoever waits go.
pub(super) type Told = Arc<dyn Fn(&str) + Send + Sync>;

impl KubeApi {
    /// The same, which says by `told` what takes long, and why.
    #[must_use]
    pub fn telling(mut self, told: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.told = Some(Arc::new(told));
        self
    }

    /// Server-side apply with our field manager; fields that others set are taken over, since loko.yaml is the source.
    /// An object whose change is refused because a field cannot change is replaced ([`replace`]).
    /// A kind or namespace that was defined a moment ago may not be known yet, a server may be busy or start again: such an answer
    /// is asked again. A node port that a request left reserved which was cut off is waited for ([`allocation`]).
    pub async fn apply(&self, manifest: &Manifest) -> Result<(), ClusterError> {
        let key = manifest.key();
        let mut attempts = 0;
        let since = Instant::now();
        let mut reserved = Reserved::default();
        loop {
            let Err(error) = self.answered(Box::pin(self.apply_once(&key, manifest))).await else {
                return Ok(());
            };
            if let kube::Error::Api(status) = &error
                && let Some(taken) = allocation::taken(status.code, &status.message)
            {
                self.wait_until_free(&mut reserved, &key, &taken).await?;
                continue;
            }
            if is_busy(&error) && since.elapsed() < self.patience {
                tracing::debug!(%key, %error, "asked again");
                tokio::time::sleep(BUSY_PAUSE).await;
                continue;
            }
            attempts += 1;
            if attempts <= ATTEMPTS
                && let kube::Error::Api(status) = &error
                && let Some(dependents) = replace::replacement(&key.kind, status.code, &status.message)
            {
                tracing::debug!(%key, %error, "replaced");
                self.remove(&key, dependents).await?;
            } else if attempts > ATTEMPTS || since.elapsed() >= self.patience || !is_passing(&error) {
                return Err(failed(format!("apply {key}"))(error));
            }
            tracing::debug!(%key, %error, "asked again");
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn apply_once(&self, key: &ObjectKey, manifest: &Manifest) -> Result<(), kube::Error> {
        let api = self.api_of(key);
        if key.kind == "Service" && self.create_service(key, manifest).await? {
            return Ok(());
        }
        let params = PatchParams::apply(FIELD_MANAGER).force();
        api.patch(&key.name, &params, &Patch::Apply(manifest.value())).await?;
        Ok(())
    }

    /// Creates a Service where it is not there yet; gives whether it did.
    ///
    /// An apply that creates would do, but the API server allocates node ports before it stores the object, and gives them back only
    /// where a create fails: an apply that is cut off in between leaves them reserved for minutes. Afterwards we own the fields as
    /// if we had applied them, also those of a Service whose create was cut off from this step.
    async fn create_service(&self, key: &ObjectKey, manifest: &Manifest) -> Result<bool, kube::Error> {
        let api = self.api_of(key);
        let (meta, is_new) = if let Some(there) = api.get_metadata_opt(&key.name).await? {
            (there.metadata, false)
        } else {
            let object: DynamicObject =
                serde_json::from_value(manifest.value().clone()).map_err(kube::Error::SerdeError)?;
            let params = PostParams {
                field_manager: Some(FIELD_MANAGER.to_owned()),
                ..PostParams::default()
            };
            (api.create(&params, &object).await?.metadata, true)
        };
        if let Some(owners) = ownership::as_applied(meta.managed_fields.as_deref().unwrap_or_default()) {
            let patch = json!({"metadata": {"managedFields": owners, "resourceVersion": meta.resource_version}});
            api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch))
                .await?;
        }
        Ok(is_new)
    }

    /// Waits a while for what a Service was refused; fails where that is of no use.
    async fn wait_until_free(
        &self,
        reserved: &mut Reserved,
        service: &ObjectKey,
        taken: &Taken,
    ) -> Result<(), ClusterError> {
        let services = self.list("v1", "Service", None, "").await?;
        let (key, what) = (service.to_string(), taken.to_string());
        match allocation::decide(taken, service, &services, reserved.since.elapsed()) {
            Verdict::Again => tokio::time::sleep(PAUSE).await,
            Verdict::Wait { left } => {
                if reserved.is_time_to_tell() {
                    let text = allocation::waiting(taken, service, left);
                    tracing::debug!("{text}");
                    if let Some(told) = &self.told {
                        told(&text);
                    }
                }
                tokio::time::sleep(LONG_PAUSE).await;
            }
            Verdict::Held { by } => {
                return Err(ClusterError::Held {
                    service: key,
                    what,
                    by: Box::new(by),
                });
            }
            Verdict::Expired => {
                return Err(ClusterError::Reserved {
                    service: key,
                    what,
                    minutes: allocation::LIMIT.as_secs() / 60,
                });
            }
        }
        Ok(())
    }
}

/// Since when something is waited for that nobody holds, and when that was last said.
struct Reserved {
    since: Instant,
    told: Option<Instant>,
}

impl Default for Reserved {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            told: None,
        }
    }
}

impl Reserved {
    /// At first, and every minute.
    fn is_time_to_tell(&mut self) -> bool {
        let is_time = self.told.is_none_or(|told| told.elapsed() > Duration::from_mins(1));
        if is_time {
            self.told = Some(Instant::now());
        }
        is_time
    }
}

/// Whether the same request may well succeed a moment later: a kind whose definition is not served yet, a namespace
/// that was made a moment ago, an API server that just started, a conflict.
fn is_passing(error: &kube::Error) -> bool {
    if let kube::Error::Api(status) = error {
        let fresh_rights =
            status.code == 403 && (status.message.contains("not yet") || status.message.contains("RBAC"));
        return fresh_rights || matches!(status.code, 404 | 409 | 500);
    }
    matches!(error, kube::Error::HyperError(_) | kube::Error::Service(_))
}
