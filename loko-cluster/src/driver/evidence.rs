//! Why something did not come up, in the cluster's own words.

use std::fmt::Write as _;

use serde_json::Value;

use super::KubeApi;
use crate::manifest::ObjectKey;

/// Lines of log shown for each container that fails.
const LOG_LINES: i64 = 10;

impl KubeApi {
    /// States of an object's pods, the warnings about them, and the last lines of those that do not run. Never fails:
    /// what cannot be read is left out.
    pub async fn evidence(&self, key: &ObjectKey) -> String {
        let mut text = String::new();
        let Some(namespace) = key.namespace.as_deref() else {
            return "`loko doctor` and `kubectl describe` tell more".to_owned();
        };
        let object = self.get(key).await.ok().flatten().unwrap_or(Value::Null);
        let labels = object.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
        let selector: Vec<String> = labels
            .into_iter()
            .flatten()
            .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
            .collect();
        let pods = self
            .list("v1", "Pod", Some(namespace), &selector.join(","))
            .await
            .unwrap_or_default();
        if pods.is_empty() {
            text.push_str("it has no pods\n");
        }
        for pod in &pods {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            let _ = writeln!(
                text,
                "pod {name}: {}",
                pod["status"]["phase"].as_str().unwrap_or("unknown")
            );
            for condition in pod["status"]["conditions"].as_array().into_iter().flatten() {
                if condition["status"] == "False"
                    && let Some(message) = condition["message"].as_str()
                {
                    let _ = writeln!(text, "  {}: {message}", condition["type"].as_str().unwrap_or_default());
                }
            }
            for status in pod["status"]["containerStatuses"].as_array().into_iter().flatten() {
                if status["ready"] == true {
                    continue;
                }
                let container = status["name"].as_str().unwrap_or_default();
                if let Some(waiting) = status.pointer("/state/waiting") {
                    let word = |field: &str| waiting[field].as_str().unwrap_or_default().to_owned();
                    let _ = writeln!(text, "  {container}: {} {}", word("reason"), word("message"));
                }
                if let Ok(log) = self.pod_log(namespace, name, Some(container), LOG_LINES).await {
                    for line in log.lines() {
                        let _ = writeln!(text, "  | {line}");
                    }
                }
            }
        }
        text.push_str(&self.warnings(namespace, &key.name).await);
        text
    }

    /// The last warnings about objects whose names begin so.
    pub async fn warnings(&self, namespace: &str, name: &str) -> String {
        let mut text = String::new();
        let events = self.list("v1", "Event", Some(namespace), "").await.unwrap_or_default();
        let about = |event: &&Value| {
            let object = event["involvedObject"]["name"].as_str().unwrap_or_default();
            event["type"] == "Warning" && object.starts_with(name)
        };
        for event in events.iter().filter(about).rev().take(5) {
            let word = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
            let _ = writeln!(text, "event {}: {}", word("reason"), word("message"));
        }
        text
    }
}
