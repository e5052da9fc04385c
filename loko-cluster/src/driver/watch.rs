//! Waiting for objects by watching them: nothing here polls.

use std::time::Duration;

use futures_util::TryStreamExt;
use kube::runtime::watcher::watch_object;
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
}
