//! `loko create` from nothing, and again.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use crate::suite::{self, Suite};
use crate::watch::{self, Socket};
use crate::{Test, Topic};

pub(crate) const TOPIC: Topic = Topic {
    name: "create",
    tests: &[
        Test("brings_the_quickstart_up", &[], brings_up),
        Test("every_step_says_when_it_starts_and_ends", &[], steps_are_told),
        Test("secrets_are_for_the_user_alone", &[], secrets_are_private),
        Test(
            "no_secret_is_on_a_command_line",
            &["kubectl"],
            no_secret_on_a_command_line,
        ),
        Test("what_listens_listens_on_the_address_alone", &["ss"], sockets),
        Test("again_changes_nothing_within_a_second", &["kubectl"], again),
    ],
};

fn brings_up(suite: &Suite) {
    let quick = &suite.quick;
    let created = quick.up();
    assert_eq!(created.report["environment"], quick.name.as_str());
    assert_eq!(created.report["changed"], true);
    assert_eq!(created.report["address"], quick.address.as_str());
    let url = format!("https://{}", quick.host("whoami"));
    assert_eq!(created.report["urls"], serde_json::json!([url]));
    let names: BTreeSet<String> = suite::inspect(&quick.name).into_keys().collect();
    let wanted = [quick.node(), format!("{}-dnsmasq", quick.cluster())];
    assert_eq!(names, BTreeSet::from(wanted));
}

fn steps_are_told(suite: &Suite) {
    let events = &suite.quick.up().events;
    let of = |event: &str| -> BTreeSet<&str> {
        let found = events.iter().filter(|line| line["event"] == event);
        found.filter_map(|line| line["step"].as_str()).collect()
    };
    let (started, done) = (of("started"), of("done"));
    assert_eq!(started, done, "{events:#?}");
    for step in [
        "certificates",
        "network",
        "nodes",
        "kubeadm",
        "apply",
        "dns",
        "edge",
        "ready",
    ] {
        assert!(done.contains(step), "{step} is not among {done:?}");
    }
}

fn secrets_are_private(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    let home = quick.place.loko_home();
    let mode = |path: &Path| fs_err::metadata(path).unwrap().permissions().mode() & 0o777;
    for directory in [&home, &home.join("ca"), &quick.state(), &quick.state().join("certs")] {
        assert_eq!(mode(directory), 0o700, "{}", directory.display());
    }
    let mut secrets = 0;
    for file in files(&home).iter().chain([&quick.place.kubeconfig()]) {
        let text = fs_err::read_to_string(file).unwrap_or_default();
        if text.contains("PRIVATE KEY") || text.contains("client-key-data") {
            assert_eq!(mode(file), 0o600, "{}", file.display());
            secrets += 1;
        }
    }
    // The authority's key, the leaf's key, and two kubeconfigs.
    assert_eq!(secrets, 4);
}

/// Every file below a directory.
pub(crate) fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = fs_err::read_dir(directory) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| {
            if path.is_dir() && !path.is_symlink() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

fn no_secret_on_a_command_line(suite: &Suite) {
    let quick = &suite.quick;
    let seen = &quick.up().command_lines;
    let mut secrets: Vec<String> = Vec::new();
    for file in [
        quick.place.loko_home().join("ca/ca.key"),
        quick.state().join("certs/tls.key"),
    ] {
        let pem = fs_err::read_to_string(file).unwrap();
        secrets.extend(pem.lines().filter(|line| !line.starts_with("-----")).map(str::to_owned));
    }
    let kubeconfig = fs_err::read_to_string(quick.state().join("kubeconfig")).unwrap();
    let key = kubeconfig
        .lines()
        .find_map(|line| line.trim().strip_prefix("client-key-data: "));
    secrets.push(key.unwrap().to_owned());
    // With a bootstrap token anyone may join the cluster while it lives.
    let tokens = quick
        .kubectl("get secrets --namespace kube-system --field-selector type=bootstrap.kubernetes.io/token -o json")
        .ok()
        .json();
    for token in tokens["items"].as_array().unwrap() {
        let secret = token["data"]["token-secret"].as_str().unwrap();
        secrets.push(secret.to_owned());
        let decoded = crate::run::Run::new("sh")
            .args(["-c", "printf %s \"$0\" | base64 -d", secret])
            .ok();
        secrets.push(decoded.text().to_owned());
    }
    assert!(seen.len() > 20, "the watch saw nothing: {seen:?}");
    // Whoever may talk to the engine reads what containers were started with.
    let inspected = format!("{:?}", suite::inspect(&quick.name));
    for secret in secrets {
        assert!(!inspected.contains(&secret), "a container was started with a secret");
        let shown = seen.iter().find(|line| line.contains(&secret));
        assert!(shown.is_none(), "a secret was on a command line: {shown:?}");
    }
}

/// Programs that listen for an environment; the engine's own does for ports that it publishes.
const OUR_PROGRAMS: [&str; 3] = ["haproxy", "dnsmasq", "docker-proxy"];

fn sockets(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    let same = |a: &Socket, b: &Socket| (&a.protocol, &a.address, &a.port) == (&b.protocol, &b.address, &b.port);
    let opened: Vec<Socket> = watch::sockets()
        .into_iter()
        // A reload gives a listener to another process of HAProxy: not opened by this create.
        .filter(|socket| !suite.sockets.iter().any(|old| same(old, socket)))
        // On a machine that others work on as well, only what is known to be ours can be judged.
        .filter(|socket| suite.is_alone() || OUR_PROGRAMS.iter().any(|name| socket.process.contains(name)))
        .collect();
    for port in ["80", "443", "6379"] {
        let wanted = opened
            .iter()
            .any(|socket| socket.port == port && socket.address == quick.address);
        assert!(wanted, "nothing listens on {}:{port}: {opened:#?}", quick.address);
    }
    let (_, dns) = quick.dns();
    for protocol in ["udp", "tcp"] {
        assert!(
            opened
                .iter()
                .any(|socket| socket.port == dns && socket.protocol == protocol)
        );
    }
    for socket in &opened {
        let allowed = socket.address == quick.address || socket.address == "127.0.0.1";
        assert!(allowed, "{socket:?} is neither on {} nor on 127.0.0.1", quick.address);
    }
}

fn again(suite: &Suite) {
    let quick = &suite.quick;
    quick.up();
    let pods = || {
        quick
            .kubectl("get pods --all-namespaces -o jsonpath={range.items[*]}{.metadata.uid}{.status.containerStatuses[*].state.running.startedAt}{\"\\n\"}{end}")
            .ok()
            .stdout
    };
    let (containers, running) = (suite::started_at(&quick.name), pods());
    let runs: Vec<_> = (0..5).map(|_| quick.loko("create").ok()).collect();
    for run in &runs {
        run.says(&format!("{}: nothing to do", quick.name));
    }
    assert_eq!(suite::started_at(&quick.name), containers);
    assert_eq!(pods(), running);
    let report = quick.loko("create -o json").ok().json();
    assert_eq!(report["changed"], false);
    // The machine may be busy with something else for one of them, not for all.
    let best = runs.iter().map(|run| run.elapsed).min().unwrap();
    assert!(best < Duration::from_secs(1), "it took {best:?}");
}
