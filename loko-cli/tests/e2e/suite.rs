//! What the tests share: a home, environments, and what was on the engine and the host before them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::environment::{Environment, Place};
use crate::run::{Run, find};
use crate::watch::{self, Socket};
use crate::{apps, bundle, catalogue, planes, registry, traffic, trouble, workers};

/// Environments whose names start so are the suite's: what an earlier run left of them is removed.
const PREFIX: &str = "e2e-";
/// Says which environment something of ours belongs to.
const ENVIRONMENT: &str = "dev.loko.environment";

/// What the tests share.
#[derive(Debug)]
pub(crate) struct Suite {
    pub(crate) place: Place,
    /// The quickstart, or a copy of it at another address.
    pub(crate) quick: Environment,
    /// One with workers, at an address of its own.
    pub(crate) pair: Environment,
    /// One with services from the catalogue.
    pub(crate) shelf: Environment,
    /// One for what users run: routes of their own, many workloads.
    pub(crate) apps: Environment,
    /// One with a registry, and workers that pull from it.
    pub(crate) registry: Environment,
    /// The same with Zot.
    pub(crate) zot: Environment,
    /// One whose port is taken.
    pub(crate) busy: Environment,
    /// One that cannot be created.
    pub(crate) broken: Environment,
    /// Another user's, at the same address as the quickstart.
    pub(crate) twin: Environment,
    /// One that goes through much.
    pub(crate) beaten: Environment,
    /// One with three control planes.
    pub(crate) three: Environment,
    /// One that comes from a bundle.
    pub(crate) offline: Environment,
    /// What LoKO had on the engine before.
    pub(crate) before: BTreeSet<String>,
    /// What listened before.
    pub(crate) sockets: BTreeSet<Socket>,
    /// Removed last.
    _directory: tempfile::TempDir,
}

impl Suite {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("loko-e2e-").tempdir().unwrap();
        let place = Place {
            home: directory.path().to_owned(),
        };
        remove_what_an_earlier_run_left(&place);
        let beside = match std::env::var("LOKO_E2E_BESIDE") {
            Ok(address) => Some(address),
            Err(_) if !containers_of("quick").is_empty() => {
                println!("the quickstart is up on this engine: the suite works on a copy of it at 127.0.1.1");
                Some("127.0.1.1".to_owned())
            }
            Err(_) => None,
        };
        let sockets = if find("ss").is_some() {
            watch::sockets()
        } else {
            BTreeSet::new()
        };
        let quick = quickstart(&place, beside.as_deref());
        Self {
            twin: traffic::twin(&place, &quick.address),
            quick,
            pair: workers::environment(&place),
            shelf: catalogue::environment(&place),
            apps: apps::environment(&place),
            registry: registry::environment(&place),
            zot: registry::zot(&place),
            busy: trouble::busy(&place),
            broken: trouble::broken(&place),
            beaten: trouble::beaten(&place),
            three: planes::environment(&place),
            offline: bundle::environment(&place),
            before: ours(),
            sockets,
            place,
            _directory: directory,
        }
    }

    /// Whether nobody else used LoKO on this engine when the suite began.
    pub(crate) fn is_alone(&self) -> bool {
        self.before.is_empty()
    }

    /// Asserts that a create has nothing to do. Where others use LoKO on this engine, one of another version may just have
    /// written the edge that all share, so there it may have it to do once more.
    #[track_caller]
    pub(crate) fn settled(&self, environment: &Environment) {
        let mut creates = (0..if self.is_alone() { 1 } else { 3 }).map(|_| environment.loko("create").ok());
        let mut said = Vec::new();
        if !creates.any(|create| {
            let settled = create.stdout.contains("nothing to do");
            said.push(create.to_string());
            settled
        }) {
            panic!("`nothing to do` was expected of\n{}", said.join("\n"));
        }
    }

    /// All of the suite's environments.
    pub(crate) fn environments(&self) -> Vec<&Environment> {
        vec![
            &self.quick,
            &self.pair,
            &self.shelf,
            &self.apps,
            &self.registry,
            &self.zot,
            &self.busy,
            &self.broken,
            &self.beaten,
            &self.twin,
            &self.three,
            &self.offline,
        ]
    }

    /// Takes away what is left, after whatever happened.
    pub(crate) fn tear_down(&self) {
        registry::tear_down();
        for environment in self.environments() {
            // The quickstart may be somebody else's, unless it was made here.
            let is_here = environment.was_asked_for() || environment.name.starts_with(PREFIX);
            if is_here && !containers_of(&environment.name).is_empty() {
                environment.write(&environment.yaml);
                let destroyed = environment.loko("destroy --yes --purge").any();
                if destroyed.code != Some(0) {
                    eprintln!("{destroyed}");
                }
            }
        }
        remove_what_an_earlier_run_left(&self.place);
    }
}

/// `examples/quickstart/loko.yaml`, as it stands or under another name at another address.
fn quickstart(place: &Place, beside: Option<&str>) -> Environment {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart/loko.yaml");
    let yaml = fs_err::read_to_string(&file).unwrap();
    let Some(address) = beside else {
        return Environment::new(place, "quick", "quick.loko.test", "127.0.0.1", yaml);
    };
    let copy = yaml.replace("name: quick\n", "name: e2e-quick\n").replace(
        "  domain: quick.loko.test\n",
        &format!("  domain: e2e.loko.test\n  ip: {address}\n"),
    );
    assert!(copy.contains(address) && copy.contains("name: e2e-quick"), "{copy}");
    Environment::new(place, "e2e-quick", "e2e.loko.test", address, copy)
}

/// Destroys environments of a run that was killed; the network and the edge are shared, so loko itself must do it.
fn remove_what_an_earlier_run_left(place: &Place) {
    let listed = Run::new("docker")
        .words("ps --all --filter")
        .args([format!("label={ENVIRONMENT}")])
        .args(["--format", &format!("{{{{.Label \"{ENVIRONMENT}\"}}}}")])
        .ok();
    let names: BTreeSet<&str> = listed.stdout.lines().filter(|name| name.starts_with(PREFIX)).collect();
    for name in names {
        let left = Environment::new(
            place,
            name,
            "left.loko.test",
            "127.0.0.1",
            // The version that the suite's environments have: another one would have to be pulled.
            format!(
                "name: {name}\nnetwork: {{domain: left.loko.test}}\ncomponents: {{haproxy: {{version: \"3.0.11\"}}}}\n"
            ),
        );
        let destroyed = left.loko("destroy --yes --purge").any();
        if destroyed.code != Some(0) {
            eprintln!("{destroyed}");
        }
    }
    let _ = Run::new("docker").words("rm --force --volumes").args([OTHER]).any();
}

/// Somebody else's container, whose name looks like one of ours.
pub(crate) const OTHER: &str = "loko-quick-other";

/// Names of an environment's containers, running or not.
pub(crate) fn containers_of(name: &str) -> Vec<String> {
    Run::new("docker")
        .words("ps --all --format {{.Names}} --filter")
        .args([format!("label={ENVIRONMENT}={name}")])
        .ok()
        .stdout
        .lines()
        .map(str::to_owned)
        .collect()
}

/// What `docker inspect` says of an environment's containers, by name.
#[track_caller]
pub(crate) fn inspect(name: &str) -> BTreeMap<String, Value> {
    let names = containers_of(name);
    if names.is_empty() {
        return BTreeMap::new();
    }
    let inspected = Run::new("docker").words("container inspect").args(&names).ok().json();
    let containers = inspected.as_array().cloned().unwrap_or_default();
    containers
        .into_iter()
        .map(|container| {
            let name = container["Name"].as_str().unwrap_or_default().trim_start_matches('/');
            (name.to_owned(), container)
        })
        .collect()
}

/// When each of an environment's containers, and HAProxy, was started.
#[track_caller]
pub(crate) fn started_at(name: &str) -> BTreeMap<String, String> {
    let mut times: BTreeMap<String, String> = inspect(name)
        .into_iter()
        .map(|(name, container)| (name, container["State"]["StartedAt"].to_string()))
        .collect();
    let edge = Run::new("docker")
        .words("container inspect loko-haproxy --format {{.State.StartedAt}}")
        .any();
    times.insert("loko-haproxy".to_owned(), edge.text().to_owned());
    times
}

/// Everything on the engine that is LoKO's by its label or by its name: `container loko-haproxy`.
pub(crate) fn ours() -> BTreeSet<String> {
    let kinds = [
        ("container", "ps --all", "{{.Names}} {{.Labels}}"),
        ("network", "network ls", "{{.Name}} {{.Labels}}"),
        ("volume", "volume ls", "{{.Name}} {{.Labels}}"),
    ];
    let mut found = BTreeSet::new();
    for (kind, command, format) in kinds {
        let listed = Run::new("docker").words(command).args(["--format", format]).ok();
        for line in listed.stdout.lines() {
            let (name, labels) = line.split_once(' ').unwrap_or((line, ""));
            // What a test made by hand says so.
            let is_ours = labels.contains("dev.loko.role=") || name.starts_with("loko");
            if is_ours && !labels.contains("dev.loko.test=") {
                found.insert(format!("{kind} {name}"));
            }
        }
    }
    found
}
