//! What `loko validate` says of an environment that works, and of one that does not.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::run::eventually;
use crate::suite::{self, Suite};
use crate::{Test, Topic};

pub(crate) const TOPIC: Topic = Topic {
    name: "selftest",
    tests: &[
        Test("every_way_in_is_asked_and_nothing_stays", &["kubectl"], works),
        Test("a_part_that_does_not_work_is_named", &["kubectl"], does_not),
    ],
};

/// The quickstart, with a registry.
fn with_registry(suite: &Suite) -> String {
    let switch = "registry:\n  enabled: false\n";
    let component = "  haproxy: {version: \"3.0.11\"}\n";
    assert!(suite.quick.yaml.contains(switch) && suite.quick.yaml.contains(component));
    suite
        .quick
        .yaml
        .replace(switch, "registry: {engine: distribution}\n")
        .replace(
            component,
            &format!("{component}  registry: {{image: registry, version: \"3\"}}\n"),
        )
}

/// Check → verdict and what was found.
fn checks(report: &Value) -> BTreeMap<&str, (&str, &str)> {
    let checks = report["checks"].as_array().map(Vec::as_slice).unwrap_or_default();
    checks
        .iter()
        .map(|check| {
            let text = |key: &str| check[key].as_str().unwrap_or_default();
            (text("check"), (text("verdict"), text("found")))
        })
        .collect()
}

fn works(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    quick.write(&with_registry(suite));
    quick.loko("create").ok();
    let relays = || {
        suite::containers_of(&quick.name)
            .iter()
            .filter(|name| name.ends_with("-udp"))
            .count()
    };
    let before = relays();

    let report = quick.loko("validate -o json").ok().json();
    assert_eq!(report["works"], true);
    let checks = checks(&report);
    for check in ["dns", "https", "tcp", "udp", "registry-push", "pod", "metrics"] {
        assert_eq!(
            checks.get(check).map(|(verdict, _)| *verdict),
            Some("ok"),
            "{check}: {report:#}"
        );
    }
    assert!(checks["pod"].1.contains("pulled by its node"), "{report:#}");
    // Whether this host's resolver was told is the user's to decide.
    assert!(["ok", "skipped"].contains(&checks["host-resolver"].0), "{report:#}");

    assert_eq!(relays(), before, "the relay of its UDP port is gone");
    eventually(
        Duration::from_mins(1),
        "nothing of the self-test stays in the cluster",
        || {
            let kinds = "get deployments,jobs,pods,services,configmaps,ingresses,ingressroutetcps,ingressrouteudps --all-namespaces -o name";
            let all = quick.kubectl(kinds).ok();
            if all.stdout.contains("selftest") {
                Err(all.stdout)
            } else {
                Ok(())
            }
        },
    );
    suite.settled(quick);
}

fn does_not(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    quick.write(&with_registry(suite));
    quick.loko("create").ok();
    quick
        .kubectl("--namespace loko-system scale deployment registry --replicas 0")
        .ok();
    let said = quick.loko("validate -o json").ends_with(3);
    let report = said.json();
    assert_eq!(report["works"], false);
    let checks = checks(&report);
    assert_eq!(checks["registry-push"].0, "failed", "{report:#}");
    assert_eq!(checks["https"].0, "ok", "what works is told apart: {report:#}");
    said.says("failed its self-test: registry-push");
    quick.write(&quick.yaml);
    quick.loko("create").ok();
    suite.settled(quick);
}
