//! Three control planes behind a balancer: any one may go, and all may be stopped. Much for a small machine, so it runs alone,
//! near the end.

use std::time::{Duration, Instant};

use crate::environment::{Environment, Place};
use crate::run::{Run, eventually};
use crate::suite::{self, Suite};
use crate::{Test, Topic};

pub(crate) const TOPIC: Topic = Topic {
    name: "control-planes",
    tests: &[
        Test(
            "three_are_ready_behind_one_address_that_kind_knows",
            &["kubectl", "kind"],
            ready,
        ),
        Test("any_one_may_go_and_the_api_answers", &["kubectl"], one_goes),
        Test(
            "all_are_stopped_and_come_back",
            &["curl", "dig", "kubectl"],
            all_stopped,
        ),
    ],
};

/// What the API may take to answer when a control plane is gone.
const LIMIT: Duration = Duration::from_mins(1);

pub(crate) fn environment(place: &Place) -> Environment {
    let yaml = "name: e2e-three
network: {ip: 127.0.0.8, domain: three.loko.test}
cluster:
  nodes: {control-planes: 3}
  kubeadm-patches:
    - |
      kind: KubeletConfiguration
      maxPods: 77
components:
  haproxy: {version: \"3.0.11\"}
  metrics-server: {enabled: false}
registry: {enabled: false}
workloads:
  user:
    - name: whoami
      image: mccutchen/go-httpbin:2.25.0
      http: {port: 8080}
";
    Environment::new(place, "e2e-three", "three.loko.test", "127.0.0.8", yaml.to_owned())
}

fn planes(three: &Environment) -> [String; 3] {
    let first = three.node();
    [first.clone(), format!("{first}2"), format!("{first}3")]
}

/// Only this one runs while these tests do: three control planes are all that a small machine takes.
fn up(suite: &Suite) -> &Environment {
    for other in suite.environments() {
        if other.name != suite.three.name && other.was_asked_for() && !suite::containers_of(&other.name).is_empty() {
            other.loko("stop").any();
        }
    }
    suite.three.up();
    &suite.three
}

fn ready(suite: &Suite) {
    let three = up(suite);
    let nodes = three.kubectl("get nodes -o json").ok().json();
    let nodes = nodes["items"].as_array().unwrap();
    let names: Vec<&str> = nodes
        .iter()
        .filter_map(|node| node["metadata"]["name"].as_str())
        .collect();
    assert_eq!(names, planes(three));
    for node in nodes {
        assert_eq!(
            node["status"]["capacity"]["pods"], "77",
            "the patch reached every kubelet: {node:#}"
        );
        let label = &node["metadata"]["labels"]["node-role.kubernetes.io/control-plane"];
        assert!(label.is_string(), "{node:#}");
    }
    let members = three
        .kubectl(
            "--namespace kube-system get pods --selector component=etcd --field-selector status.phase=Running -o name",
        )
        .ok();
    assert_eq!(members.stdout.lines().count(), 3, "{members}");
    // kind counts the balancer as its own: it is no node, and goes with the cluster.
    let balancer = format!("{}-external-load-balancer", three.cluster());
    let role = Run::new("docker")
        .args([
            "container",
            "inspect",
            &balancer,
            "--format",
            "{{index .Config.Labels \"io.x-k8s.kind.role\"}}",
        ])
        .ok();
    assert_eq!(role.text(), "external-load-balancer");
    three
        .place
        .run("kind")
        .args(["get", "nodes", "--name", &three.cluster()])
        .ok()
        .says(&three.node());
    let server = three
        .place
        .run("kind")
        .args(["get", "kubeconfig", "--name", &three.cluster()])
        .ok();
    let ours = fs_err::read_to_string(three.state().join("kubeconfig")).unwrap();
    let port = ours
        .lines()
        .find_map(|line| line.trim().strip_prefix("server: "))
        .unwrap();
    assert!(server.stdout.contains(port), "{port} is not in\n{server}");
    suite.settled(three);
}

fn one_goes(suite: &Suite) {
    let three = up(suite);
    for (index, plane) in planes(three).iter().enumerate() {
        Run::new("docker").args(["stop", "-t", "5", plane]).ok();
        let gone = Instant::now();
        eventually(LIMIT, "the API takes writes again", || {
            let name = format!("written-{index}");
            let written = three
                .kubectl("create configmap --dry-run=none --request-timeout 5s")
                .args([&name])
                .any();
            if written.code == Some(0) || written.stderr.contains("already exists") {
                Ok(())
            } else {
                Err(written.to_string())
            }
        });
        println!(
            "control-planes: without {plane} the API took writes after {:.1} s",
            gone.elapsed().as_secs_f64()
        );
        three.loko("status").ends_with(3).says(&format!("stopped {plane}"));
        three.loko("create").ok().says(&format!("started {plane}"));
    }
    let written = three.kubectl("get configmaps -o name").ok();
    assert_eq!(written.stdout.matches("configmap/written-").count(), 3, "{written}");
}

fn all_stopped(suite: &Suite) {
    let three = up(suite);
    three.loko("stop").ok();
    for plane in planes(three) {
        let running = Run::new("docker")
            .args(["container", "inspect", &plane, "--format", "{{.State.Running}}"])
            .ok();
        assert_eq!(running.text(), "false", "{plane}");
    }
    three.loko("start").ok();
    three.get(&three.host("whoami"), "/headers");
    assert_eq!(
        three
            .kubectl("get nodes --no-headers")
            .ok()
            .stdout
            .matches(" Ready ")
            .count(),
        3
    );
    // What others need next is theirs.
    three.loko("destroy --yes --purge").ok();
    assert_eq!(suite::containers_of(&three.name), Vec::<String>::new());
}
