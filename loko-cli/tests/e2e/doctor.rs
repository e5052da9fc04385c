//! What `loko doctor` finds on the machine that the suite runs on.

use std::net::TcpListener;

use serde_json::Value;

use crate::suite::Suite;
use crate::{Test, Topic};

pub(crate) const TOPIC: Topic = Topic {
    name: "doctor",
    tests: &[
        Test("a machine that runs an environment is fit for one", &[], is_fit),
        Test(
            "a port that somebody else took is a failure with its remedy",
            &[],
            names_a_port,
        ),
    ],
};

/// Findings of one check.
fn of<'a>(report: &'a Value, check: &str) -> Vec<&'a Value> {
    let findings = report["findings"].as_array().map(Vec::as_slice).unwrap_or_default();
    findings.iter().filter(|finding| finding["check"] == check).collect()
}

fn is_fit(suite: &Suite) {
    suite.quick.up();
    let report = suite.quick.loko("doctor -o json").ok().json();
    assert_eq!(report["environment"], suite.quick.name.as_str());
    for check in [
        "engine", "cgroup", "memory", "clock", "inotify", "files", "subnets", "disk", "ports", "resolver", "trust",
        "proxies",
    ] {
        let found = of(&report, check);
        assert!(!found.is_empty(), "{check} is not in {report:#}");
        for finding in found {
            assert_ne!(finding["level"], "failure", "{finding:#}");
            let is_ok = finding["level"] == "ok";
            for field in ["why", "remedy"] {
                assert_eq!(finding[field].is_null(), is_ok, "{finding:#}");
            }
        }
    }
    let version = of(&report, "engine")[0]["found"].as_str().unwrap_or_default();
    assert!(version.contains("(API 1."), "{version}");
    suite.quick.loko("doctor").ok().says("an environment can come up");
}

fn names_a_port(suite: &Suite) {
    // An environment that is only looked at: nothing of it is ever made.
    let taken = TcpListener::bind("127.0.1.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let yaml = format!(
        "name: e2e-doctor\nnetwork: {{domain: doctor.loko.test, ip: 127.0.1.1, lb-ports: {{http: {port}, https: 1443}}}}\n"
    );
    let looked_at =
        crate::environment::Environment::new(&suite.place, "e2e-doctor", "doctor.loko.test", "127.0.1.1", yaml);
    let said = looked_at.loko("doctor -o json").ends_with(1);
    let report = said.json();
    assert_eq!(report["verdict"], "failure", "{report:#}");
    let found = of(&report, "ports")[0]["found"].as_str().unwrap_or_default();
    assert!(found.contains(&port.to_string()), "{found}");
    // The error says it as well, for whoever reads no data.
    said.says(&port.to_string()).says("network.lb-ports");
}
