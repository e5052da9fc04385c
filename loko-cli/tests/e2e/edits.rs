//! An edit of loko.yaml on a running environment: just that is applied.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{TcpListener, TcpStream};

use crate::environment::Environment;
use crate::ports::{ping, session};
use crate::suite::{self, Suite};
use crate::{Test, Topic};

pub(crate) const TOPIC: Topic = Topic {
    name: "edits",
    tests: &[
        Test("a_workload_and_its_port_are_added", &["curl", "dig", "kubectl"], added),
        Test("both_are_removed_again", &["curl", "dig", "kubectl"], removed),
    ],
};

/// Another database, whose port on the host is another one than in the pod, and another web application.
const MORE: &str = "
    - name: cache
      image: valkey/valkey:8.1
      ports: [6379]

    - name: second
      image: mccutchen/go-httpbin:2.25.0
      http: {port: 8080}
";

fn edited(quick: &Environment) -> String {
    let ports = format!(
        "  domain: {}\n  port-overrides: {{cache: {{6379: 6380}}}}\n",
        quick.domain
    );
    let yaml = quick.yaml.replace(&format!("  domain: {}\n", quick.domain), &ports);
    assert!(yaml.contains("port-overrides"), "{yaml}");
    format!("{}\n{MORE}", yaml.trim_end())
}

/// When each pod was started, by its workload's name.
#[track_caller]
fn pods(quick: &Environment) -> BTreeMap<String, String> {
    let pods = quick.kubectl("get pods --all-namespaces -o json").ok().json();
    let living = pods["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    living
        .map(|pod| {
            (
                pod["metadata"]["name"].as_str().unwrap().to_owned(),
                pod["status"]["containerStatuses"][0]["state"].to_string(),
            )
        })
        .collect()
}

fn added(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    let (containers, before) = (suite::started_at(&quick.name), pods(quick));
    let mut session = session::open(&quick.address, "6379");
    assert_eq!(session.ping(), "PONG");

    quick.write(&edited(quick));
    let report = quick.loko("create -o json").ok().json();
    assert_eq!(report["changed"], true);
    let changed: Vec<&str> = report["steps"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|step| step["outcome"] != "unchanged")
        .filter_map(|step| step["step"].as_str())
        .collect();
    // dnsmasq learns the new names while it runs, and so does a host that can resolve none but names it was told.
    let changed: BTreeSet<&str> = changed.into_iter().filter(|step| *step != "resolver").collect();
    assert_eq!(changed, BTreeSet::from(["dns", "apply", "edge"]), "{report:#}");

    // HAProxy was reloaded, and its old process serves the connections that it has.
    assert_eq!(session.ping(), "PONG");
    assert_eq!(suite::started_at(&quick.name), containers);
    let after = pods(quick);
    for (pod, state) in &before {
        assert_eq!(after.get(pod), Some(state), "{pod}");
    }
    quick.get(&quick.host("second"), "/headers");
    assert_eq!(ping(&quick.resolve(&quick.host("cache")), "6380"), "PONG");
    quick.answers();
    suite.settled(quick);
}

fn removed(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    if !fs_err::read_to_string(&quick.file).unwrap().contains("port-overrides") {
        quick.write(&edited(quick));
        quick.loko("create").ok();
    }
    let (containers, before) = (suite::started_at(&quick.name), pods(quick));
    let mut session = session::open(&quick.address, "6379");

    quick.write(&quick.yaml);
    let report = quick.loko("create -o json").ok().json();
    assert_eq!(report["changed"], true);

    assert_eq!(session.ping(), "PONG");
    assert_eq!(suite::started_at(&quick.name), containers);
    let after = pods(quick);
    for (pod, state) in before {
        let is_gone = pod.starts_with("cache-") || pod.starts_with("second-");
        assert_eq!(after.get(&pod), (!is_gone).then_some(&state), "{pod}");
    }
    let port = (quick.address.as_str(), 6380);
    assert!(TcpStream::connect(port).is_err(), "something still listens on 6380");
    drop(TcpListener::bind(port).unwrap());
    let objects = quick
        .kubectl("get deployments,services,ingresses --namespace loko-workloads -o name")
        .ok();
    assert!(
        !objects.stdout.contains("/cache") && !objects.stdout.contains("/second"),
        "{objects}"
    );
    quick.answers();
    suite.settled(quick);
}
