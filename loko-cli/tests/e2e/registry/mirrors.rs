//! What nodes are given through the mirrors. Upstreams are registries on this machine, in the places of Docker Hub and of
//! GitHub's registry.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::trouble::{is_back, kill_it};
use super::{import, is_zot, json, nodes};
use crate::environment::Environment;
use crate::run::{Output, Run, eventually};
use crate::suite::Suite;

/// Names of the stand-ins for Docker Hub and GitHub's registry.
const UPSTREAMS: [&str; 2] = ["e2e-registry-hub", "e2e-registry-ghcr"];
/// Where the registry's data lies in the first node.
const DATA: &str = "/var/local/loko-registry";
/// Waiting for something to come about in the cluster.
const SOON: Duration = Duration::from_mins(2);

/// Takes the stand-ins away.
pub(crate) fn tear_down() {
    let _ = Run::new("docker").words("rm --force --volumes").args(UPSTREAMS).any();
}

/// A registry of somebody else's on the nodes' network.
struct Upstream {
    name: &'static str,
    address: String,
}

impl Upstream {
    #[track_caller]
    fn start(name: &'static str) -> Self {
        Run::new("docker")
            .words("run --detach --label dev.loko.test=e2e --network loko --env OTEL_TRACES_EXPORTER=none --name")
            .args([name, "registry:3"])
            .ok();
        Self {
            name,
            address: address(name),
        }
    }

    /// How often each blob of a repository was given.
    fn gets(&self, repository: &str) -> Vec<usize> {
        let log = Run::new("docker").args(["logs", self.name]).ok();
        let request = format!("\"GET /v2/{repository}/blobs/");
        let log = format!("{}\n{}", log.stdout, log.stderr);
        let asked = log.lines().filter_map(|line| {
            let (_, rest) = line.split_once(&request)?;
            rest.split_whitespace().next().map(str::to_owned)
        });
        let mut counts = BTreeMap::<String, usize>::new();
        for digest in asked {
            *counts.entry(digest).or_default() += 1;
        }
        counts.into_values().collect()
    }
}

#[track_caller]
fn address(container: &str) -> String {
    Run::new("docker")
        .args([
            "container",
            "inspect",
            container,
            "--format",
            "{{.NetworkSettings.Networks.loko.IPAddress}}",
        ])
        .ok()
        .text()
        .to_owned()
}

/// `ctr` in a node, in a namespace of the tests' own: as containerd pulls for pods, hosts.toml and all.
fn ctr(node: &str, words: &str) -> Run {
    Run::new("docker")
        .args(["exec", node, "ctr", "--namespace", "e2e"])
        .words(words)
}

#[track_caller]
fn pull(node: &str, image: &str) -> Output {
    ctr(node, "images rm --sync").args([image]).any();
    ctr(node, "images pull --hosts-dir /etc/containerd/certs.d")
        .args([image])
        .any()
}

/// Puts an image that no node has into an upstream, and gives its digest.
#[track_caller]
fn publish(it: &Environment, upstream: &Upstream, path: &str, megabytes: usize) -> String {
    let node = it.node();
    let node = node.as_str();
    let seed = path.replace(['/', ':'], "-");
    let name = format!("docker.io/e2e/{seed}:1");
    import(&it.place, &name, &seed, megabytes);
    let tar = it.place.home.join(format!("{seed}.tar"));
    Run::new("docker")
        .args(["save", "--output"])
        .args([&tar])
        .args([&name])
        .ok();
    Run::new("docker")
        .args(["cp"])
        .args([&tar])
        .args([format!("{node}:/var/{seed}.tar")])
        .ok();
    ctr(node, &format!("images import /var/{seed}.tar")).ok();
    let target = format!("{}:5000/{path}", upstream.address);
    ctr(node, &format!("images push --plain-http {target} {name}")).ok();
    ctr(node, &format!("images rm --sync {name}")).ok();
    Run::new("docker")
        .args(["exec", node, "rm", &format!("/var/{seed}.tar")])
        .ok();
    Run::new("docker").args(["rmi", &name]).ok();
    let (repository, tag) = path.split_once(':').unwrap();
    let head = Run::new("curl")
        .words("--silent --show-error --fail --noproxy * --head")
        .args([
            "--header",
            "accept: application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json",
        ])
        .args([format!(
            "http://{}:5000/v2/{repository}/manifests/{tag}",
            upstream.address
        )])
        .ok();
    let digest = head.stdout.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("docker-content-digest")
            .then(|| value.trim().to_owned())
    });
    digest.unwrap()
}

#[track_caller]
fn has(node: &str, image: &str, digest: &str) {
    let listed = ctr(node, "images ls").ok();
    let line = listed
        .stdout
        .lines()
        .find(|line| line.starts_with(&format!("{image} ")));
    assert!(
        line.is_some_and(|line| line.contains(digest)),
        "{image} {digest}\n{listed}"
    );
}

fn mirrors(it: &Environment, hub: &Upstream, ghcr: Option<&Upstream>) {
    let source = |name: &str, url: &str, enabled: bool| {
        format!("      - {{name: {name}, url: \"http://{url}:5000\", enabled: {enabled}}}\n")
    };
    let ghcr = ghcr.map_or_else(
        || source("ghcr", "127.0.0.1", false),
        |ghcr| source("ghcr", &ghcr.address, true),
    );
    it.write(&format!(
        "{}  mirroring:\n    enabled: true\n    sources:\n{}{ghcr}",
        it.yaml,
        source("docker_hub", &hub.address, true),
    ));
    it.loko("create").ok();
    // A mirror that is a program of its own is not waited for by create: nodes ask the upstream until it is there.
    is_back(it);
}

pub(super) fn mirrored(suite: &Suite, it: &Environment) {
    it.up();
    tear_down();
    let [hub, ghcr] = UPSTREAMS.map(Upstream::start);
    let nodes = nodes(it);
    let x = publish(it, &hub, "library/x:1", 1);
    let y = publish(it, &ghcr, "user/y:1", 1);
    mirrors(it, &hub, Some(&ghcr));

    for (upstream, repository, image, digest) in [
        (&hub, "library/x", "docker.io/library/x:1", &x),
        (&ghcr, "user/y", "ghcr.io/user/y:1", &y),
    ] {
        let first = pull(&nodes[0], image);
        assert_eq!(first.code, Some(0), "{first}");
        has(&nodes[0], image, digest);
        is_held(it, image);
        for turn in 1..10 {
            let node = &nodes[turn % 3];
            let again = pull(node, image);
            assert_eq!(again.code, Some(0), "{again}");
            has(node, image, digest);
        }
        let gets = upstream.gets(repository);
        assert_eq!(
            gets.iter().copied().collect::<BTreeSet<_>>(),
            BTreeSet::from([1]),
            "{gets:?}"
        );
    }

    warmed(it, &hub);
    killed_meanwhile(it, &hub);

    // The mirror is away: nodes ask the upstream, at the address that its source was given.
    let z = publish(it, &hub, "library/z:1", 1);
    // With Zot it is the registry itself.
    let mirror = if is_zot(it) {
        "registry"
    } else {
        "registry-mirror-docker-hub"
    };
    let scale = |count: u8| {
        it.kubectl(&format!(
            "scale deployment --namespace loko-system {mirror} --replicas {count}"
        ))
        .ok();
    };
    scale(0);
    it.kubectl("wait --namespace loko-system --for=delete pod --timeout=60s --selector")
        .args([format!("app.kubernetes.io/component={mirror}")])
        .ok();
    if is_zot(it) {
        it.loko("registry status").ends_with(3).says("is not reached from");
    }
    let direct = pull(&nodes[1], "docker.io/library/z:1");
    assert_eq!(direct.code, Some(0), "{direct}");
    has(&nodes[1], "docker.io/library/z:1", &z);
    assert!(!hub.gets("library/z").is_empty());
    scale(1);
    it.kubectl("rollout status --namespace loko-system --timeout=120s")
        .args([format!("deployment/{mirror}")])
        .ok();

    // The upstream is away: what the mirror has is given.
    Run::new("docker").args(["stop", "--time", "1", hub.name]).ok();
    eventually(SOON, "a pull without the upstream", || {
        let pulled = pull(&nodes[2], "docker.io/library/x:1");
        if pulled.code == Some(0) {
            Ok(())
        } else {
            Err(pulled.to_string())
        }
    });
    has(&nodes[2], "docker.io/library/x:1", &x);
    Run::new("docker").args(["start", hub.name]).ok();
    let hub = Upstream {
        name: hub.name,
        address: address(hub.name),
    };

    // A source is switched off: nodes are no longer led to its mirror, so nobody gives them what it holds.
    mirrors(it, &hub, None);
    for node in &nodes {
        let file = "/etc/containerd/certs.d/ghcr.io/hosts.toml";
        assert_ne!(
            Run::new("docker").args(["exec", node, "test", "-e", file]).any().code,
            Some(0)
        );
    }
    let status = json(it, "status");
    assert_eq!(status["sources"].as_array().map(Vec::len), Some(1), "{status:#}");
    it.write(&it.yaml);
    it.loko("create").ok();
    suite.settled(it);
    tear_down();
}

/// Waits until a mirror lists an image: distribution answers while it still writes what it fetched.
#[track_caller]
fn is_held(it: &Environment, image: &str) {
    eventually(SOON, "a mirror that has it all", || {
        let rows = json(it, "repos");
        let name = image.trim_end_matches(":1");
        let found = rows
            .as_array()
            .is_some_and(|rows| rows.iter().any(|row| row["name"] == name));
        if found { Ok(()) } else { Err(format!("{rows:#}")) }
    });
}

/// What was fetched ahead of time is not fetched again when a node wants it.
fn warmed(it: &Environment, hub: &Upstream) {
    let image = "docker.io/library/warm:1";
    let digest = publish(it, hub, "library/warm:1", 1);
    let warmed = json(it, &format!("warm {image}"));
    assert_eq!(warmed[0]["digest"], digest.as_str(), "{warmed:#}");
    assert!(warmed[0]["bytes"].as_u64() > Some(1_000_000), "{warmed:#}");
    is_held(it, image);
    let pulled = pull(&nodes(it)[1], image);
    assert_eq!(pulled.code, Some(0), "{pulled}");
    has(&nodes(it)[1], image, &digest);
    let gets = hub.gets("library/warm");
    assert!(!gets.is_empty() && gets.iter().all(|&count| count == 1), "{gets:?}");
    it.loko("registry warm docker.io/library/none:1").ends_with(3);
}

/// The registry is killed while it fetches a large image, and gives it whole when it is back.
fn killed_meanwhile(it: &Environment, hub: &Upstream) {
    let image = "docker.io/library/large:1";
    let digest = publish(it, hub, "library/large:1", 150);
    let [first, second, _] = nodes(it);
    let holds = || {
        let du = Run::new("docker")
            .args(["exec", &first])
            .words("du --summarize --bytes")
            .args([DATA])
            .any();
        let bytes = du
            .text()
            .split_whitespace()
            .next()
            .and_then(|bytes| bytes.parse::<u64>().ok());
        bytes.unwrap_or_default()
    };
    let before = holds();
    let pulling = ctr(&second, "images pull --hosts-dir /etc/containerd/certs.d")
        .args([image])
        .start();
    eventually(SOON, "a mirror that fetches", || {
        if holds() > before + 1_000_000 {
            Ok(())
        } else {
            Err("nothing yet".to_owned())
        }
    });
    kill_it(it);
    // It may have come from the upstream, or not at all.
    pulling.wait();
    // The mirrors are back, and what they give is whole: containerd compares every digest, and the upstream's log would say
    // that it was asked by the node itself.
    is_back(it);
    let warmed = json(it, &format!("warm {image}"));
    assert_eq!(warmed[0]["digest"], digest.as_str(), "{warmed:#}");
    is_held(it, image);
    let asked: usize = hub.gets("library/large").iter().sum();
    let pulled = pull(&second, image);
    assert_eq!(pulled.code, Some(0), "{pulled}");
    has(&second, image, &digest);
    assert_eq!(
        hub.gets("library/large").iter().sum::<usize>(),
        asked,
        "the mirror has it"
    );
}
