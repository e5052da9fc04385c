//! Waiting for objects by watching them: nothing here polls.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::TryStreamExt;
use jiff::Timestamp;
use kube::runtime::watcher::{self, Event, watch_object, watcher};
use serde_json::Value;

use super::KubeApi;
use crate::error::ClusterError;
use crate::manifest::ObjectKey;
use crate::readiness::{self, Readiness};

impl KubeApi {
    /// Resolves when an object is ready ([`readiness::of`]); `told` hears what it waits for whenever that changes.
    /// Fails after `limit` with the evidence: pods, events and log lines.
    pub async fn wait_ready(
        &self,
        key: &ObjectKey,
        limit: Duration,
        mut told: impl FnMut(&str),
    ) -> Result<(), ClusterError> {
        let mut reason = "it is not there yet".to_owned();
        let watched = async {
            let mut stream = std::pin::pin!(watch_object(self.api_of(key), &key.name));
            loop {
                match stream.try_next().await {
                    Ok(Some(Some(object))) => {
                        let mut object = serde_json::to_value(object).unwrap_or(Value::Null);
                        object["kind"] = key.kind.clone().into();
                        match readiness::of(&object) {
                            Readiness::Ready => return,
                            Readiness::Waiting(why) if why != reason => {
                                told(&why);
                                reason = why;
                            }
                            Readiness::Waiting(_) => {}
                        }
                    }
                    Ok(_) => {}
                    // The watcher starts again by itself; the API may just be restarting.
                    Err(error) => {
                        reason = error.to_string();
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                }
            }
        };
        if tokio::time::timeout(limit, watched).await.is_ok() {
            return Ok(());
        }
        Err(ClusterError::NotReady {
            what: key.to_string(),
            seconds: limit.as_secs(),
            reason,
            evidence: self.evidence(key).await,
        })
    }

    /// Resolves when no pod's status is from before its node was started ([`readiness::is_stale`]) and each pod of `ours` on
    /// such a node is ready, or after `limit`: what is not ready then is for [`Self::wait_ready`] to say.
    ///
    /// `started`: when each node's container was started, by name. `ours`: namespace and name (`app.kubernetes.io/name`).
    pub async fn wait_told(
        &self,
        started: &BTreeMap<String, Timestamp>,
        ours: &BTreeSet<(String, String)>,
        limit: Duration,
        mut told: impl FnMut(&str),
    ) {
        let watched = async {
            let mut stream = std::pin::pin!(watcher(self.api("v1", "Pod", None), watcher::Config::default()));
            let mut waiting = BTreeSet::new();
            let mut is_whole = false;
            loop {
                let pod = match stream.try_next().await {
                    Ok(Some(Event::Apply(pod) | Event::InitApply(pod))) => Some((pod, false)),
                    Ok(Some(Event::Delete(pod))) => Some((pod, true)),
                    Ok(Some(Event::Init)) => {
                        waiting.clear();
                        is_whole = false;
                        None
                    }
                    Ok(Some(Event::InitDone)) => {
                        is_whole = true;
                        None
                    }
                    Ok(None) => return,
                    Err(_) => {
                        tokio::time::sleep(Duration::from_millis(200)).await;
                        None
                    }
                };
                if let Some((pod, is_gone)) = pod {
                    let pod = serde_json::to_value(pod).unwrap_or(Value::Null);
                    let text = |pointer| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
                    let name = format!("{}/{}", text("/metadata/namespace"), text("/metadata/name"));
                    if !is_gone && is_waited_for(&pod, started, ours) {
                        waiting.insert(name);
                    } else {
                        waiting.remove(&name);
                    }
                }
                match waiting.first() {
                    None if is_whole => return,
                    Some(first) if is_whole => told(&format!("pod {first} starts again")),
                    _ => {}
                }
            }
        };
        // Past the limit there is a better place to say what is wrong.
        let _ = tokio::time::timeout(limit, watched).await;
    }
}

/// Whether a pod's status is too old to count, or it is one of ours that was started with its node and is not ready yet.
fn is_waited_for(pod: &Value, started: &BTreeMap<String, Timestamp>, ours: &BTreeSet<(String, String)>) -> bool {
    if readiness::is_stale(pod, started) {
        return true;
    }
    let text = |pointer| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let owner = (
        text("/metadata/namespace").to_owned(),
        text("/metadata/labels/app.kubernetes.io~1name").to_owned(),
    );
    let is_going = !pod["metadata"]["deletionTimestamp"].is_null();
    let is_done = matches!(text("/status/phase"), "Succeeded" | "Failed");
    if is_going || is_done || !started.contains_key(text("/spec/nodeName")) || !ours.contains(&owner) {
        return false;
    }
    let mut pod = pod.clone();
    pod["kind"] = "Pod".into();
    readiness::of(&pod) != Readiness::Ready
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_pods_of_ours_on_a_node_that_was_started_are_waited_for() {
        let started = BTreeMap::from([("one".to_owned(), "2026-01-02T03:04:05Z".parse().expect("a time"))]);
        let ours = BTreeSet::from([("apps".to_owned(), "web".to_owned())]);
        let mut pod = json!({
            "metadata": {"namespace": "apps", "labels": {"app.kubernetes.io/name": "web"}},
            "spec": {"nodeName": "one"},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]},
        });
        assert!(is_waited_for(&pod, &started, &ours));
        pod["status"]["conditions"][0]["status"] = json!("True");
        assert!(!is_waited_for(&pod, &started, &ours));
        pod["status"]["conditions"][0]["status"] = json!("False");
        pod["metadata"]["namespace"] = json!("theirs");
        assert!(!is_waited_for(&pod, &started, &ours));
        pod["metadata"]["namespace"] = json!("apps");
        assert!(!is_waited_for(&pod, &BTreeMap::new(), &ours));
    }
}
