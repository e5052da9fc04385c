//! What goes wrong: ports that others have, creates that fail, that are killed, that run twice, clusters that vanish.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::Value;

use crate::environment::{Environment, Place};
use crate::run::{Output, Run, Running};
use crate::suite::{self, Suite};
use crate::{Test, Topic, create};

pub(crate) const TOPIC: Topic = Topic {
    name: "trouble",
    tests: &[
        Test("a_port_in_use_names_the_process_and_leaves_nothing", &[], port_in_use),
        Test("a_first_create_that_fails_takes_back_what_it_made", &[], failed_create),
        Test("what_was_never_created_says_so", &[], never_created),
        Test("a_dry_run_touches_nothing", &[], dry_run),
        Test("ctrl_c_leaves_what_the_next_create_goes_on_with", &[], interrupted),
        Test("two_creates_at_once_make_one_environment", &["curl", "dig"], twice),
        Test("destroy_cleans_up_behind_kind_delete", &["kind"], destroyed_behind),
        Test("create_mends_what_kind_delete_took", &["curl", "dig", "kind"], mended),
    ],
};

/// A small environment: one web application.
pub(crate) fn small(place: &Place, name: &str, domain: &str, address: &str, more: &str) -> Environment {
    let yaml = format!(
        "name: {name}
network: {{ip: {address}, domain: {domain}}}
components:
  haproxy: {{version: \"3.0.11\"}}
registry: {{enabled: false}}
workloads:
  user:
    - name: whoami
      image: mccutchen/go-httpbin:2.25.0
      http: {{port: 8080{more}}}
"
    );
    Environment::new(place, name, domain, address, yaml)
}

/// Port 443 is somebody else's.
pub(crate) fn busy(place: &Place) -> Environment {
    small(place, "e2e-busy", "busy.loko.test", "127.0.0.5", "")
}

/// What makes the Kubernetes API refuse an Ingress, when everything else is made already.
const BROKEN: &str = ", annotations: {\"no key\": \"of an annotation\"}}\n";

/// Has that.
pub(crate) fn broken(place: &Place) -> Environment {
    let annotation = BROKEN.trim_end_matches("}\n");
    small(place, "e2e-broken", "broken.loko.test", "127.0.0.6", annotation)
}

/// Is killed, created twice at once, deleted by kind.
pub(crate) fn beaten(place: &Place) -> Environment {
    small(place, "e2e-beaten", "beaten.loko.test", "127.0.0.7", "")
}

/// Asserts that nothing of an environment is there, and nothing of LoKO's that was not there `before`.
#[track_caller]
pub(crate) fn nothing_is_left(environment: &Environment, before: &std::collections::BTreeSet<String>) {
    let made: Vec<String> = suite::ours().difference(before).cloned().collect();
    assert!(
        !made.iter().any(|thing| thing.contains(&environment.name)),
        "left: {made:?}"
    );
    // The edge and the network are shared: they stay where others use them, and nobody came meanwhile.
    assert!(made.is_empty() || !before.is_empty(), "left: {made:?}");
    assert!(
        !environment.state().exists(),
        "{} is left",
        environment.state().display()
    );
    let kubeconfig = fs_err::read_to_string(environment.place.kubeconfig()).unwrap_or_default();
    assert!(!kubeconfig.contains(&environment.cluster()), "{kubeconfig}");
}

fn port_in_use(suite: &Suite) {
    let busy = &suite.busy;
    let before = suite::ours();
    let taken = TcpListener::bind((busy.address.as_str(), 443)).unwrap();
    let refused = busy.loko("create").ends_with(1);
    drop(taken);
    let process = fs_err::read_to_string("/proc/self/comm").unwrap();
    refused
        .says(&format!("{}:443", busy.address))
        .says(process.trim())
        .says(&std::process::id().to_string())
        .says("network.lb-ports");
    nothing_is_left(busy, &before);
}

fn failed_create(suite: &Suite) {
    let broken = &suite.broken;
    let before = suite::ours();
    // A program that ends whenever it is started: its state, the events and its last words are shown.
    broken.write(&broken.yaml.replace(BROKEN, "}\n      env: {PORT: nonsense}\n"));
    let failed = broken.loko("create").ends_with(4);
    failed
        .says("could not be created; what was made is taken away again")
        .says("the workload whoami failed: whoami ends with exit code")
        .says("pod whoami-")
        .says("Ready: containers with unready status: [whoami]")
        .says("Back-off restarting failed container")
        .says("| Print version and exit");
    nothing_is_left(broken, &before);
    broken.write(&broken.yaml);

    // To look at what went wrong, what was made stays.
    let failed = broken.loko("create --keep").any();
    assert!(failed.code.is_some_and(|code| code != 0), "{failed}");
    failed.says("no key");
    assert!(suite::containers_of(&broken.name).contains(&broken.node()), "{failed}");
    broken.loko("destroy --yes").ok();
    nothing_is_left(broken, &before);
}

fn never_created(suite: &Suite) {
    let busy = &suite.busy;
    let status = busy.loko("status").ends_with(3);
    status.says("it was never created").says("loko create");
    busy.loko("start").ends_with(3).says("nothing to start");
    assert!(!busy.state().exists());
}

fn dry_run(suite: &Suite) {
    let busy = &suite.busy;
    let (before, files) = (suite::ours(), create::files(&busy.place.loko_home()));
    let planned = busy.loko("create --dry-run").ok();
    planned
        .says(&format!("create node {}", busy.node()))
        .says("create Deployment loko-workloads/whoami")
        .says(&format!("listens on {}:80", busy.address));
    let objects = busy.loko("create --dry-run -o yaml").ok();
    for kind in ["Deployment", "DaemonSet", "Ingress"] {
        assert!(
            objects.stdout.contains(&format!("kind: {kind}")),
            "no {kind} in {objects}"
        );
    }
    let metrics = "/metrics-server:";
    assert!(objects.stdout.contains(metrics), "{objects}");
    let without = busy.loko("create --dry-run -o yaml --disable-metrics-server").ok();
    assert!(!without.stdout.contains(metrics), "{without}");
    assert_eq!(suite::ours(), before);
    assert_eq!(create::files(&busy.place.loko_home()), files);
}

fn interrupted(suite: &Suite) {
    let beaten = &suite.beaten;
    let running = beaten.loko("create -o json").start();
    reaches(&running, "nodes", "done");
    running.signal("TERM");
    let ended = running.wait();
    assert_eq!(ended.code, Some(143), "{ended}");
    ended.says("the same command goes on from here");
    assert!(suite::containers_of(&beaten.name).contains(&beaten.node()), "{ended}");
}

/// Waits until a step of `create -o json` says that it is there.
#[track_caller]
fn reaches(running: &Running, step: &str, event: &str) {
    running.writes(Duration::from_mins(3), &format!("that {step} is {event}"), |line| {
        let said: Value = serde_json::from_str(line).unwrap_or_default();
        said["step"] == step && said["event"] == event
    });
}

fn twice(suite: &Suite) {
    let beaten = &suite.beaten;
    beaten.loko("destroy --yes").ok();
    let both = [
        beaten.loko("create -o json").start(),
        beaten.loko("create -o json").start(),
    ];
    let both = both.map(Running::wait);
    let changed = |output: &Output| {
        assert_eq!(output.code, Some(0), "{output}");
        output.json()["changed"].as_bool()
    };
    let changed = both.each_ref().map(changed);
    assert!(
        changed.contains(&Some(true)) && changed.contains(&Some(false)),
        "{changed:?}"
    );
    // The one that waited says for whom.
    let waited = both
        .iter()
        .any(|output| output.stderr.contains("waits for loko create"));
    assert!(waited, "{}\n{}", both[0], both[1]);
    beaten.answers();
    suite.settled(beaten);
}

/// `kind delete cluster`, which knows nothing of loko.
#[track_caller]
fn kind_delete(environment: &Environment) {
    environment
        .place
        .run("kind")
        .args(["delete", "cluster", "--name", &environment.cluster()])
        .ok();
    let nodes = Run::new("docker")
        .args([
            "ps",
            "--all",
            "--quiet",
            "--filter",
            &format!("name={}", environment.node()),
        ])
        .ok();
    assert_eq!(nodes.text(), "", "kind left the node");
}

fn destroyed_behind(suite: &Suite) {
    let beaten = &suite.beaten;
    if suite::containers_of(&beaten.name).is_empty() {
        beaten.loko("create").ok();
    }
    kind_delete(beaten);
    beaten
        .loko("destroy --yes")
        .ok()
        .says(&format!("{} is gone", beaten.name));
    let mut before = suite.before.clone();
    before.extend(suite::ours().into_iter().filter(|thing| !thing.contains(&beaten.name)));
    nothing_is_left(beaten, &before);
}

fn mended(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    kind_delete(quick);
    let status = quick.loko("status").ends_with(3);
    status
        .says("its nodes are gone, removed by something else than loko")
        .says("loko create")
        .says(&format!("node {} down", quick.node()));
    quick.loko("create").ok().says(&format!("{} is up", quick.name));
    quick.answers();
    suite.settled(quick);
    let contexts = quick.place.run("kubectl").words("config get-contexts -o name").ok();
    assert!(
        contexts.stdout.lines().any(|line| line == quick.context()),
        "{contexts}"
    );
}
