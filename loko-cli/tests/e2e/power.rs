//! `loko stop` frees the host, `loko start` brings back what was there.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::Value;

use crate::ports::ping;
use crate::suite::{self, Suite};
use crate::{Test, Topic};

pub(crate) const TOPIC: Topic = Topic {
    name: "power",
    tests: &[Test(
        "stop_frees_the_ports_and_start_brings_all_back",
        &["curl", "dig", "kubectl"],
        stop_and_start,
    )],
};

fn stop_and_start(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    quick
        .kubectl("create configmap kept --namespace default --from-literal=by=stop")
        .ok();
    let certificate = fs_err::read(quick.state().join("certs/tls.crt")).unwrap();
    let address = node_address(suite);
    let (_, dns) = quick.dns();

    // Told to stop at its first step, it ends that and begins no other; said again it goes on.
    let stopping = quick.loko("stop -o json").start();
    stopping.writes(Duration::from_mins(1), "that it frees the ports", |line| {
        let said: Value = serde_json::from_str(line).unwrap_or_default();
        said["step"] == "routes" && said["event"] == "started"
    });
    let ended = stopping.interrupt();
    assert_eq!(ended.code, Some(130), "{ended}");
    ended.says("the same command goes on from here");
    assert!(!ended.stderr.contains("\"step\":\"edge\""), "{ended}");

    quick.loko("stop").ok().says(&format!("{} is stopped", quick.name));
    // Held together, as another program would hold them.
    let ports = [80, 443, 6379, dns.parse().unwrap()].map(|port| TcpListener::bind((quick.address.as_str(), port)));
    for port in &ports {
        assert!(port.is_ok(), "{port:?}");
    }
    drop(ports);
    for (name, container) in suite::inspect(&quick.name) {
        assert_eq!(container["State"]["Running"], false, "{name}");
    }
    let status = quick.loko("status -o json").ends_with(3);
    assert_eq!(status.json()["cluster"]["state"], "stopped", "{status}");
    // It is where it was wanted: again changes nothing.
    quick.loko("stop").ok().says("it is stopped");

    quick.loko("start").ok();
    quick.answers();
    assert_eq!(ping(&quick.resolve(&quick.host("valkey")), "6379"), "PONG");
    assert_eq!(node_address(suite), address);
    assert_eq!(quick.dns().1, dns);
    assert_eq!(fs_err::read(quick.state().join("certs/tls.crt")).unwrap(), certificate);
    let kept = quick
        .kubectl("get configmap kept --namespace default -o jsonpath={.data.by}")
        .ok();
    assert_eq!(kept.text(), "stop");
    quick.kubectl("delete configmap kept --namespace default").ok();
    suite.settled(quick);
}

fn node_address(suite: &Suite) -> String {
    let quick = &suite.quick;
    let containers = suite::inspect(&quick.name);
    let networks = &containers[&quick.node()]["NetworkSettings"]["Networks"];
    let address = networks["loko"]["IPAMConfig"]["IPv4Address"]
        .as_str()
        .unwrap_or_default();
    assert!(!address.is_empty(), "{networks:#}");
    address.to_owned()
}
