//! Pods that will not come up by waiting: their image is not there, or their program ends over and over.

use std::time::Duration;

use serde_json::Value;

/// Restarts after which a program counts as one that does not run. The kubelet waits 10 s before the first and twice as long
/// before each further one, so this is after some 70 s.
const RESTARTS: i64 = 3;

/// Why a pod does not come up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In one sentence.
    pub reason: String,
    /// How long it must stay so before it counts: registries and routes may come up at the same time.
    pub patience: Duration,
    /// Whether the program ends: it may do so because another workload is not there yet.
    pub is_crash: bool,
    /// The image that cannot be had, where it is that.
    pub image: Option<String>,
}

/// What a registry says of an image that it does not have or does not give: containerd's `NotFound`, and the codes of the
/// distribution specification.
const REFUSALS: [&str; 8] = [
    "not found",
    "notfound",
    "manifest unknown",
    "name unknown",
    "repository does not exist",
    "pull access denied",
    "unauthorized",
    "403 forbidden",
];
/// Words of a name server, which say `not found` as well.
const RESOLVER: [&str; 2] = ["no such host", "lookup "];

/// Reads the status of a pod. `None`: it is up, or may still come up.
#[must_use]
pub fn failure(pod: &Value) -> Option<Failure> {
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        return None;
    }
    let lists = ["initContainerStatuses", "containerStatuses"];
    let mut statuses = lists
        .iter()
        .flat_map(|list| pod["status"][*list].as_array().into_iter().flatten());
    statuses.find_map(of_container)
}

fn of_container(status: &Value) -> Option<Failure> {
    let text = |pointer| status.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (container, image) = (text("/name"), text("/image"));
    let message = text("/state/waiting/message").trim();
    let failure = |reason: String, seconds| Failure {
        reason,
        patience: Duration::from_secs(seconds),
        is_crash: false,
        image: None,
    };
    let of_image = |failure: Failure| Failure {
        image: Some(image.to_owned()),
        ..failure
    };
    match text("/state/waiting/reason") {
        "InvalidImageName" => Some(failure(format!("`{image}` is no name of an image"), 1)),
        "ErrImageNeverPull" => Some(failure(
            format!("the image {image} is not on the node, and `imagePullPolicy` is Never"),
            10,
        )),
        "ImagePullBackOff" | "ErrImagePull" => {
            let words = message.to_lowercase();
            let is_said = |list: &[&str]| list.iter().any(|word| words.contains(word));
            if is_said(&REFUSALS) && !is_said(&RESOLVER) {
                let reason = format!("the image {image} is not found, or may not be had");
                Some(of_image(failure(reason, 15)))
            } else {
                Some(of_image(failure(format!("the image {image} cannot be pulled"), 90)))
            }
        }
        // A config map or secret that is named and not there: it may be applied a moment later.
        "CreateContainerConfigError" => Some(failure(format!("{container} cannot be started: {message}"), 30)),
        "CrashLoopBackOff" => {
            let restarts = status["restartCount"].as_i64().unwrap_or_default();
            let code = status.pointer("/lastState/terminated/exitCode").and_then(Value::as_i64);
            let code = code.map(|code| format!(" with exit code {code}")).unwrap_or_default();
            let why = match text("/lastState/terminated/reason") {
                "OOMKilled" => ": it needs more memory than its limit",
                _ => "",
            };
            (restarts >= RESTARTS).then(|| Failure {
                reason: format!("{container} ends{code} whenever it is started, {restarts} times so far{why}"),
                patience: Duration::from_secs(3),
                is_crash: true,
                image: None,
            })
        }
        _ => None,
    }
}

/// The failure of the newest pods of an object: those of the last revision, since pods of an earlier one may be what is being
/// mended.
#[must_use]
pub fn of_newest<'a>(pods: impl IntoIterator<Item = &'a Value>) -> Option<Failure> {
    let revision = |pod: &Value| {
        let labels = &pod["metadata"]["labels"];
        let label = |name: &str| labels.get(name).and_then(Value::as_str).map(str::to_owned);
        label("pod-template-hash").or_else(|| label("controller-revision-hash"))
    };
    let pods: Vec<&Value> = pods.into_iter().collect();
    let made = |pod: &&&Value| {
        pod["metadata"]["creationTimestamp"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let newest = revision(pods.iter().max_by_key(made)?);
    pods.iter()
        .filter(|pod| revision(pod) == newest)
        .find_map(|pod| failure(pod))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(status: &Value) -> Value {
        json!({"metadata": {"name": "a"}, "status": {"containerStatuses": [status]}})
    }

    fn waiting(reason: &str, message: &str) -> Value {
        pod(&json!({"name": "a", "image": "example.com/a:1", "restartCount": 0,
            "state": {"waiting": {"reason": reason, "message": message}}}))
    }

    #[test]
    fn an_image_that_is_not_there_fails_sooner_than_a_registry_that_is_not() {
        // As the kubelet of Kubernetes 1.36 and containerd 2.4 word them.
        let absent = failure(&waiting(
            "ImagePullBackOff",
            "Back-off pulling image \"example.com/a:1\": ErrImagePull: rpc error: code = NotFound desc = failed to pull and \
             unpack image \"example.com/a:1\": failed to resolve reference \"example.com/a:1\": example.com/a:1: not found",
        ))
        .unwrap();
        assert!(absent.reason.contains("is not found"), "{absent:?}");
        let offline = failure(&waiting(
            "ErrImagePull",
            "failed to do request: Head \"https://example.com/v2/a\": dial tcp: lookup example.com: no such host",
        ))
        .unwrap();
        assert!(offline.reason.contains("cannot be pulled"), "{offline:?}");
        assert!(absent.patience < offline.patience);
        assert_eq!(absent.image.as_deref(), Some("example.com/a:1"));
        assert_eq!(failure(&waiting("InvalidImageName", "")).unwrap().image, None);
    }

    #[test]
    fn a_program_that_ends_is_let_try_again_before_it_counts() {
        let crashing = |restarts: u8| {
            pod(&json!({"name": "a", "restartCount": restarts,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 3}}}))
        };
        assert_eq!(failure(&crashing(2)), None);
        let failed = failure(&crashing(3)).unwrap();
        assert!(failed.is_crash && failed.reason.contains("exit code 3"), "{failed:?}");
        assert_eq!(failure(&waiting("ContainerCreating", "")), None);
        assert_eq!(failure(&json!({})), None);
    }

    #[test]
    fn pods_of_an_earlier_revision_do_not_count() {
        let of = |mut pod: Value, revision: &str, at: &str| {
            pod["metadata"]["labels"] = json!({"pod-template-hash": revision});
            pod["metadata"]["creationTimestamp"] = json!(at);
            pod
        };
        let bad = of(waiting("InvalidImageName", ""), "one", "2026-01-02T03:04:05Z");
        let good = of(json!({"metadata": {}}), "two", "2026-01-02T03:05:00Z");
        assert_eq!(of_newest([&bad, &good]), None);
        assert!(of_newest([&bad]).is_some());
        assert_eq!(of_newest([]), None);
    }
}
