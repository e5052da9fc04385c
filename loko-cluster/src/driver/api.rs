//! The one file that names kube's `Api`.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use http::Request;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, LogParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Client, Config};
use serde_json::Value;

use super::apply::Told;
use super::patience::PATIENCE;
use crate::drain;
use crate::error::ClusterError;
use crate::manifest::{FIELD_MANAGER, ObjectKey, PART};
use crate::plan::{LiveObject, ObjectChange, ObjectPlan, SPEC};
use crate::replace::Dependents;

/// How many requests are under way at once.
const CONCURRENT: usize = 16;

/// The kinds that we apply, and so look through for what is no longer wanted.
const KINDS: [(&str, &str); 29] = [
    ("v1", "Namespace"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("v1", "PersistentVolumeClaim"),
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("storage.k8s.io/v1", "StorageClass"),
    ("apiregistration.k8s.io/v1", "APIService"),
    ("networking.k8s.io/v1", "Ingress"),
    ("networking.k8s.io/v1", "IngressClass"),
    ("policy/v1", "PodDisruptionBudget"),
    ("traefik.io/v1alpha1", "IngressRoute"),
    ("traefik.io/v1alpha1", "IngressRouteTCP"),
    ("traefik.io/v1alpha1", "IngressRouteUDP"),
    ("traefik.io/v1alpha1", "Middleware"),
    ("traefik.io/v1alpha1", "MiddlewareTCP"),
    ("traefik.io/v1alpha1", "ServersTransport"),
    ("traefik.io/v1alpha1", "ServersTransportTCP"),
    ("traefik.io/v1alpha1", "TLSOption"),
    ("traefik.io/v1alpha1", "TLSStore"),
    ("traefik.io/v1alpha1", "TraefikService"),
];

/// A connection to a cluster's API; cheap to clone.
#[derive(Clone)]
pub struct KubeApi {
    client: Client,
    /// Told what takes long.
    pub(super) told: Option<Told>,
    pub(super) patience: Duration,
}

impl std::fmt::Debug for KubeApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KubeApi")
    }
}

impl KubeApi {
    /// A connection as a kubeconfig describes it. Nothing is sent yet.
    pub async fn new(kubeconfig: &str) -> Result<Self, ClusterError> {
        let failed = |message: String| ClusterError::Api {
            action: "read the kubeconfig".to_owned(),
            message,
        };
        let parsed = Kubeconfig::from_yaml(kubeconfig).map_err(|error| failed(error.to_string()))?;
        let mut config = Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default())
            .await
            .map_err(|error| failed(error.to_string()))?;
        // With the handshake, which a machine that is busy otherwise may take seconds for.
        config.connect_timeout = Some(Duration::from_secs(10));
        // A proxy of the user's never stands between this host and 127.0.0.1.
        config.proxy_url = None;
        // kube's own goes on for minutes, at each request.
        config.default_retry = false;
        let client = Client::try_from(config).map_err(|error| failed(error.to_string()))?;
        Ok(Self {
            client,
            told: None,
            patience: PATIENCE,
        })
    }

    /// Whether the API is ready to serve (`/readyz`).
    pub async fn is_ready(&self) -> bool {
        self.text("/readyz").await.is_ok_and(|text| text == "ok")
    }

    /// The body of a plain GET.
    pub async fn text(&self, path: &str) -> Result<String, ClusterError> {
        let action = format!("get {path}");
        let request = Request::get(path).body(Vec::new()).map_err(|error| ClusterError::Api {
            action: action.clone(),
            message: error.to_string(),
        })?;
        let text = self.answered(self.client.request_text(request)).await;
        text.map_err(failed(action))
    }

    /// The body of a GET of a pod, which the API server hands on. `path` may have a query.
    pub async fn text_of_pod(&self, namespace: &str, pod: &str, port: u16, path: &str) -> Result<String, ClusterError> {
        self.text(&format!("/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy{path}"))
            .await
    }

    pub(super) fn api(&self, api_version: &str, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
        let resource = resource(api_version, kind);
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    pub(super) fn api_of(&self, key: &ObjectKey) -> Api<DynamicObject> {
        self.api(&key.api_version, &key.kind, key.namespace.as_deref())
    }

    /// One object, where it is there.
    pub async fn get(&self, key: &ObjectKey) -> Result<Option<Value>, ClusterError> {
        let api = self.api_of(key);
        let found = self.patiently(|| api.get_opt(&key.name)).await;
        let found = found.map_err(failed(format!("get {key}")))?;
        Ok(found.and_then(|object| serde_json::to_value(object).ok()))
    }

    /// All objects of a kind, in one namespace or all, with a label selector (empty: all). A kind that the API does not
    /// know has none.
    pub async fn list(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        selector: &str,
    ) -> Result<Vec<Value>, ClusterError> {
        let params = ListParams::default().labels(selector);
        let api = self.api(api_version, kind, namespace);
        match self.patiently(|| api.list(&params)).await {
            Ok(list) => Ok(list
                .items
                .into_iter()
                .filter_map(|object| serde_json::to_value(object).ok())
                .map(|mut object| {
                    // Items of a list do not repeat what the list is of.
                    object["apiVersion"] = api_version.into();
                    object["kind"] = kind.into();
                    object
                })
                .collect()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
            Err(error) => Err(failed(format!("list {kind}"))(error)),
        }
    }

    /// The metadata of all objects of a kind, as objects that have nothing else: of secrets, nothing secret.
    pub async fn list_metadata(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        selector: &str,
    ) -> Result<Vec<Value>, ClusterError> {
        let params = ListParams::default().labels(selector);
        let api = self.api(api_version, kind, namespace);
        let found = self.patiently(|| api.list_metadata(&params)).await;
        let list = found.map_err(failed(format!("list {kind}")))?;
        Ok(list
            .items
            .iter()
            .filter_map(|item| Some(serde_json::json!({"metadata": serde_json::to_value(&item.metadata).ok()?})))
            .collect())
    }

    /// Carries out changes that stand on nothing that is not there: all at once.
    pub async fn carry_out_all(&self, changes: &[ObjectChange]) -> Result<(), ClusterError> {
        let changes: Vec<_> = changes.iter().map(|change| self.change(change).boxed()).collect();
        stream::iter(changes).buffer_unordered(CONCURRENT).try_collect().await
    }

    /// Has the pods of a deployment or stateful set made anew, one after the other, as `kubectl rollout restart` does.
    pub async fn restart(&self, key: &ObjectKey, now: jiff::Timestamp) -> Result<(), ClusterError> {
        let at = serde_json::json!({"kubectl.kubernetes.io/restartedAt": now.to_string()});
        let patch = serde_json::json!({"spec": {"template": {"metadata": {"annotations": at}}}});
        self.merge(key, &patch).await
    }

    /// All objects that carry [`PART`], with what they were applied from. Only their metadata is read.
    pub async fn live_objects(&self) -> Result<BTreeMap<ObjectKey, LiveObject>, ClusterError> {
        let params = ListParams::default().labels(PART);
        let lists = KINDS.map(|(api_version, kind)| {
            let api = self.api(api_version, kind, None);
            let params = params.clone();
            async move {
                let items = match self.patiently(|| api.list_metadata(&params)).await {
                    Ok(list) => list.items,
                    Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
                    Err(error) => return Err(failed(format!("list {kind}"))(error)),
                };
                let found: Vec<(ObjectKey, LiveObject)> = items
                    .into_iter()
                    .map(|item| {
                        let meta = item.metadata;
                        let key = ObjectKey {
                            api_version: api_version.to_owned(),
                            kind: kind.to_owned(),
                            namespace: meta.namespace,
                            name: meta.name.unwrap_or_default(),
                        };
                        let take = |map: Option<BTreeMap<String, String>>, name: &str| {
                            map.and_then(|mut map| map.remove(name)).unwrap_or_default()
                        };
                        (
                            key,
                            LiveObject {
                                part: take(meta.labels, PART),
                                hash: take(meta.annotations, SPEC),
                            },
                        )
                    })
                    .collect();
                Ok(found)
            }
        });
        let found: Vec<Vec<(ObjectKey, LiveObject)>> =
            Box::pin(stream::iter(lists).buffer_unordered(CONCURRENT).try_collect()).await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Carries a plan out: foundations, then all others at once, then deletions.
    pub async fn carry_out(&self, plan: &ObjectPlan) -> Result<(), ClusterError> {
        for phase in [&plan.foundations, &plan.objects, &plan.deletions] {
            self.carry_out_all(phase).await?;
        }
        Ok(())
    }

    async fn change(&self, change: &ObjectChange) -> Result<(), ClusterError> {
        match change {
            ObjectChange::Create(manifest) | ObjectChange::Update(manifest) => self.apply(manifest).await,
            ObjectChange::Delete(key) => self.delete(key).await,
        }
    }

    /// A JSON merge (RFC 7386) of `patch` into an object.
    pub async fn merge(&self, key: &ObjectKey, patch: &Value) -> Result<(), ClusterError> {
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let (api, patch) = (self.api_of(key), Patch::Merge(patch));
        let merged = self.patiently(|| api.patch(&key.name, &params, &patch)).await;
        merged.map(drop).map_err(failed(format!("change {key}")))
    }

    /// Forgets a node whose container is gone: kubeadm lets no other one join under its name. Pods that were on it start again
    /// on the one that takes its place.
    pub async fn forget(&self, node: &str) -> Result<(), ClusterError> {
        let key = ObjectKey {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            namespace: None,
            name: node.to_owned(),
        };
        match self.get(&key).await? {
            Some(_) => self.delete(&key).await,
            None => Ok(()),
        }
    }

    /// Takes a node out of the cluster: nothing new comes to it, what runs on it is asked to end (up to 30 s), and it is
    /// forgotten. Pods of daemon sets and of the node itself stay to its end.
    pub async fn drain(&self, node: &str) -> Result<(), ClusterError> {
        let key = ObjectKey {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            namespace: None,
            name: node.to_owned(),
        };
        if self.get(&key).await?.is_none() {
            return Ok(());
        }
        self.merge(&key, &serde_json::json!({"spec": {"unschedulable": true}}))
            .await?;
        for _ in 0..30 {
            let pods = self.list("v1", "Pod", None, "").await?;
            let pods: Vec<Pod> = pods
                .into_iter()
                .filter_map(|pod| serde_json::from_value(pod).ok())
                .collect();
            let leaving = drain::evictions(node, &pods);
            if leaving.is_empty() {
                break;
            }
            for pod in leaving {
                let key = ObjectKey {
                    api_version: "v1".to_owned(),
                    kind: "Pod".to_owned(),
                    namespace: Some(pod.namespace),
                    name: pod.name,
                };
                self.delete(&key).await?;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        self.delete(&key).await
    }

    /// Deletes one object and what belongs to it; nothing happens where it is not there.
    pub async fn delete(&self, key: &ObjectKey) -> Result<(), ClusterError> {
        self.remove(key, Dependents::Go).await
    }

    pub(super) async fn remove(&self, key: &ObjectKey, dependents: Dependents) -> Result<(), ClusterError> {
        let params = match dependents {
            Dependents::Stay => DeleteParams::orphan(),
            Dependents::Go => DeleteParams::background(),
        };
        let api = self.api_of(key);
        match self.patiently(|| api.delete(&key.name, &params)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(failed(format!("delete {key}"))(error)),
        }
    }

    /// The last lines of a pod's container.
    pub async fn pod_log(
        &self,
        namespace: &str,
        pod: &str,
        container: Option<&str>,
        tail: i64,
    ) -> Result<String, ClusterError> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let params = LogParams {
            tail_lines: Some(tail),
            container: container.map(str::to_owned),
            ..LogParams::default()
        };
        api.logs(pod, &params)
            .await
            .map_err(failed(format!("read the log of {namespace}/{pod}")))
    }

    /// A pod's log, line by line, as it is written.
    pub async fn follow_pod_log(
        &self,
        namespace: &str,
        pod: &str,
        options: &PodLogOptions,
    ) -> Result<impl futures_util::Stream<Item = Result<String, ClusterError>> + Send + use<>, ClusterError> {
        use futures_util::io::AsyncBufReadExt as _;
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let params = LogParams {
            follow: options.follow,
            tail_lines: options.tail,
            since_seconds: options.since_seconds,
            ..LogParams::default()
        };
        let action = format!("read the log of {namespace}/{pod}");
        let reader = api.log_stream(pod, &params).await.map_err(failed(action.clone()))?;
        Ok(reader.lines().map_err(move |error| ClusterError::Api {
            action: action.clone(),
            message: error.to_string(),
        }))
    }
}

/// What to read of a pod's log.
#[derive(Debug, Clone, Default)]
pub struct PodLogOptions {
    /// Go on as more is written.
    pub follow: bool,
    /// Only the last lines.
    pub tail: Option<i64>,
    /// Only what is younger, in seconds.
    pub since_seconds: Option<i64>,
}

fn resource(api_version: &str, kind: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

pub(super) fn failed(action: impl Into<String>) -> impl FnOnce(kube::Error) -> ClusterError {
    let action = action.into();
    move |error| {
        if let kube::Error::Api(status) = error {
            // What stands behind the API server may refuse without a word.
            let message = if status.message.is_empty() {
                format!("the answer is {} {}", status.code, status.reason)
                    .trim_end()
                    .to_owned()
            } else {
                status.message.clone()
            };
            return ClusterError::Api { action, message };
        }
        let message = loko_engine::error::with_causes(&error);
        ClusterError::Api { action, message }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn a_refusal_without_words_is_said_by_its_code() {
        let said = |message: &str, reason: &str, code: u16| {
            let status = Status::failure(message, reason).with_code(code).boxed();
            failed("get /apis/metrics.k8s.io/v1beta1/nodes")(kube::Error::Api(status)).to_string()
        };
        let without = "failed to get /apis/metrics.k8s.io/v1beta1/nodes: the answer is 503 ServiceUnavailable";
        assert_eq!(said("", "ServiceUnavailable", 503), without);
        assert!(said("", "", 404).ends_with(": the answer is 404"));
        assert!(said("no endpoints available", "ServiceUnavailable", 503).ends_with(": no endpoints available"));
    }
}
