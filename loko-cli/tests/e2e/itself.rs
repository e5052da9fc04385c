//! The suite itself, and the demonstration that a newcomer begins with.

use std::path::Path;
use std::time::Duration;

use crate::run::Run;
use crate::suite::Suite;
use crate::{Test, Topic};

pub(crate) const TOPIC: Topic = Topic {
    name: "itself",
    tests: &[
        Test("without_an_engine_it_says_what_it_skips", &[], skips),
        Test("the_demo_ends_with_an_answer_of_a_pod", &["bash", "cargo"], demo),
    ],
};

fn skips(_: &Suite) {
    let program = std::env::current_exe().unwrap();
    let no_engine = Run::new(&program)
        .env("LOKO_E2E", "1")
        .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
        .ok();
    let not_asked = Run::new(&program).ok();
    for output in [no_engine, not_asked] {
        output.says("test result: ok. 0 passed; 0 failed");
        for topic in crate::TOPICS {
            output.says(&format!(
                "skipped: end-to-end suite {} ({} tests)",
                topic.name,
                topic.tests.len()
            ));
        }
    }
}

/// On this machine, where the bed is up and the quickstart too, the demo is its last half.
fn demo(suite: &Suite) {
    let quick = &suite.quick;
    if quick.name != "quick" {
        println!("skipped: the demo is of the quickstart, and the suite works on a copy");
        return;
    }
    quick.up();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut demo = quick.place.run("bash").args([root.join("testbed/demo.sh")]).dir(&root);
    // It builds, so it needs what cargo needs.
    for key in [
        "CARGO_HOME",
        "RUSTUP_HOME",
        "CARGO_TARGET_DIR",
        "LOKO_TESTBED_DIR",
        "LOKO_TESTBED_MODE",
    ] {
        if let Some(value) = std::env::var_os(key) {
            demo = demo.env(key, value);
        }
    }
    let home = std::env::var("HOME").unwrap_or_default();
    for (key, directory) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
        if std::env::var_os(key).is_none() {
            demo = demo.env(key, format!("{home}/{directory}"));
        }
    }
    let shown = demo.limit(Duration::from_mins(20)).ok();
    // What the pod saw, fetched by curl with the certificate checked.
    shown
        .says(&format!("\"Host\": [ \"{}\" ]", quick.host("whoami")))
        .says("What next?");
}
