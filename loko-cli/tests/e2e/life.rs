//! The life of one environment under blows: killed after each step, told to stop, commands at once. `LOKO_E2E_LONG=1` strikes
//! at more places than a run of everything has time for.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::environment::{Environment, events};
use crate::picture::Picture;
use crate::run::{Output, Run, Running};
use crate::suite::{self, Suite};
use crate::trouble::nothing_is_left;
use crate::{Test, Topic};

pub(crate) const TOPIC: Topic = Topic {
    name: "life",
    tests: &[
        Test("killed_after_every_step_create_goes_on", &["curl", "dig"], killed),
        Test(
            "killed_after_every_step_other_commands_go_on",
            &["curl", "dig", "kubectl"],
            others_killed,
        ),
        Test("ctrl_c_ends_in_order_and_twice_at_once", &[], interrupted),
        Test("twenty_statuses_during_a_create_end_well", &[], statuses),
        Test("a_create_and_a_destroy_at_once_end_well", &[], at_once),
    ],
};

/// Steps of a create that something is left to do after, so that a create that was killed then says them once more.
const STEPS: [&str; 15] = [
    "certificates",
    "secrets",
    "node-image",
    "network",
    "nodes",
    "api",
    "kubeadm",
    "images",
    "foundation",
    "apply",
    "services",
    "kubeconfig",
    "dns",
    "resolver",
    "edge",
];

/// Whether there is time for everything.
pub(crate) fn is_long() -> bool {
    std::env::var("LOKO_E2E_LONG").as_deref() == Ok("1")
}

/// The step that a line of progress says is done.
fn done(line: &str) -> Option<String> {
    let said: Value = serde_json::from_str(line).unwrap_or_default();
    let step = said["step"].as_str().filter(|_| said["event"] == "done");
    step.map(str::to_owned)
}

/// Kills a command at the first step that none before it had done, and again, and again, until one comes to its end. Returns
/// that one, and what those that were killed had done.
#[track_caller]
fn killed_at_each(command: impl Fn() -> Run) -> (Output, BTreeSet<String>) {
    let mut seen = BTreeSet::new();
    loop {
        let running = command().start();
        let found = running.writes_one(Duration::from_mins(5), |line| {
            done(line).is_some_and(|step| !seen.contains(&step))
        });
        let ended = if found { running.kill() } else { running.wait() };
        // A lock whose holder was killed is nobody's.
        assert!(!ended.stderr.contains("waits for"), "{ended}");
        if ended.code.is_some() {
            assert_eq!(ended.code, Some(0), "{ended}");
            return (ended, seen);
        }
        let before = seen.len();
        seen.extend(ended.stderr.lines().filter_map(done));
        assert!(seen.len() > before, "{ended}");
    }
}

#[track_caller]
fn assert_seen(seen: &BTreeSet<String>, steps: &[&str]) {
    for step in steps {
        assert!(seen.contains(*step), "nothing was killed after {step}, only {seen:?}");
    }
}

fn killed(suite: &Suite) {
    let beaten = &suite.beaten;
    beaten.write(&beaten.yaml);
    beaten.loko("destroy --yes").ok();
    let (_, seen) = killed_at_each(|| beaten.loko("create -o json"));
    assert_seen(&seen, &STEPS);
    beaten.answers();
    suite.settled(beaten);
    beaten.loko("diff").ok().says("nothing to do");
}

/// Brings it to what it was first.
#[track_caller]
pub(crate) fn up(beaten: &Environment) {
    beaten.write(&beaten.yaml);
    beaten.loko("create").ok();
}

fn others_killed(suite: &Suite) {
    let beaten = &suite.beaten;
    up(beaten);
    let whole = Picture::of(beaten);

    // An edit: another workload, with a port, and an Ingress that changes.
    let edited = beaten
        .yaml
        .replace("{port: 8080}", "{port: 8080, annotations: {example.org/a: b}}")
        + "    - {name: second, image: mccutchen/go-httpbin:2.25.0, ports: [8080]}\n";
    assert!(edited.contains("example.org"), "{edited}");
    beaten.write(&edited);
    beaten.loko("create").ok();
    let undisturbed = Picture::of(beaten);
    assert_ne!(undisturbed, whole);
    up(beaten);
    assert_eq!(Picture::of(beaten), whole);
    beaten.write(&edited);
    let (_, seen) = killed_at_each(|| beaten.loko("create -o json"));
    assert_seen(&seen, &["images", "foundation", "apply", "edge"]);
    assert_eq!(Picture::of(beaten), undisturbed);
    beaten.answers();
    suite.settled(beaten);
    up(beaten);

    let (_, seen) = killed_at_each(|| beaten.loko("stop -o json"));
    assert_seen(&seen, &["routes", "nodes"]);
    for (name, container) in suite::inspect(&beaten.name) {
        assert_eq!(container["State"]["Running"], false, "{name}");
    }
    beaten.loko("stop").ok().says("it is stopped");

    let (_, seen) = killed_at_each(|| beaten.loko("start -o json"));
    assert_seen(&seen, &["nodes", "api", "dns", "edge"]);
    suite.settled(beaten);
    assert_eq!(Picture::of(beaten), whole);
    beaten.answers();

    let mut before = suite.before.clone();
    before.extend(suite::ours().into_iter().filter(|thing| !thing.contains(&beaten.name)));
    let (_, seen) = killed_at_each(|| beaten.loko("destroy --yes -o json"));
    assert_seen(&seen, &["routes", "containers", "dns", "volumes", "files"]);
    nothing_is_left(beaten, &before);
}

/// What Ctrl-C makes a create say.
const STOPPING: &str = "stopping: what runs is ended in order";

fn interrupted(suite: &Suite) {
    let beaten = &suite.beaten;
    beaten.write(&beaten.yaml);
    // What runs then takes some seconds more.
    let creating = || {
        let running = beaten.loko("create -o json").start();
        running.writes(Duration::from_mins(3), "that kubeadm starts", |line| {
            let said: Value = serde_json::from_str(line).unwrap_or_default();
            said["step"] == "kubeadm" && said["event"] == "started"
        });
        running
    };
    let of = |events: &[Value], event: &str| -> BTreeSet<String> {
        let found = events.iter().filter(|line| line["event"] == event);
        found
            .filter_map(|line| line["step"].as_str().map(str::to_owned))
            .collect()
    };

    beaten.loko("destroy --yes").ok();
    let once = creating().interrupt();
    assert_eq!(once.code, Some(130), "{once}");
    once.says(STOPPING).says("the same command goes on from here");
    let progress: String = once
        .stderr
        .lines()
        .filter(|line| line.starts_with('{'))
        .collect::<Vec<_>>()
        .join("\n");
    let said = events(&Output {
        stderr: progress,
        ..once
    });
    let stopping = said
        .iter()
        .position(|line| line["message"].as_str().is_some_and(|text| text.starts_with(STOPPING)));
    let (before, after) = said.split_at(stopping.unwrap());
    assert_eq!(of(after, "started"), BTreeSet::new(), "steps began: {after:#?}");
    let ended: BTreeSet<String> = ["done", "failed", "stopped"]
        .into_iter()
        .flat_map(|event| of(&said, event))
        .collect();
    assert_eq!(of(before, "started"), ended, "{said:#?}");

    // Where kubeadm begins anew, as its node was not one yet.
    let running = creating();
    running.press();
    running.writes(Duration::from_mins(1), "that it stops", |line| line.contains(STOPPING));
    let twice = running.interrupt();
    assert_eq!(twice.code, Some(130), "{twice}");
    twice.says("the same command goes on from here");
    // Nothing was waited for.
    assert!(!twice.stderr.contains("\"event\":\"stopped\""), "{twice}");

    up(beaten);
    beaten.answers();
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
