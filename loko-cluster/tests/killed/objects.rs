//! Cut off at every request to the Kubernetes API in turn, the same again ends where an undisturbed run ends: objects that are made,
//! edited and taken away, marks of nodes, a node that leaves. What others made, and fields that others set, stay.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use futures_util::future::join_all;
use loko_cluster::driver::KubeApi;
use loko_cluster::kubeadm::Taint;
use loko_cluster::scheduling::NodeMarks;
use loko_cluster::{ClusterError, Manifest, ObjectKey, plan};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::engine::Cut;
use crate::kubernetes::{Kubernetes, Trouble};

/// What a first `create` applies, in small.
const FIRST: &str = "
{apiVersion: v1, kind: Namespace, metadata: {name: apps}}
---
{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: ingressroutes.traefik.io},
 spec: {group: traefik.io, scope: Namespaced, names: {kind: IngressRoute, plural: ingressroutes}}}
---
{apiVersion: traefik.io/v1alpha1, kind: IngressRoute, metadata: {name: web, namespace: apps}, spec: {entryPoints: [websecure]}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: apps}, data: {stays: '1', goes: '1'}}
---
{apiVersion: v1, kind: Secret, metadata: {name: password, namespace: apps}, data: {it: c2VjcmV0}}
---
{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data, namespace: apps}, spec: {accessModes: [ReadWriteOnce]}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: apps}, spec: {type: NodePort, ports: [{port: 80, nodePort: 30001}]}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: apps}, spec: {selector: {matchLabels: {app: web}}}}
---
{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db, namespace: apps}, spec: {volumeClaimTemplates: [{size: 1}]}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: web}, rules: []}
";

/// The same after an edit: a field goes, one comes, a port changes hands, two objects have to be made anew, three go.
const EDITED: &str = "
{apiVersion: v1, kind: Namespace, metadata: {name: apps}}
---
{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: ingressroutes.traefik.io},
 spec: {group: traefik.io, scope: Namespaced, names: {kind: IngressRoute, plural: ingressroutes}}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: apps}, data: {stays: '1', comes: '2'}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: apps}, spec: {type: NodePort, ports: [{port: 80, nodePort: 30002}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: other, namespace: apps}, spec: {type: NodePort, ports: [{port: 80, nodePort: 30001}]}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: apps}, spec: {selector: {matchLabels: {app: other}}}}
---
{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db, namespace: apps}, spec: {volumeClaimTemplates: [{size: 2}]}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: web}, rules: [{verbs: [get]}]}
";

/// What a command does through the API.
#[derive(Debug, Clone)]
enum Do {
    /// As every step of `create` that applies: what is wanted against what is there.
    Apply(Vec<Manifest>),
    /// Labels and taints of nodes.
    Mark(BTreeMap<String, NodeMarks>),
    /// A node leaves.
    Drain(&'static str),
    /// What others do meanwhile; never cut off.
    Theirs(fn(&Kubernetes)),
}

async fn run(kubernetes: &Kubernetes, what: &Do) -> Result<(), ClusterError> {
    if let Do::Theirs(act) = what {
        act(kubernetes);
    }
    carry_out(&KubeApi::new(&kubernetes.kubeconfig()).await?, what).await
}

async fn carry_out(api: &KubeApi, what: &Do) -> Result<(), ClusterError> {
    match what {
        Do::Apply(wanted) => {
            let live = api.live_objects().await?;
            api.carry_out(&plan::objects(wanted.clone(), &live)).await
        }
        Do::Mark(wanted) => api.mark_nodes(wanted).await.map(drop),
        Do::Drain(node) => api.drain(node).await,
        Do::Theirs(_) => Ok(()),
    }
}

/// All objects, as far as two runs can be told apart by them. A Service is created and its fields made ours as if it had been applied; one
/// that was cut off in between has all that is wanted, and gets that with its next change.
fn everything(kubernetes: &Kubernetes) -> BTreeMap<String, Value> {
    let mut all = kubernetes.everything();
    for (_, service) in all.iter_mut().filter(|(name, _)| name.starts_with("services ")) {
        for owner in service["metadata"]["managedFields"]
            .as_array_mut()
            .into_iter()
            .flatten()
        {
            if owner["manager"] == "loko" {
                owner["operation"] = "Apply".into();
            }
        }
    }
    all
}

/// `None` where it was killed before its end.
async fn until_killed(kubernetes: &Kubernetes, what: &Do) -> Option<Result<(), ClusterError>> {
    tokio::select! {
        biased;
        () = kubernetes.killed() => None,
        ended = run(kubernetes, what) => Some(ended),
    }
}

/// A cluster in which all of `before` was done.
async fn prepared(before: &[Do]) -> Kubernetes {
    let kubernetes = Kubernetes::new();
    for what in before {
        run(&kubernetes, what).await.unwrap();
    }
    kubernetes.meet(None);
    kubernetes
}

/// Objects by place, as an undisturbed run leaves them, and how many requests it sends. Done again there is nothing to do.
async fn undisturbed(before: &[Do], last: &Do) -> (BTreeMap<String, Value>, usize) {
    let kubernetes = prepared(before).await;
    run(&kubernetes, last).await.unwrap();
    let (wanted, requests) = (everything(&kubernetes), kubernetes.requests());
    kubernetes.meet(None);
    run(&kubernetes, last).await.unwrap();
    assert_eq!(kubernetes.writes(), [""; 0], "of {last:?}, done again");
    assert_eq!(everything(&kubernetes), wanted);
    (wanted, requests)
}

/// Kills the last of `all` at each of its requests, lost or unheard of, and does it again.
async fn at_every_request(all: &[Do]) -> BTreeMap<String, Value> {
    let (last, before) = all.split_last().unwrap();
    let (wanted, requests) = undisturbed(before, last).await;
    let cuts = (1..=requests).flat_map(|number| [Cut::Before(number), Cut::After(number)]);
    let killed = join_all(cuts.map(|cut| {
        let wanted = &wanted;
        async move {
            let kubernetes = prepared(before).await;
            kubernetes.meet(Some(Trouble::Killed(cut)));
            let ended = until_killed(&kubernetes, last).await;
            kubernetes.meet(None);
            if let Err(error) = run(&kubernetes, last).await {
                panic!("{cut:?} of {requests}, then {last:?}: {error}");
            }
            assert_eq!(&everything(&kubernetes), wanted, "{cut:?} of {requests}");
            ended.is_none()
        }
    }))
    .await;
    // A request more or less is sent, as what goes on at once comes in another order.
    let killed = killed.iter().filter(|killed| **killed).count();
    assert!(killed > requests, "killed {killed} times at {requests} requests");
    wanted
}

fn apply(yaml: &str) -> Do {
    let manifests = Manifest::parse_all(yaml).unwrap();
    Do::Apply(manifests.into_iter().map(|one| one.of_part("platform")).collect())
}

fn names(everything: &BTreeMap<String, Value>) -> Vec<&str> {
    everything.keys().map(String::as_str).collect()
}

#[tokio::test]
async fn a_create() {
    let all = at_every_request(&[apply(FIRST)]).await;
    assert_eq!(all.len(), 12, "{:?}", names(&all));
    let raw = prepared(&[apply(FIRST)]).await.everything();
    let owners = |name: &str| raw[name]["metadata"]["managedFields"].as_array().unwrap().clone();
    // A Service is created, and its fields are ours as if it had been applied.
    for name in ["services apps/web", "configmaps apps/settings"] {
        let owners = owners(name);
        assert_eq!(owners.len(), 1, "{owners:?}");
        assert_eq!(
            (&owners[0]["manager"], &owners[0]["operation"]),
            (&json!("loko"), &json!("Apply"))
        );
    }
}

/// People, controllers and other tools.
fn others(kubernetes: &Kubernetes) {
    let named = |name: &str, more: Value| json!({"metadata": {"name": name, "namespace": "apps"}, "data": more});
    kubernetes.put("v1", "configmaps", &named("theirs", json!({"a": "1"})));
    let annotated = json!({"metadata": {"name": "settings", "namespace": "apps", "annotations": {"theirs": "yes"}}, "data": {"added": "x"}});
    kubernetes.put("v1", "configmaps", &annotated);
    let scaled = json!({"metadata": {"name": "web", "namespace": "apps"}, "status": {"replicas": 1}});
    kubernetes.put("apps/v1", "deployments", &scaled);
    let claimed = json!({"metadata": {"name": "theirs", "namespace": "default", "labels": {"app.kubernetes.io/managed-by": "loko"}}});
    kubernetes.put("v1", "secrets", &claimed);
}

#[tokio::test]
async fn an_edit_with_objects_that_have_to_be_made_anew() {
    let all = at_every_request(&[apply(FIRST), Do::Theirs(others), apply(EDITED)]).await;
    let settings = &all["configmaps apps/settings"];
    assert_eq!(settings["data"], json!({"stays": "1", "comes": "2", "added": "x"}));
    assert_eq!(settings["metadata"]["annotations"]["theirs"], "yes");
    assert_eq!(all["configmaps apps/theirs"]["data"], json!({"a": "1"}));
    assert_eq!(
        all["deployments apps/web"]["spec"]["selector"]["matchLabels"]["app"],
        "other"
    );
    assert_eq!(
        all["statefulsets apps/db"]["spec"]["volumeClaimTemplates"],
        json!([{"size": 2}])
    );
    for gone in ["secrets apps/password", "ingressroutes apps/web"] {
        assert!(!all.contains_key(gone), "{gone}");
    }
    // Data goes only when the user says so, and without our label nothing goes.
    for stays in ["persistentvolumeclaims apps/data", "secrets default/theirs"] {
        assert!(all.contains_key(stays), "{stays}: {:?}", names(&all));
    }
}

#[tokio::test]
async fn all_of_ours_taken_away() {
    let all = at_every_request(&[
        apply(FIRST),
        Do::Theirs(others),
        apply("{apiVersion: v1, kind: Namespace, metadata: {name: apps}}"),
    ])
    .await;
    assert_eq!(
        names(&all),
        [
            "configmaps apps/theirs",
            "namespaces /apps",
            "namespaces /default",
            "namespaces /kube-system",
            "persistentvolumeclaims apps/data",
            "secrets default/theirs",
        ]
    );
}

/// A kind that is not served yet, a namespace that was made a moment ago, an API server that is busy or goes away.
#[tokio::test]
async fn a_request_that_fails_once_is_asked_again_or_named() {
    let before = [apply(FIRST), Do::Theirs(others)];
    let last = apply(EDITED);
    let (wanted, requests) = undisturbed(&before, &last).await;
    // One of the lists at the beginning is as good as another. Each request meets two of these, in turn.
    let troubles = [1, 15].into_iter().chain(29..=requests).flat_map(|number| {
        let refused = [409, 429, 500, 503, 504].map(|status| Trouble::Refused(number, status));
        let reset = [Cut::Before(number), Cut::After(number)].map(Trouble::Reset);
        let all: Vec<Trouble> = refused.into_iter().chain(reset).collect();
        [all[number % 7], all[(number + 3) % 7]]
    });
    join_all(troubles.map(|trouble| {
        let (before, last, wanted) = (&before, &last, &wanted);
        async move {
            let kubernetes = prepared(before).await;
            kubernetes.meet(Some(trouble));
            let ended = run(&kubernetes, last).await;
            match &ended {
                Ok(()) => assert_eq!(&everything(&kubernetes), wanted, "{trouble:?}"),
                Err(ClusterError::Api { action, message }) => {
                    let is_named = action.starts_with("list ") || action.starts_with("delete ");
                    assert!(
                        is_named && !message.is_empty(),
                        "{trouble:?}: failed to {action}: {message}"
                    );
                }
                Err(error) => panic!("{trouble:?}: {error}"),
            }
            kubernetes.meet(None);
            run(&kubernetes, last).await.unwrap();
            assert_eq!(&everything(&kubernetes), wanted, "{trouble:?}, then again");
        }
    }))
    .await;
}

#[tokio::test]
async fn a_refusal_that_will_not_pass_is_named_at_once() {
    for status in [400, 401, 403, 422] {
        let kubernetes = prepared(&[]).await;
        kubernetes.meet(Some(Trouble::RefusedFrom(30, status)));
        let error = run(&kubernetes, &apply(FIRST)).await.unwrap_err();
        let said = error.to_string();
        assert!(
            said.starts_with("failed to apply ") && said.ends_with(": not any more"),
            "{said}"
        );
        assert!(kubernetes.writes().is_empty(), "{:?}", kubernetes.writes());
        assert!(
            kubernetes.requests() <= 31,
            "{status}: {} requests",
            kubernetes.requests()
        );
    }
}

/// A server that stays busy, or silent, is given up on when patience is at its end, not waited for in ever longer pauses.
#[tokio::test]
async fn a_server_that_stays_busy_or_silent_is_given_up_on() {
    let troubles = [
        Trouble::RefusedFrom(1, 429),
        Trouble::RefusedFrom(1, 503),
        Trouble::RefusedFrom(30, 500),
        Trouble::RefusedFrom(30, 503),
        Trouble::SilentFrom(1),
        Trouble::SilentFrom(30),
    ];
    join_all(troubles.map(async |trouble| {
        let kubernetes = prepared(&[]).await;
        let api = KubeApi::new(&kubernetes.kubeconfig()).await.unwrap();
        let api = api.with_patience(Duration::from_secs(2));
        kubernetes.meet(Some(trouble));
        let ended = tokio::time::timeout(Duration::from_secs(100), carry_out(&api, &apply(FIRST))).await;
        let said = ended.unwrap_or_else(|_| panic!("{trouble:?}")).unwrap_err().to_string();
        let how = if matches!(trouble, Trouble::SilentFrom(_)) {
            "no answer within 2 s"
        } else {
            ": not any more"
        };
        assert!(
            said.starts_with("failed to ") && said.ends_with(how),
            "{trouble:?}: {said}"
        );
    }))
    .await;
}

fn nodes(kubernetes: &Kubernetes) {
    for name in ["one", "two"] {
        let labels = json!({"theirs": "x", "kubernetes.io/hostname": name});
        let spec = json!({"taints": [{"key": "theirs", "effect": "NoExecute"}]});
        kubernetes.put(
            "v1",
            "nodes",
            &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": spec}),
        );
    }
    for (name, node) in [("stays", "one"), ("goes", "two"), ("daemon", "two")] {
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": node, "containers": []}});
        if name == "daemon" {
            pod["metadata"]["ownerReferences"] =
                json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "a", "uid": "a", "controller": true}]);
        }
        kubernetes.put("v1", "pods", &pod);
    }
}

fn mark(label: &str, is_tainted: bool) -> Do {
    let taint = Taint {
        key: "node-role.kubernetes.io/control-plane".to_owned(),
        value: String::new(),
        effect: "NoSchedule".to_owned(),
    };
    let marks = NodeMarks {
        labels: BTreeMap::from([(label.to_owned(), "ssd".to_owned())]),
        taints: is_tainted.then_some(taint).into_iter().collect(),
    };
    Do::Mark(BTreeMap::from([
        ("one".to_owned(), marks.clone()),
        ("two".to_owned(), marks),
    ]))
}

#[tokio::test]
async fn marks_of_nodes() {
    let all = at_every_request(&[Do::Theirs(nodes), mark("before", true), mark("after", false)]).await;
    for node in ["nodes /one", "nodes /two"] {
        let (labels, taints) = (&all[node]["metadata"]["labels"], &all[node]["spec"]["taints"]);
        assert_eq!(
            (&labels["before"], &labels["after"], &labels["theirs"]),
            (&Value::Null, &json!("ssd"), &json!("x"))
        );
        assert_eq!(taints, &json!([{"key": "theirs", "effect": "NoExecute"}]));
    }
}

#[tokio::test]
async fn a_node_that_leaves() {
    let all = at_every_request(&[Do::Theirs(nodes), Do::Drain("two")]).await;
    let there: Vec<&str> = names(&all)
        .into_iter()
        .filter(|name| !name.starts_with("namespaces"))
        .collect();
    assert_eq!(there, ["nodes /one", "pods default/daemon", "pods default/stays"]);
}

/// Whatever befalls the watch, the wait ends when the object is ready.
#[tokio::test]
async fn a_wait_goes_on_where_its_watch_breaks() {
    let key = ObjectKey {
        api_version: "apps/v1".to_owned(),
        kind: "Deployment".to_owned(),
        namespace: Some("apps".to_owned()),
        name: "web".to_owned(),
    };
    let troubles = (1..=4).flat_map(|number| {
        let refused = [410, 429, 500, 503].map(|status| Trouble::Refused(number, status));
        let reset = [Cut::Before(number), Cut::After(number)].map(Trouble::Reset);
        refused.into_iter().chain(reset).map(move |trouble| (number, trouble))
    });
    join_all(troubles.map(|(number, trouble)| {
        let key = &key;
        async move {
            let kubernetes = prepared(&[apply(FIRST)]).await;
            kubernetes.meet(Some(trouble));
            let api = KubeApi::new(&kubernetes.kubeconfig()).await.unwrap();
            let controller = async {
                // Past the trouble it asks again.
                while kubernetes.requests() <= number {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                let status =
                    json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1});
                let ready = json!({"metadata": {"name": "web", "namespace": "apps"}, "status": status});
                kubernetes.put("apps/v1", "deployments", &ready);
            };
            let waited = api.wait_ready(key, Duration::from_secs(100), |_| {});
            let (waited, ()) = tokio::join!(waited, controller);
            waited.unwrap_or_else(|error| panic!("{trouble:?}: {error}"));
        }
    }))
    .await;
}

#[tokio::test]
async fn what_is_not_ready_in_time_is_named_with_what_it_waits_for() {
    let kubernetes = prepared(&[apply(FIRST)]).await;
    let api = KubeApi::new(&kubernetes.kubeconfig()).await.unwrap();
    let key = ObjectKey {
        api_version: "apps/v1".to_owned(),
        kind: "Deployment".to_owned(),
        namespace: Some("apps".to_owned()),
        name: "web".to_owned(),
    };
    let mut told = Vec::new();
    let waited = api
        .wait_ready(&key, Duration::from_secs(1), |why| told.push(why.to_owned()))
        .await;
    assert_eq!(told, ["its controller has not seen it yet"]);
    match waited {
        Err(ClusterError::NotReady {
            what, reason, evidence, ..
        }) => {
            assert_eq!(
                (what.as_str(), reason.as_str()),
                ("Deployment apps/web", "its controller has not seen it yet")
            );
            assert_eq!(evidence.trim(), "it has no pods");
        }
        other => panic!("{other:?}"),
    }
}

/// Of each of these objects one variant, or none.
fn wanted_sets() -> impl Strategy<Value = Do> {
    let which = prop::collection::vec(prop::option::weighted(0.7, 0..3_usize), 7);
    which.prop_map(|which| {
        let mut yaml = "{apiVersion: v1, kind: Namespace, metadata: {name: apps}}".to_owned();
        for (index, variant) in which.into_iter().enumerate() {
            let Some(variant) = variant else { continue };
            let (version, kind, rest) = match index {
                0 | 1 => (
                    "v1",
                    "ConfigMap",
                    format!("data: {{same: '1', 'f{variant}': '{variant}'}}"),
                ),
                2 => ("v1", "Secret", format!("data: {{a: 'YQ==', b: 'Y{variant}=='}}")),
                3 | 4 => {
                    let port = 30_000 + 10 * index + variant;
                    (
                        "v1",
                        "Service",
                        format!("spec: {{ports: [{{port: 80, nodePort: {port}}}]}}"),
                    )
                }
                5 => (
                    "apps/v1",
                    "Deployment",
                    format!("spec: {{selector: {{matchLabels: {{app: 'a{variant}'}}}}}}"),
                ),
                _ => (
                    "apps/v1",
                    "StatefulSet",
                    format!(
                        "spec: {{replicas: {variant}, volumeClaimTemplates: [{{size: {}}}]}}",
                        variant / 2
                    ),
                ),
            };
            let _ = write!(
                yaml,
                "\n---\n{{apiVersion: {version}, kind: {kind}, metadata: {{name: n{index}, namespace: apps}}, {rest}}}"
            );
        }
        apply(&yaml)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// A create that is killed, an edit that is killed, and the edit once more: as if there had been only the edit.
    #[test]
    fn nothing_is_left_of_what_was_killed(first in wanted_sets(), second in wanted_sets(), kills in prop::array::uniform2(1_usize..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (wanted, _) = undisturbed(&[], &second).await;
            let kubernetes = prepared(&[]).await;
            for (what, kill) in [(&first, kills[0]), (&second, kills[1])] {
                kubernetes.meet(Some(Trouble::Killed(Cut::After(kill))));
                if let Some(ended) = until_killed(&kubernetes, what).await {
                    ended.unwrap();
                }
            }
            kubernetes.meet(None);
            run(&kubernetes, &second).await.unwrap();
            assert_eq!(everything(&kubernetes), wanted);
        });
    }
}
