//! `loko status`, `loko logs`, `loko env`: what is said of an environment that runs.

use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use crate::environment::item;
use crate::run::eventually;
use crate::suite::Suite;
use crate::{Test, Topic};

pub(crate) const TOPIC: Topic = Topic {
    name: "status",
    tests: &[
        Test("metrics_start_and_answer_within_a_minute", &["kubectl"], metrics),
        Test("names_every_part_as_json", &[], as_json),
        Test("names_every_part_as_a_table", &[], as_a_table),
        Test("environments_are_known_by_name", &[], by_name),
        Test("a_log_is_followed", &["curl", "dig"], followed),
        Test("logs_of_every_component_and_workload", &[], logs),
    ],
};

fn metrics(suite: &Suite) {
    let quick = &suite.quick;
    let created = quick.up();
    let limit = Duration::from_mins(1).saturating_sub(created.at.elapsed());
    // Other tests may have taken the minute; then it must answer now.
    let nodes = eventually(limit, "kubectl top nodes", || {
        let state = item(&quick.status(), "components", "metrics-server")["state"].clone();
        assert!(state == "starting" || state == "up", "metrics-server is {state}");
        let top = quick.kubectl("top nodes --no-headers").any();
        if top.code == Some(0) {
            Ok(top.stdout)
        } else {
            Err(top.to_string())
        }
    });
    assert!(nodes.contains(&quick.node()), "{nodes}");
    eventually(Duration::from_secs(10), "status says up", || {
        let status = quick.status();
        if status["verdict"] == "up" {
            Ok(())
        } else {
            Err(format!("{status:#}"))
        }
    });
}

fn as_json(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    let status = quick.loko("status -o json").ok().json();
    assert_eq!(status["environment"], quick.name.as_str());
    assert_eq!(status["domain"], quick.domain.as_str());
    assert_eq!(status["address"], quick.address.as_str());
    assert_eq!(status["cluster"]["state"], "up");
    assert_eq!(item(&status, "nodes", &quick.node())["state"], "up");
    for component in ["dnsmasq", "haproxy", "traefik"] {
        assert_eq!(item(&status, "components", component)["state"], "up", "{status:#}");
    }
    assert_eq!(item(&status, "components", "registry")["state"], "disabled");
    assert_eq!(status["components"].as_array().unwrap().len(), 5);
    let urls = &item(&status, "workloads", "whoami")["addresses"];
    assert_eq!(urls[0], format!("https://{}", quick.host("whoami")));
    let ports = &item(&status, "workloads", "valkey")["addresses"];
    assert_eq!(ports[0], format!("tcp://{}:6379", quick.host("valkey")));
}

fn as_a_table(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    let status = quick.loko("status").ok();
    for row in [
        format!("node {} up", quick.node()),
        format!("component dnsmasq up *.{}", quick.domain),
        "component haproxy up".to_owned(),
        "component traefik up".to_owned(),
        "component metrics-server".to_owned(),
        "component registry disabled".to_owned(),
        format!("workload whoami up ready https://{}", quick.host("whoami")),
        format!("workload valkey up ready tcp://{}:6379", quick.host("valkey")),
    ] {
        status.says(&row);
    }
}

fn by_name(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    let place = &quick.place;
    let listed = place.loko().words("env list -o json").ok().json();
    let row = listed
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["name"] == quick.name.as_str());
    assert_eq!(row.unwrap()["domain"], quick.domain.as_str());
    let status = place
        .loko()
        .args(["-e", &quick.name])
        .words("status -o json")
        .ok()
        .json();
    assert_eq!(status["domain"], quick.domain.as_str());
    // Chosen, it is meant by commands that name none; the suite's own directory has no loko.yaml above it.
    place.loko().args(["env", "use", &quick.name]).ok();
    let status = place.loko().words("status -o json").dir(&place.home).ok().json();
    assert_eq!(status["environment"], quick.name.as_str());
    place.loko().words("env use").ok();
}

fn followed(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    let following = quick.loko("logs whoami --follow --tail 1").start();
    // Asked until it is seen: the stream may begin after the first.
    let asked = "/anything/followed";
    let host = quick.host("whoami");
    let (done, stop) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while stop
                .recv_timeout(Duration::from_millis(500))
                .is_err_and(|error| error == RecvTimeoutError::Timeout)
            {
                quick.get(&host, asked);
            }
        });
        following.writes(Duration::from_secs(20), asked, |line| line.contains(asked));
        drop(done);
    });
    following.kill();
}

fn logs(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    // Something to write about.
    quick.get(&quick.host("whoami"), "/headers");
    for of in ["dns", "tunnel", "ingress", "metrics", "whoami", "valkey"] {
        let log = quick.loko(&format!("logs {of} --tail 3")).ok();
        let lines = log.stdout.lines().count();
        assert!((1..=3).contains(&lines), "{lines} lines of\n{log}");
    }
    quick.loko("logs nobody").ends_with(2).says("there are: dns, tunnel");
}
