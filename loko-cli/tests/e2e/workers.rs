//! A second environment beside the first: three nodes, an address and a domain of its own.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::environment::{Environment, Place};
use crate::ports::ping;
use crate::suite::{self, Suite};
use crate::{Test, Topic};

pub(crate) const TOPIC: Topic = Topic {
    name: "workers",
    tests: &[
        Test("three_nodes_are_ready_with_labels_and_taints", &["kubectl"], nodes),
        Test("pods_on_different_nodes_reach_each_other", &["kind", "kubectl"], pods),
        Test("workloads_run_where_they_may", &["kubectl"], placement),
        Test(
            "both_environments_answer_each_by_its_own_certificate",
            &["curl", "dig"],
            both,
        ),
        Test(
            "a_worker_goes_and_comes_while_the_rest_runs",
            &["curl", "dig", "kubectl"],
            goes_and_comes,
        ),
    ],
};

pub(crate) fn environment(place: &Place) -> Environment {
    let yaml = "name: e2e-pair
network:
  ip: 127.0.0.2
  domain: pair.loko.test
  wildcard: false
cluster:
  nodes:
    workers: 2
    labels:
      control-plane: {tier: front}
      worker: {tier: back}
      individual: {worker-2: {disk: ssd}}
    scheduling:
      control-plane: {allow-workloads: false}
components:
  haproxy: {version: \"3.0.11\"}
registry: {enabled: false}
workloads:
  user:
    - name: whoami
      image: mccutchen/go-httpbin:2.25.0
      http: {port: 8080}
    - name: valkey
      image: valkey/valkey:8.1
      ports: [6379]
";
    Environment::new(place, "e2e-pair", "pair.loko.test", "127.0.0.2", yaml.to_owned())
}

/// The cluster's nodes by name.
#[track_caller]
fn listed(pair: &Environment) -> BTreeMap<String, Value> {
    let nodes = pair.kubectl("get nodes -o json").ok().json();
    let nodes = nodes["items"].as_array().cloned().unwrap_or_default();
    nodes
        .into_iter()
        .map(|node| (node["metadata"]["name"].as_str().unwrap().to_owned(), node))
        .collect()
}

fn is_ready(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions
        .iter()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

fn names(pair: &Environment, workers: &[&str]) -> BTreeSet<String> {
    let workers = workers.iter().map(|worker| format!("{}-{worker}", pair.cluster()));
    workers.chain([pair.node()]).collect()
}

fn nodes(suite: &Suite) {
    let pair = &suite.pair;
    pair.up();
    let nodes = listed(pair);
    assert_eq!(
        nodes.keys().cloned().collect::<BTreeSet<_>>(),
        names(pair, &["worker", "worker2"])
    );
    for (name, node) in &nodes {
        assert!(is_ready(node), "{name}: {:#}", node["status"]["conditions"]);
        let label = |key: &str| node["metadata"]["labels"][key].as_str();
        let is_control_plane = *name == pair.node();
        assert_eq!(
            label("tier"),
            Some(if is_control_plane { "front" } else { "back" }),
            "{name}"
        );
        assert_eq!(label("disk"), name.ends_with("worker2").then_some("ssd"), "{name}");
        let taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
        let taints: Vec<String> = taints
            .iter()
            .map(|taint| format!("{}:{}", taint["key"], taint["effect"]))
            .collect();
        let wanted: &[&str] = if is_control_plane {
            &["\"node-role.kubernetes.io/control-plane\":\"NoSchedule\""]
        } else {
            &[]
        };
        assert_eq!(taints, wanted, "{name}");
    }
    let status = pair.status();
    assert_eq!(status["nodes"].as_array().unwrap().len(), 3, "{status:#}");
}

fn pods(suite: &Suite) {
    let pair = &suite.pair;
    pair.up();
    let nodes: Vec<String> = listed(pair).into_keys().collect();
    // No workload runs on the control plane, so it has no workload's image.
    crate::ports::load(pair, "valkey/valkey:8.1");
    for (index, node) in nodes.iter().enumerate() {
        pair.apply(&json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("reach-{index}"), "namespace": "default", "labels": {"app": "reach"}},
            "spec": {
                "nodeName": node, "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "valkey", "image": "valkey/valkey:8.1", "imagePullPolicy": "IfNotPresent"}],
            },
        }));
    }
    pair.kubectl("wait --namespace default --for=condition=Ready --timeout=120s pods --selector app=reach")
        .ok();
    let running = pair
        .kubectl("get pods --namespace default --selector app=reach -o json")
        .ok()
        .json();
    for to in running["items"].as_array().unwrap() {
        let address = to["status"]["podIP"].as_str().unwrap();
        for (from, node) in nodes.iter().enumerate() {
            let pong = pair
                .kubectl(&format!(
                    "exec --namespace default reach-{from} -- valkey-cli -h {address} ping"
                ))
                .ok();
            assert_eq!(pong.text(), "PONG", "from {node} to {}", to["spec"]["nodeName"]);
        }
    }
    pair.kubectl("delete pods --namespace default --selector app=reach")
        .ok();
}

fn placement(suite: &Suite) {
    let pair = &suite.pair;
    pair.up();
    let pods = pair.kubectl("get pods --all-namespaces -o json").ok().json();
    for pod in pods["items"].as_array().unwrap() {
        let on_control_plane = pod["spec"]["nodeName"] == pair.node().as_str();
        match pod["metadata"]["namespace"].as_str() {
            Some("loko-workloads") => assert!(!on_control_plane, "{:#}", pod["metadata"]["name"]),
            Some("loko-system") => assert!(on_control_plane, "{:#}", pod["metadata"]["name"]),
            _ => {}
        }
    }
}

fn both(suite: &Suite) {
    let (quick, pair) = (&suite.quick, &suite.pair);
    quick.up();
    pair.up();
    for _ in 0..3 {
        for environment in [quick, pair] {
            environment.answers();
            let port = ping(&environment.resolve(&environment.host("valkey")), "6379");
            assert_eq!(port, "PONG", "{}", environment.name);
        }
    }
    // The other's name at this address is nobody's.
    let host = pair.host("whoami");
    let misled = quick
        .curl(&quick.host("whoami"))
        .args([
            "--resolve",
            &format!("{host}:443:{}", quick.address),
            "--fail",
            &format!("https://{host}/headers"),
        ])
        .any();
    assert_ne!(misled.code, Some(0), "{misled}");
    let names = quick.dig(&format!("{host} A"));
    names.says("status: REFUSED");
}

fn goes_and_comes(suite: &Suite) {
    let pair = &suite.pair;
    pair.up();
    let mut kept = suite::started_at(&pair.name);
    let gone = format!("{}-worker2", pair.cluster());
    assert!(kept.remove(&gone).is_some());

    let fewer = pair.yaml.replace("workers: 2", "workers: 1");
    pair.write(&fewer.replace("      individual: {worker-2: {disk: ssd}}\n", ""));
    pair.loko("create").ok();
    assert_eq!(suite::started_at(&pair.name), kept);
    assert_eq!(
        listed(pair).into_keys().collect::<BTreeSet<_>>(),
        names(pair, &["worker"])
    );
    pair.answers();
    suite.settled(pair);

    pair.write(&pair.yaml);
    pair.loko("create").ok();
    let nodes = listed(pair);
    assert_eq!(
        nodes.keys().cloned().collect::<BTreeSet<_>>(),
        names(pair, &["worker", "worker2"])
    );
    for (name, node) in &nodes {
        assert!(is_ready(node), "{name}");
    }
    assert_eq!(nodes[&gone]["metadata"]["labels"]["disk"], "ssd");
    let mut now = suite::started_at(&pair.name);
    now.remove(&gone);
    assert_eq!(now, kept);
    pair.answers();
    suite.settled(pair);
}
