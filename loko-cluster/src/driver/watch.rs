//! Waiting for objects by watching them: nothing here polls.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use kube::api::DynamicObject;
use kube::runtime::watcher::{self, Event, watch_object, watcher};
use serde_json::Value;
use tokio::sync::watch;

use super::KubeApi;
use crate::error::ClusterError;
use crate::manifest::ObjectKey;
use crate::readiness::{self, Failure, Readiness};

impl KubeApi {
    /// Resolves when an object is ready ([`readiness::of`]); `told` hears what it waits for whenever that changes.
    /// Fails after `limit`, or as soon as its pods will not come up ([`readiness::failure`]), with the evidence: pods, events and
    /// log lines.
    pub async fn wait_ready(
        &self,
        key: &ObjectKey,
        limit: Duration,
        told: impl FnMut(&str),
    ) -> Result<(), ClusterError> {
        self.wait_among(key, limit, &Hopeful::new(1), told).await
    }

    /// The same for several, all at once; `told` hears of which. A program that ends over and over fails all only once every
    /// other is ready or fails as well: it may need one of them.
    pub async fn wait_all_ready(
        &self,
        keys: &[ObjectKey],
        limit: Duration,
        told: impl Fn(&ObjectKey, &str) + Sync,
    ) -> Result<(), (ObjectKey, ClusterError)> {
        let hopeful = Hopeful::new(keys.len());
        let all = keys.iter().map(|key| async {
            let waited = self.wait_among(key, limit, &hopeful, |why: &str| told(key, why)).await;
            waited.map_err(|error| (key.clone(), error))
        });
        try_join_all(all).await.map(drop)
    }

    async fn wait_among(
        &self,
        key: &ObjectKey,
        limit: Duration,
        hopeful: &Hopeful,
        told: impl FnMut(&str),
    ) -> Result<(), ClusterError> {
        let started = Instant::now();
        let mut reason = "it is not there yet".to_owned();
        let mut image = None;
        match tokio::time::timeout(limit, self.watched(key, hopeful, &mut reason, told)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(failure)) => (reason, image) = failure,
            Err(_) => {}
        }
        Err(ClusterError::NotReady {
            what: key.to_string(),
            seconds: started.elapsed().as_secs(),
            reason,
            image,
            evidence: self.evidence(key).await,
        })
    }

    /// Ends when the object is ready, or with the reason why its pods will not come up, and the image that it is about. `reason`:
    /// what it waits for.
    async fn watched(
        &self,
        key: &ObjectKey,
        hopeful: &Hopeful,
        reason: &mut String,
        mut told: impl FnMut(&str),
    ) -> Result<(), (String, Option<String>)> {
        let mut share = hopeful.join();
        let mut objects = std::pin::pin!(watch_object(self.api_of(key), &key.name));
        // Pods are watched only of what is not ready at once.
        let mut pods = None;
        let mut known = Known::default();
        let mut failing: Option<(Failure, Instant)> = None;
        loop {
            let end = failing.as_ref().map(|(failure, since)| *since + failure.patience);
            let end = end.filter(|_| share.counts(failing.as_ref().is_some_and(|(failure, _)| failure.is_crash)));
            tokio::select! {
                event = objects.try_next() => match event {
                    Ok(Some(Some(object))) => {
                        let mut object = serde_json::to_value(object).unwrap_or(Value::Null);
                        object["kind"] = key.kind.clone().into();
                        match readiness::of(&object) {
                            Readiness::Ready => return Ok(()),
                            Readiness::Waiting(why) if why != *reason => {
                                told(&why);
                                *reason = why;
                            }
                            Readiness::Waiting(_) => {}
                        }
                        if pods.is_none() && let Some(selector) = selector(&object) {
                            let config = watcher::Config::default().labels(&selector);
                            let stream = watcher(self.api("v1", "Pod", key.namespace.as_deref()), config);
                            pods = Some(Box::pin(stream));
                        }
                    }
                    Ok(_) => {}
                    // The watcher starts again by itself; the API may just be restarting.
                    Err(error) => {
                        *reason = error.to_string();
                        tokio::time::sleep(AGAIN).await;
                    }
                },
                event = next_of(&mut pods) => match event {
                    Ok(Some(event)) => known.note(event),
                    Ok(None) => pods = None,
                    Err(_) => tokio::time::sleep(AGAIN).await,
                },
                () = share.changed() => {}
                () = until(end) => {
                    return Err(failing.map(|(failure, _)| (failure.reason, failure.image)).unwrap_or_default());
                }
            }
            failing = match (readiness::of_newest(known.pods.values()), failing) {
                (Some(now), Some((before, since))) if now.is_crash == before.is_crash => Some((now, since)),
                (Some(now), _) => {
                    let seconds = now.patience.as_secs();
                    told(&format!("{}; given up in {seconds} s unless that changes", now.reason));
                    Some((now, Instant::now()))
                }
                (None, _) => None,
            };
            share.set(failing.is_none());
        }
    }

    /// Resolves when no pod's status is from before its node was started ([`readiness::is_stale`]) and each pod of `ours` that
    /// was there before is ready, or after `limit`: what is not ready then is for [`Self::wait_ready`] to say, as is every pod that
    /// was made since, and one whose image cannot be had.
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

/// Pause before a watch that failed is looked at again.
const AGAIN: Duration = Duration::from_millis(200);

/// How many of those that are waited for together may still come up by waiting.
struct Hopeful(watch::Sender<usize>);

/// One of them.
struct Share<'a> {
    all: &'a Hopeful,
    seen: watch::Receiver<usize>,
    counted: bool,
}

impl Hopeful {
    fn new(count: usize) -> Self {
        Self(watch::Sender::new(count))
    }

    fn join(&self) -> Share<'_> {
        Share {
            all: self,
            seen: self.0.subscribe(),
            counted: true,
        }
    }
}

impl Share<'_> {
    fn set(&mut self, counted: bool) {
        if counted != self.counted {
            self.counted = counted;
            let change = |count: &mut usize| *count = if counted { *count + 1 } else { count.saturating_sub(1) };
            self.all.0.send_modify(change);
        }
    }

    /// Whether a failure counts now: a crash does only when nobody else is on the way up.
    fn counts(&self, is_crash: bool) -> bool {
        !is_crash || *self.seen.borrow() == 0
    }

    async fn changed(&mut self) {
        // Its sender lives as long as this does.
        let _ = self.seen.changed().await;
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.set(false);
    }
}

type Pods = Option<std::pin::Pin<Box<dyn futures_util::Stream<Item = watcher::Result<Event<DynamicObject>>> + Send>>>;

/// The next event of a stream that may not be there yet.
async fn next_of(pods: &mut Pods) -> watcher::Result<Option<Event<DynamicObject>>> {
    match pods {
        Some(stream) => stream.try_next().await,
        None => std::future::pending().await,
    }
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end.into()).await,
        None => std::future::pending().await,
    }
}

/// What pods say of themselves, by name.
#[derive(Default)]
struct Known {
    pods: BTreeMap<String, Value>,
    /// Those of a list that is being read anew, as a watch does after each break. Until it is whole the others count: pods that
    /// fail have not stopped to do so.
    listed: BTreeMap<String, Value>,
}

impl Known {
    fn note(&mut self, event: Event<DynamicObject>) {
        let name = |pod: &DynamicObject| pod.metadata.name.clone().unwrap_or_default();
        let value = |pod| serde_json::to_value(pod).unwrap_or(Value::Null);
        match event {
            Event::Apply(pod) => {
                self.pods.insert(name(&pod), value(pod));
            }
            Event::Delete(pod) => {
                self.pods.remove(&name(&pod));
            }
            Event::Init => self.listed.clear(),
            Event::InitApply(pod) => {
                self.listed.insert(name(&pod), value(pod));
            }
            Event::InitDone => self.pods = std::mem::take(&mut self.listed),
        }
    }
}

/// The pods of a deployment, a set or a job, as a label selector.
fn selector(object: &Value) -> Option<String> {
    let labels = object.pointer("/spec/selector/matchLabels")?.as_object()?;
    let pairs = labels
        .iter()
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()));
    Some(pairs.collect::<Vec<_>>().join(","))
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
    let made: Option<Timestamp> = text("/metadata/creationTimestamp").parse().ok();
    let was_there = started
        .get(text("/spec/nodeName"))
        .is_some_and(|started| made.is_none_or(|made| made < *started));
    let lacks_image = readiness::failure(pod).is_some_and(|failure| failure.image.is_some());
    if is_going || is_done || !was_there || lacks_image || !ours.contains(&owner) {
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
    fn pods_are_known_until_a_list_that_is_read_anew_is_whole() {
        let pod = |name: &str| DynamicObject {
            types: None,
            metadata: kube::core::ObjectMeta {
                name: Some(name.to_owned()),
                ..kube::core::ObjectMeta::default()
            },
            data: json!({}),
        };
        let mut known = Known::default();
        let names = |known: &Known| known.pods.keys().cloned().collect::<Vec<_>>();
        known.note(Event::Apply(pod("a")));
        known.note(Event::Apply(pod("b")));
        known.note(Event::Delete(pod("b")));
        known.note(Event::Init);
        known.note(Event::InitApply(pod("c")));
        assert_eq!(names(&known), ["a"]);
        known.note(Event::InitDone);
        assert_eq!(names(&known), ["c"]);
    }

    #[test]
    fn only_pods_of_ours_on_a_node_that_was_started_are_waited_for() {
        let started = BTreeMap::from([("one".to_owned(), "2026-01-02T03:04:05Z".parse().expect("a time"))]);
        let ours = BTreeSet::from([("apps".to_owned(), "web".to_owned())]);
        let mut pod = json!({
            "metadata": {"namespace": "apps", "labels": {"app.kubernetes.io/name": "web"},
                "creationTimestamp": "2026-01-02T03:00:00Z"},
            "spec": {"nodeName": "one"},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]},
        });
        assert!(is_waited_for(&pod, &started, &ours));
        pod["metadata"]["creationTimestamp"] = json!("2026-01-02T03:05:00Z");
        assert!(!is_waited_for(&pod, &started, &ours), "it was made since");
        pod["metadata"]["creationTimestamp"] = json!("2026-01-02T03:00:00Z");
        pod["status"]["containerStatuses"] = json!([{"image": "a", "state": {"waiting": {"reason": "ErrImagePull"}}}]);
        assert!(!is_waited_for(&pod, &started, &ours), "its image cannot be had");
        pod["status"]["containerStatuses"] = json!([]);
        pod["status"]["conditions"][0]["status"] = json!("True");
        assert!(!is_waited_for(&pod, &started, &ours));
        pod["status"]["conditions"][0]["status"] = json!("False");
        pod["metadata"]["namespace"] = json!("theirs");
        assert!(!is_waited_for(&pod, &started, &ours));
        pod["metadata"]["namespace"] = json!("apps");
        assert!(!is_waited_for(&pod, &BTreeMap::new(), &ours));
    }
}
