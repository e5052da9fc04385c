//! The life of one environment under blows: killed after each step, an engine that fails under it, and commands at once.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::environment::Environment;
use crate::faults::{Fault, Proxy};
use crate::run::Running;
use crate::suite::{self, Suite};
use crate::{Test, Topic};

pub(crate) const TOPIC: Topic = Topic {
    name: "life",
    tests: &[
        Test("killed_after_every_step_create_goes_on", &["curl", "dig"], killed),
        Test("an_engine_that_fails_in_any_call_is_survived", &[], faults),
        Test("twenty_statuses_during_a_create_end_well", &[], statuses),
        Test("a_create_and_a_destroy_at_once_end_well", &[], at_once),
    ],
};

/// Steps after which a create is killed; what the others do is killed beside them.
const STEPS: [&str; 11] = [
    "certificates",
    "network",
    "nodes",
    "api",
    "kubeadm",
    "foundation",
    "apply",
    "services",
    "kubeconfig",
    "dns",
    "edge",
];

/// How many calls of a command meet each kind of failure.
const CALLS: usize = 7;

/// Ends the program at the first step that is done and is not among `seen`; false where it ends by itself.
fn kill_at_the_next(running: Running, seen: &mut BTreeSet<String>) -> bool {
    let mut new = None;
    let found = running.writes_one(Duration::from_mins(5), |line| {
        let said: Value = serde_json::from_str(line).unwrap_or_default();
        let step = said["step"].as_str().filter(|_| said["event"] == "done");
        new = step
            .filter(|step| STEPS.contains(step) && !seen.contains(*step))
            .map(str::to_owned);
        new.is_some()
    });
    seen.extend(new);
    let ended = if found { running.kill() } else { running.wait() };
    assert!(ended.code.is_none() || ended.code == Some(0), "{ended}");
    found
}

fn killed(suite: &Suite) {
    let beaten = &suite.beaten;
    beaten.write(&beaten.yaml);
    beaten.loko("destroy --yes").ok();
    let mut seen = BTreeSet::new();
    while kill_at_the_next(beaten.loko("create -o json").start(), &mut seen) {}
    for step in STEPS {
        assert!(seen.contains(step), "{step} is not among {seen:?}");
    }
    beaten.loko("create").ok();
    beaten.answers();
    suite.settled(beaten);
    beaten.loko("diff").ok().says("nothing to do");
}

#[track_caller]
fn up(beaten: &Environment) {
    beaten.write(&beaten.yaml);
    beaten.loko("create").ok();
}

/// Where the engine listens, where that is a socket.
fn engine() -> Option<PathBuf> {
    let host = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
    host.strip_prefix("unix://").map(PathBuf::from)
}

fn faults(suite: &Suite) {
    let beaten = &suite.beaten;
    up(beaten);
    let Some(engine) = engine() else {
        println!("skipped: the engine does not listen at a socket");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let through = |name: &str, fault| {
        let proxy = Proxy::start(&engine, directory.path().join(name), fault);
        let output = beaten.loko("create").env("DOCKER_HOST", proxy.endpoint()).any();
        (output, proxy)
    };
    let (output, proxy) = through("all", None);
    assert_eq!(output.code, Some(0), "{output}");
    let calls = proxy.calls();
    assert!(calls > 5, "{calls} calls are no create");
    let before = (suite::started_at(&beaten.name), suite::ours());
    let kinds = [Fault::Failed, Fault::Refused, Fault::Dropped, Fault::Delayed];
    for (kind, fault) in kinds.into_iter().enumerate() {
        // Each kind at other calls; a slow answer is much the same at every call.
        let count = if fault == Fault::Delayed { 3 } else { CALLS.min(calls) };
        for at in (0..count).map(|index| (index * calls / count + kind).min(calls - 1)) {
            let (output, _) = through(&format!("{kind}-{at}"), Some((at, fault)));
            let (code, told) = (output.code, output.stderr.contains("loko::"));
            let is_well = code == Some(0) || (fault != Fault::Delayed && told && code.is_some_and(|code| code < 10));
            assert!(is_well, "{fault:?} at call {at} of {calls}: {output}");
        }
    }
    beaten.loko("create").ok();
    assert_eq!((suite::started_at(&beaten.name), suite::ours()), before);
    suite.settled(beaten);
}

fn statuses(suite: &Suite) {
    let beaten = &suite.beaten;
    up(beaten);
    beaten.write(
        &beaten
            .yaml
            .replace("port: 8080", "port: 8080, annotations: {example.org/a: b}"),
    );
    let creating = beaten.loko("create -o json").start();
    let asked: Vec<Running> = (0..20).map(|_| beaten.loko("status -o json").start()).collect();
    for status in asked.into_iter().map(Running::wait) {
        assert!(matches!(status.code, Some(0 | 3)), "{status}");
        assert_eq!(status.json()["environment"], beaten.name.as_str(), "{status}");
    }
    let created = creating.wait();
    assert_eq!(created.code, Some(0), "{created}");
    up(beaten);
    suite.settled(beaten);
}

fn at_once(suite: &Suite) {
    let beaten = &suite.beaten;
    up(beaten);
    // Whichever is first, the other waits for it, and neither is confused.
    let both = ["create -o json", "destroy --yes -o json"].map(|words| beaten.loko(words).start());
    for output in both.map(Running::wait) {
        assert_eq!(output.code, Some(0), "{output}");
    }
    beaten.loko("destroy --yes").ok();
    let left: Vec<String> = suite::ours()
        .into_iter()
        .filter(|thing| thing.contains(&beaten.name))
        .collect();
    assert_eq!(left, Vec::<String>::new());
    assert!(!beaten.state().exists());
}
