//! What a user does with `loko`, on a real engine: the commands themselves, and what kind, kubectl, curl, dig and a database
//! client see of their work.
//!
//! ```text
//! main ─→ Suite (a home of its own, what was there before) ─→ topics, in order ─→ teardown, whatever happened
//!                                                              │
//!                                       run: a program in a scrubbed environment, its exit code asserted
//! ```
//!
//! Runs with `LOKO_E2E=1` and an engine that answers; says what it skipped otherwise. The quickstart is created as it stands,
//! unless one is up on this engine already, or `LOKO_E2E_BESIDE=127.0.1.1` asks for a copy of it at that address.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is a test harness: what it says goes to whoever runs it"
)]
#![expect(
    clippy::unwrap_used,
    reason = "all of it is a test, and a failed one should say where"
)]

mod absence;
mod acme;
mod apps;
mod audit;
mod bundle;
mod catalogue;
mod charts;
mod clients;
mod create;
mod disk;
mod doctor;
mod edits;
mod environment;
mod faults;
mod http;
mod ingress;
mod itself;
mod kind;
mod life;
mod names;
mod picture;
mod planes;
mod ports;
mod power;
mod private;
mod registry;
mod run;
mod selftest;
mod status;
mod suite;
mod traffic;
mod trouble;
mod watch;
mod workers;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Trial};

use crate::run::Run;
use crate::suite::Suite;

/// Tests of one matter, in the order in which they run.
struct Topic {
    name: &'static str,
    tests: &'static [Test],
}

/// What it shows, the programs and images that it needs besides `docker`, and the test; it panics where it fails.
struct Test(&'static str, &'static [&'static str], fn(&Suite));

/// In this order: what changes nothing first, what breaks things later, what takes them away last.
const TOPICS: &[Topic] = &[
    create::TOPIC,
    status::TOPIC,
    doctor::TOPIC,
    names::TOPIC,
    ports::TOPIC,
    http::TOPIC,
    kind::TOPIC,
    edits::TOPIC,
    traffic::TOPIC,
    selftest::TOPIC,
    power::TOPIC,
    workers::TOPIC,
    catalogue::TOPIC,
    absence::TOPIC,
    ingress::TOPIC,
    acme::TOPIC,
    apps::TOPIC,
    charts::TOPIC,
    registry::TOPIC,
    registry::ZOT,
    bundle::TOPIC,
    trouble::TOPIC,
    life::TOPIC,
    faults::TOPIC,
    disk::TOPIC,
    private::TOPIC,
    itself::TOPIC,
    planes::TOPIC,
    audit::TOPIC,
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Tests share environments and the host's ports.
    arguments.test_threads = Some(1);
    if let Some(reason) = refusal() {
        for topic in TOPICS {
            println!(
                "skipped: end-to-end suite {} ({} tests): {reason}",
                topic.name,
                topic.tests.len()
            );
        }
        return libtest_mimic::run(&arguments, Vec::new()).exit_code();
    }
    if arguments.list {
        let unused = |_: &Test| -> Box<dyn FnOnce() -> Result<Completion, libtest_mimic::Failed> + Send> {
            Box::new(|| Ok(Completion::Completed))
        };
        return libtest_mimic::run(&arguments, trials(unused)).exit_code();
    }
    let suite = Arc::new(Suite::new());
    let conclusion = libtest_mimic::run(
        &arguments,
        trials(|test| {
            let Test(_, needs, body) = *test;
            let suite = Arc::clone(&suite);
            Box::new(move || {
                if let Some(absent) = needs.iter().find_map(|need| absent(need)) {
                    return Ok(Completion::ignored_with(format!("skipped: {absent}")));
                }
                body(&suite);
                Ok(Completion::Completed)
            })
        }),
    );
    suite.tear_down();
    conclusion.exit_code()
}

/// What is missing of what a test needs: a program, or, by a name with a tag, an image of the engine.
fn absent(need: &str) -> Option<String> {
    if !need.contains(':') {
        return run::find(need).is_none().then(|| format!("{need} is not installed"));
    }
    let found = Run::new("docker").args(["image", "inspect", need]).any();
    (found.code != Some(0)).then(|| format!("the engine has no image {need}"))
}

type Body = Box<dyn FnOnce() -> Result<Completion, libtest_mimic::Failed> + Send>;

fn trials(body: impl Fn(&'static Test) -> Body) -> Vec<Trial> {
    TOPICS
        .iter()
        .flat_map(|topic| topic.tests.iter().map(move |test| (topic.name, test)))
        .map(|(topic, test)| Trial::ignorable_test(format!("{topic}::{}", test.0), body(test)))
        .collect()
}

/// Why nothing can be run, if so.
fn refusal() -> Option<String> {
    if std::env::var("LOKO_E2E").as_deref() != Ok("1") {
        return Some("LOKO_E2E=1 is not set".to_owned());
    }
    if run::find("docker").is_none() {
        return Some("there is no `docker` command".to_owned());
    }
    let version = Run::new("docker")
        .args(["version", "--format", "{{.Server.Version}}"])
        .any();
    (version.code != Some(0)).then(|| format!("no engine answers: {}", version.stderr.trim()))
}
