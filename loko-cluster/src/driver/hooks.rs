//! What a chart's hooks do while Helm waits for them: Helm itself says nothing until its own limit is over.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt as _, TryStreamExt as _};
use kube::api::DynamicObject;
use kube::runtime::watcher::{self, Event, watcher};

use super::{Helm, KubeApi};
use crate::charts::HOOK;
use crate::error::ClusterError;
use crate::manifest::ObjectKey;

/// Longer than anybody lets Helm wait: it is Helm who gives a hook up that only takes long.
const NEVER: Duration = Duration::from_hours(24);
/// When a hook that still runs is shown with what its pods say.
const LONG: Duration = Duration::from_secs(30);
/// Pause before a watch that failed is looked at again.
const AGAIN: Duration = Duration::from_millis(200);

/// Who hears of hooks.
pub struct HookTold<'a> {
    /// What one waits for, whenever that changes.
    pub waits: &'a (dyn Fn(&ObjectKey, &str) + Sync),
    /// One that runs for half a minute, with its pods, events and last log lines.
    pub long: &'a (dyn Fn(&ObjectKey, &str) + Sync),
}

impl std::fmt::Debug for HookTold<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HookTold")
    }
}

impl KubeApi {
    /// Follows the jobs that are made from now on as hooks of a release. Ends only with one that will not come up
    /// ([`crate::readiness::failure`]): its name, and why.
    pub async fn failing_hook(
        &self,
        helm: &Helm,
        name: &str,
        namespace: &str,
        told: HookTold<'_>,
    ) -> (ObjectKey, ClusterError) {
        let mut jobs = std::pin::pin!(watcher(
            self.api("batch/v1", "Job", Some(namespace)),
            watcher::Config::default()
        ));
        let mut known = BTreeSet::new();
        let mut began = false;
        let mut waits = FuturesUnordered::new();
        loop {
            tokio::select! {
                event = jobs.try_next() => match event {
                    Ok(Some(Event::InitApply(job))) if !began => {
                        known.insert(job.metadata.uid);
                    }
                    Ok(Some(Event::Apply(job) | Event::InitApply(job))) => {
                        let key = key_of(namespace, &job);
                        if known.insert(job.metadata.uid.clone()) && is_hook(&job) {
                            let ours = match helm.hooks(name, namespace).await {
                                Ok(hooks) => hooks.contains(&key),
                                Err(_) => key.name.starts_with(name),
                            };
                            if ours {
                                waits.push(self.hook_ends(key, &told));
                            }
                        }
                    }
                    Ok(Some(Event::InitDone)) => began = true,
                    Ok(Some(Event::Init | Event::Delete(_))) => {}
                    Ok(None) | Err(_) => tokio::time::sleep(AGAIN).await,
                },
                Some((key, ended)) = waits.next(), if !waits.is_empty() => {
                    if let Err(error) = ended {
                        return (key, error);
                    }
                }
            }
        }
    }

    async fn hook_ends(&self, key: ObjectKey, told: &HookTold<'_>) -> (ObjectKey, Result<(), ClusterError>) {
        let ended = self.hook_is_ready(&key, told).await;
        (key, ended)
    }

    async fn hook_is_ready(&self, key: &ObjectKey, told: &HookTold<'_>) -> Result<(), ClusterError> {
        let mut ready = std::pin::pin!(self.wait_ready(key, NEVER, |why: &str| (told.waits)(key, why)));
        if let Ok(ended) = tokio::time::timeout(LONG, &mut ready).await {
            return ended;
        }
        (told.long)(key, &self.evidence(key).await);
        ready.await
    }
}

fn is_hook(job: &DynamicObject) -> bool {
    let annotations = job.metadata.annotations.as_ref();
    annotations.is_some_and(|annotations| annotations.contains_key(HOOK))
}

fn key_of(namespace: &str, job: &DynamicObject) -> ObjectKey {
    ObjectKey {
        api_version: "batch/v1".to_owned(),
        kind: "Job".to_owned(),
        namespace: Some(namespace.to_owned()),
        name: job.metadata.name.clone().unwrap_or_default(),
    }
}
