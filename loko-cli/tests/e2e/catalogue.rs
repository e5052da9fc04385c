//! Services from the catalogue that keep what they are told: added by name, reached by name with clients of their own, stopped,
//! made anew, removed.

mod services;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::OnceLock;

use serde_json::Value;

use crate::environment::{Environment, Place};
use crate::run::Run;
use crate::suite::Suite;
use crate::{Test, Topic};

use services::{Client, SERVICES, Service, Stands};

pub(crate) const TOPIC: Topic = Topic {
    name: "catalogue",
    tests: &[
        Test("services_are_added_and_take_data_from_host_and_pod", CLIENTS, added),
        Test(
            "every_entry_passes_the_api_servers_strict_checks",
            &["kubectl"],
            strict_dry_run,
        ),
        Test("data_and_passwords_outlive_stop_and_start", CLIENTS, power),
        Test("data_and_passwords_outlive_a_lost_worker", CLIENTS, worker_lost),
        Test("data_and_passwords_outlive_recreate", CLIENTS, recreated),
        Test(
            "what_is_removed_is_pruned_and_comes_back_with_its_data",
            CLIENTS,
            removed,
        ),
    ],
};

/// What speaks to the services from this host.
const CLIENTS: &[&str] = &[
    "amqp-get",
    "bash",
    "curl",
    "dig",
    "kubectl",
    "mariadb",
    "mosquitto_sub",
    "psql",
];

/// Its workloads run on a worker alone, so that losing it loses all of them.
pub(crate) fn environment(place: &Place) -> Environment {
    let yaml = "name: e2e-shelf
network:
  ip: 127.0.0.11
  domain: shelf.loko.test
cluster:
  nodes:
    workers: 1
    scheduling:
      control-plane: {allow-workloads: false}
components:
  haproxy: {version: \"3.0.11\"}
  metrics-server: {enabled: false}
registry: {enabled: false}
workloads:
  user:
    # Programs that a pod speaks to services with.
    - name: client
      image: testbed/tools:1
      volumes: [{name: ca, configMap: {name: loko-ca}}]
      volumeMounts: [{name: ca, mountPath: /loko}]
      terminationGracePeriodSeconds: 0
";
    Environment::new(place, "e2e-shelf", "shelf.loko.test", "127.0.0.11", yaml.to_owned())
}

/// Services of the environment with all of them added, and the passwords that they were given.
struct Shelf<'s> {
    environment: &'s Environment,
    passwords: &'s Value,
}

/// Brings it up, unless an image is missing here and could only be pulled.
fn shelf(suite: &Suite) -> Option<Shelf<'_>> {
    static PASSWORDS: OnceLock<Value> = OnceLock::new();
    let shelf = &suite.shelf;
    if !shelf.was_asked_for() {
        if let Some(absent) = images().into_iter().find(|image| !is_here(image)) {
            println!("skipped: {absent} is not on this engine: `testbed/bed up --with catalogue` puts it there");
            return None;
        }
        put_entries(&shelf.place);
        for service in &SERVICES {
            shelf
                .loko(&format!("workloads add {}", service.name))
                .ok()
                .says("is changed");
        }
    }
    shelf.up();
    let environment = shelf;
    let passwords = PASSWORDS.get_or_init(|| passwords(environment));
    Some(Shelf { environment, passwords })
}

#[track_caller]
fn passwords(shelf: &Environment) -> Value {
    shelf.loko("secrets show --reveal -o json").ok().json()
}

/// Versions of the test bed's images, by the names of their variables.
fn versions() -> BTreeMap<String, String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testbed/versions.env");
    let text = fs_err::read_to_string(file).unwrap();
    let lines = text.lines().filter_map(|line| line.split_once('='));
    lines
        .map(|(name, rest)| {
            let version = rest.split_whitespace().next().unwrap_or_default();
            (name.to_owned(), version.to_owned())
        })
        .collect()
}

/// The entry's tag on the bed, where it is not the catalogue's.
fn tag(service: &Service, versions: &BTreeMap<String, String>) -> Option<String> {
    let variable = format!("{}_TAG", service.name.to_uppercase());
    versions.get(&variable).cloned()
}

/// Entries of the user's own, which replace those that come with LoKO: the same but for the version, which is what Debian has.
fn put_entries(place: &Place) {
    let versions = versions();
    let folder = place.loko_home().join("catalogue");
    fs_err::create_dir_all(&folder).unwrap();
    for service in &SERVICES {
        let Some(tag) = tag(service, &versions) else { continue };
        let entry = place
            .loko()
            .words("catalog info -o yaml")
            .args([service.name])
            .ok()
            .stdout;
        let lines = entry.lines().map(|line| match line.strip_prefix("version: ") {
            Some(_) => format!("version: \"{tag}\"\n"),
            None => format!("{line}\n"),
        });
        fs_err::write(folder.join(format!("{}.yaml", service.name)), lines.collect::<String>()).unwrap();
    }
}

fn images() -> Vec<String> {
    let versions = versions();
    let tagged = SERVICES
        .iter()
        .filter_map(|service| Some(format!("{}:{}", service.image, tag(service, &versions)?)));
    tagged.chain(["testbed/tools:1".to_owned()]).collect()
}

fn is_here(image: &str) -> bool {
    let inspected = Run::new("docker").words("image inspect --format {{.Id}}").args([image]);
    inspected.any().code == Some(0)
}

impl<'s> Shelf<'s> {
    fn clients(&self) -> [Client<'s>; 2] {
        [Stands::OnTheHost, Stands::InAPod].map(|stands| Client {
            shelf: self.environment,
            stands,
        })
    }

    /// Asserts that each gives back what it was told, to a client that comes right after the command that ended, and that
    /// passwords are what they were.
    #[track_caller]
    fn keeps_all(&self, services: &[Service]) {
        let [host, pod] = self.clients();
        for service in services {
            if !service.keeps {
                (service.write)(&host);
            }
            (service.holds)(&host);
            (service.holds)(&pod);
        }
        assert_eq!(&passwords(self.environment), self.passwords);
    }
}

fn added(suite: &Suite) {
    let Some(shelf) = shelf(suite) else { return };
    let [host, pod] = shelf.clients();
    for service in &SERVICES {
        (service.write)(&host);
        (service.holds)(&host);
        (service.holds)(&pod);
    }
    let status = shelf.environment.status();
    for service in &SERVICES {
        let item = crate::environment::item(&status, "workloads", service.name);
        assert_eq!(item["state"], "up", "{item:#}");
    }
    // Whoever has no password is nobody.
    let host = shelf.environment.host("postgres");
    let refused = Run::new("psql")
        .args([
            "-w",
            "-h",
            &shelf.environment.resolve(&host),
            "-U",
            "postgres",
            "-c",
            "SELECT 1",
        ])
        .env("PGPASSWORD", "guessed")
        .ends_with(2);
    refused.says("password authentication failed");
    mqtt_over_websockets(shelf.environment);
    suite.settled(shelf.environment);
}

/// What a browser speaks to the broker.
#[track_caller]
fn mqtt_over_websockets(shelf: &Environment) {
    let host = shelf.host("mosquitto");
    let url = format!("wss://{host}/").parse().unwrap();
    let request = tungstenite::ClientRequestBuilder::new(url).with_sub_protocol("mqtt");
    let (_, response) = tungstenite::client(request, crate::http::tls(shelf, &host)).unwrap();
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["sec-websocket-protocol"], "mqtt");
}

/// What the README says of how each entry was tried, one row a way.
fn readme() -> Vec<BTreeSet<String>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../loko-cluster/README.md");
    let text = fs_err::read_to_string(file).unwrap();
    let (_, table) = text.split_once("| how it was tried | entries |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let entries = row.trim_matches(['|', ' ']).rsplit('|').next().unwrap_or_default();
        entries.split(',').map(|entry| entry.trim().to_owned()).collect()
    })
    .collect()
}

/// Ports that several entries have are moved, so that all of them fit into one environment.
fn strict_dry_run(suite: &Suite) {
    let Some(Shelf { environment: shelf, .. }) = shelf(suite) else {
        return;
    };
    let listed = shelf.place.loko().words("catalog list -o json").ok().json();
    let names: Vec<String> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["name"].as_str().unwrap().to_owned())
        .collect();
    let run: BTreeSet<String> = SERVICES.iter().map(|service| service.name.to_owned()).collect();
    let others = names.iter().filter(|name| !run.contains(*name)).cloned().collect();
    assert_eq!(readme(), [run, others], "the README tells something else");
    let mut taken = BTreeSet::new();
    let mut overrides = Vec::new();
    for name in &names {
        let entry = shelf
            .place
            .loko()
            .words("catalog info -o json")
            .args([name])
            .ok()
            .json();
        for port in entry["ports"].as_array().unwrap() {
            let port: u16 = port.as_str().unwrap().parse().unwrap();
            if !taken.insert(port) {
                overrides.push(format!("    {name}: {{{port}: {}}}", port + 10000));
            }
        }
    }
    let systems: Vec<String> = names.iter().map(|name| format!("    - name: {name}")).collect();
    let before = fs_err::read_to_string(&shelf.file).unwrap();
    let domain = format!("  domain: {}\n", shelf.domain);
    let all = shelf.yaml.replace(
        &domain,
        &format!("{domain}  port-overrides:\n{}\n", overrides.join("\n")),
    );
    shelf.write(&format!("{all}  system:\n{}\n", systems.join("\n")));
    let objects = shelf.loko("create --dry-run -o yaml").any();
    shelf.write(&before);
    assert_eq!(objects.code, Some(0), "{objects}");
    let applied = shelf
        .kubectl("apply --server-side --force-conflicts --dry-run=server --validate=strict --filename -")
        .stdin(objects.stdout)
        .ok();
    for name in &names {
        let is_there = ["statefulset.apps", "deployment.apps"]
            .iter()
            .any(|kind| applied.stdout.contains(&format!("{kind}/{name} serverside-applied")));
        assert!(is_there, "{name} in {applied}");
        assert!(
            applied.stdout.contains(&format!("service/{name} serverside-applied")),
            "{name} in {applied}"
        );
    }
}

fn power(suite: &Suite) {
    let Some(shelf) = shelf(suite) else { return };
    shelf.environment.loko("stop").ok();
    shelf.environment.loko("start").ok();
    shelf.keeps_all(&SERVICES);
}

fn worker_lost(suite: &Suite) {
    let Some(shelf) = shelf(suite) else { return };
    let worker = format!("{}-worker", shelf.environment.cluster());
    Run::new("docker").words("rm --force --volumes").args([worker]).ok();
    shelf.environment.loko("create").ok();
    shelf.keeps_all(&SERVICES);
}

fn recreated(suite: &Suite) {
    let Some(shelf) = shelf(suite) else { return };
    shelf.environment.loko("recreate --yes").ok();
    shelf.keeps_all(&SERVICES);
}

fn removed(suite: &Suite) {
    let Some(shelf) = shelf(suite) else { return };
    let environment = shelf.environment;
    for service in &SERVICES {
        environment
            .loko(&format!("workloads remove {} --yes", service.name))
            .ok();
    }
    environment.loko("create").ok();
    let kinds = "deployments,statefulsets,services,configmaps,secrets,ingresses,ingressroutetcps.traefik.io";
    let left = environment
        .kubectl(&format!("get {kinds} --namespace loko-workloads -o name"))
        .ok();
    for service in &SERVICES {
        let name = format!("/{}", service.name);
        assert!(!left.stdout.contains(&name), "{name} in {left}");
        for port in service.ports {
            let port = (environment.address.as_str(), *port);
            assert!(TcpStream::connect(port).is_err(), "something still listens on {port:?}");
            drop(TcpListener::bind(port).unwrap());
        }
    }
    suite.settled(environment);

    let (back, _) = SERVICES.split_at(1);
    environment.loko(&format!("workloads add {} --now", back[0].name)).ok();
    shelf.keeps_all(back);
}
