//! The registry: who pushes to it and pulls from it, what it mirrors, and what outlives what. The same tests for both engines:
//! distribution always, Zot where the engine has its image. Upstreams are registries on this machine; nothing is asked of the
//! world's.

mod clients;
mod conformance;
mod mirrors;
mod trouble;

use std::path::Path;

use serde_json::Value;

pub(crate) use self::mirrors::tear_down;
use crate::environment::{Environment, Place};
use crate::run::{Output, Run};
use crate::suite::{self, Suite};
use crate::{Test, Topic};

/// The topic of an engine, whose environment is a field of [`Suite`], with what its tests need besides their own programs.
macro_rules! topic {
    ($name:literal, $field:ident $(, $need:literal)?) => {
        Topic {
            name: $name,
            tests: &[
                Test("host_nodes_and_pods_reach_it", &[$($need,)? "kubectl"], |suite| reached(&suite.$field)),
                Test(
                    "a_push_needs_trust_and_a_pod_runs_what_was_pushed",
                    &[$($need,)? "kubectl", "curl"],
                    |suite| pushed(&suite.$field),
                ),
                Test("images_go_in_are_shown_and_go_out", &[$($need)?], |suite| loaded(suite, &suite.$field)),
                Test("crane_pushes_pulls_copies_and_deletes", &[$($need,)? "crane"], |suite| {
                    clients::crane(&suite.$field);
                }),
                Test("skopeo_copies_and_deletes", &[$($need,)? "skopeo"], |suite| clients::skopeo(&suite.$field)),
                Test("oras_pushes_pulls_copies_and_deletes", &[$($need,)? "oras"], |suite| {
                    clients::oras(&suite.$field);
                }),
                Test("a_chart_is_pushed_and_pulled", &[$($need,)? "helm"], |suite| clients::chart(&suite.$field)),
                Test("what_the_specification_asks_for", &[$($need,)? "oci-conformance"], |suite| {
                    conformance::suite(&suite.$field);
                }),
                Test(
                    "a_slow_push_is_not_cut_off_while_another_authority_in_a_node_is_replaced",
                    &[$($need,)? "curl"],
                    |suite| clients::slow(suite, &suite.$field),
                ),
                Test(
                    "killed_during_a_push_it_has_what_it_had_and_takes_the_next",
                    &[$($need,)? "curl", "crane"],
                    |suite| trouble::killed(&suite.$field),
                ),
                Test("create_waits_for_a_node_that_reaches_it_late", &[$($need)?], |suite| {
                    trouble::late(suite, &suite.$field);
                }),
                Test(
                    "plain_names_come_through_mirrors_each_blob_once",
                    &[$($need,)? "kubectl", "curl"],
                    |suite| mirrors::mirrored(suite, &suite.$field),
                ),
                Test("switched_off_and_on_again_it_has_its_images", &[$($need,)? "kubectl"], |suite| {
                    trouble::switched(suite, &suite.$field);
                }),
                Test("what_was_pushed_outlives_nodes_and_goes_with_a_purge", &[$($need)?], |suite| {
                    outlives(&suite.$field);
                }),
            ],
        }
    };
}

pub(crate) const TOPIC: Topic = topic!("registry", registry);
pub(crate) const ZOT: Topic = topic!("zot", zot, "ghcr.io/project-zot/zot:v2.1.20");

/// Where the authority that signs the registry's certificate lies in a node.
const AUTHORITY: &str = "/etc/containerd/certs.d/.loko/ca.crt";
const IMAGE: &str = "mccutchen/go-httpbin:2.25.0";

/// With distribution.
pub(crate) fn environment(place: &Place) -> Environment {
    let yaml = yaml(
        "registry",
        "127.0.0.31",
        "distribution",
        "{image: registry, version: \"3\"}",
    );
    Environment::new(place, "e2e-registry", "registry.loko.test", "127.0.0.31", yaml)
}

/// With Zot, which is what an environment has unless it says otherwise.
pub(crate) fn zot(place: &Place) -> Environment {
    let yaml = yaml("zot", "127.0.0.32", "zot", "{version: \"v2.1.20\"}");
    Environment::new(place, "e2e-zot", "zot.loko.test", "127.0.0.32", yaml)
}

fn yaml(name: &str, address: &str, engine: &str, component: &str) -> String {
    format!(
        "name: e2e-{name}
network:
  ip: {address}
  domain: {name}.loko.test
cluster:
  nodes: {{workers: 2}}
components:
  haproxy: {{version: \"3.0.11\"}}
  metrics-server: {{enabled: false}}
  registry: {component}
registry:
  engine: {engine}
"
    )
}

fn is_zot(environment: &Environment) -> bool {
    environment.yaml.contains("engine: zot")
}

fn host(environment: &Environment) -> String {
    environment.host("cr")
}

fn nodes(environment: &Environment) -> [String; 3] {
    ["control-plane", "worker", "worker2"].map(|name| format!("{}-{name}", environment.cluster()))
}

fn is_root() -> bool {
    Run::new("id").words("-u").ok().text() == "0"
}

#[track_caller]
fn json(environment: &Environment, words: &str) -> Value {
    environment.loko(&format!("registry {words} -o json")).ok().json()
}

#[track_caller]
fn load(environment: &Environment, name: &str) -> Value {
    let name = format!("{}/{name}", host(environment));
    Run::new("docker").args(["tag", IMAGE, &name]).ok();
    let loaded = json(environment, &format!("load {name}"));
    Run::new("docker").args(["rmi", &name]).ok();
    loaded[0].clone()
}

fn reached(it: &Environment) {
    it.up();
    // At once: create has waited for every node.
    for node in nodes(it) {
        Run::new("docker")
            .args(["exec", &node])
            .words("curl --silent --show-error --fail --noproxy * --cacert")
            .args([AUTHORITY, "https://10.96.0.14:5000/v2/"])
            .ok();
    }
    let status = json(it, "status");
    for from in ["host", "node", "pod"] {
        assert_eq!(status["reached"][from]["ok"], true, "{status:#}");
    }
    assert_eq!(status["host"], host(it).as_str());
    // Where Tilt, Skaffold and others look for it (KEP-1755).
    let hosting = it
        .kubectl("get configmap --namespace kube-public local-registry-hosting --output json")
        .ok()
        .json();
    let text = hosting["data"]["localRegistryHosting.v1"].as_str().unwrap_or_default();
    assert!(text.contains(&format!("host: \"{}\"", host(it))), "{hosting:#}");
}

/// Untrusts whatever happens.
struct Trusted<'a>(&'a Environment);

impl Drop for Trusted<'_> {
    fn drop(&mut self) {
        let _ = self.0.loko("certs untrust").any();
        let _ = Run::new("docker")
            .args(["rmi", &format!("{}/app:1", host(self.0))])
            .any();
    }
}

fn pushed(it: &Environment) {
    it.up();
    if !is_root() {
        it.loko("certs trust").ends_with(6).says("sudo install");
        return;
    }
    let image = format!("{}/app:1", host(it));
    Run::new("docker").args(["tag", IMAGE, &image]).ok();
    let push = || Run::new("docker").args(["push", &image]);
    let refused = |output: &Output| {
        assert_ne!(output.code, Some(0), "{output}");
        output.says("certificate signed by unknown authority");
    };
    refused(&push().any());
    let guard = Trusted(it);
    it.loko("certs trust").ok();
    it.loko("certs trust").ok().says("nothing to do");
    push().ok();
    // Whoever asks the system's store trusts it as well.
    Run::new("curl")
        .words("--silent --show-error --fail --noproxy * --resolve")
        .args([
            format!("{}:443:{}", host(it), it.address),
            format!("https://{}/v2/", host(it)),
        ])
        .ok();
    drop(guard);
    Run::new("docker").args(["tag", IMAGE, &image]).ok();
    refused(&push().any());
    Run::new("docker").args(["rmi", &image]).ok();

    it.kubectl("run app --namespace default --port 8080 --image")
        .args([&image])
        .ok();
    it.kubectl("wait --namespace default --for=condition=Ready --timeout=120s pod/app")
        .ok();
    it.kubectl("delete pod --namespace default app --now").ok();
}

fn loaded(suite: &Suite, it: &Environment) {
    it.up();
    let first = load(it, "me/app:1");
    // Zot finds layers that another repository has.
    assert!(is_zot(it) || first["sent"].as_u64() > Some(1), "{first:#}");
    let again = load(it, "me/app:2");
    assert_eq!(again["sent"], 1, "all but the manifest is there: {again:#}");
    assert_eq!(json(it, "tags me/app"), serde_json::json!(["1", "2"]));
    assert_eq!(json(it, "tags me/app --limit 1"), serde_json::json!(["1"]));
    assert_eq!(json(it, "tags me/app --after 1"), serde_json::json!(["2"]));
    let shown = json(it, "show me/app:1");
    assert_eq!(shown["digest"], first["digest"]);
    assert_eq!(shown["variants"].as_array().map(Vec::len), Some(1), "{shown:#}");
    let listed = |words: &str| {
        let rows = json(it, words);
        let rows = rows.as_array().cloned().unwrap_or_default();
        rows.iter()
            .filter_map(|row| row["name"].as_str().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    assert!(listed("repos --local").contains(&"me/app".to_owned()));

    it.loko("registry show me/none:1")
        .ends_with(1)
        .says("is not in the registry");
    it.loko("registry rm me/app:1").ends_with(1).says("--yes");
    it.loko("registry rm --yes me/none:1").ends_with(1).says("me/none:1");
    it.loko("registry purge --yes me/app").ok();
    assert!(!listed("repos").contains(&"me/app".to_owned()));

    // A layer that nothing else has, so that something is to be freed.
    let image = format!("{}/me/unique:1", host(it));
    import(&it.place, &image, "unique", 1);
    json(it, &format!("load {image}"));
    it.loko(&format!("registry rm --yes {image}")).ok();
    let before = json(it, "status")["disk"].as_u64();
    let freed = json(it, "prune");
    assert_eq!(json(it, "status")["reached"]["node"]["ok"], true);
    if is_zot(it) {
        // It keeps for an hour what has just lost its last tag.
        assert!(freed["after"].as_u64().is_some(), "{freed:#}");
    } else {
        assert!(freed["after"].as_u64() < before, "{freed:#} {before:?}");
        // What was freed is sent anew.
        let anew = json(it, &format!("load {image}"));
        assert!(anew[0]["sent"].as_u64() > Some(1), "{anew:#}");
    }
    suite.settled(it);

    // Into the nodes instead: no pull is needed, nor possible, there.
    json(it, &format!("load --nodes {image}"));
    for node in nodes(it) {
        let listed = Run::new("docker")
            .args(["exec", &node])
            .words("ctr --namespace k8s.io images ls --quiet")
            .ok();
        assert!(listed.stdout.lines().any(|name| name == image), "{image}\n{listed}");
    }
    Run::new("docker").args(["rmi", &image]).ok();
    it.loko("registry load --nodes no/such:image")
        .ends_with(2)
        .says("docker pull");
}

/// Makes an image on the engine whose one layer nobody else has, of so many million bytes that do not compress.
#[track_caller]
fn import(place: &Place, name: &str, seed: &str, megabytes: usize) {
    let directory = place.home.join("images");
    fs_err::create_dir_all(&directory).unwrap();
    random(&directory.join(seed), megabytes);
    let tar = directory.join(format!("{seed}.tar"));
    Run::new("tar")
        .words("--create --directory")
        .args([&directory])
        .args(["--file"])
        .args([&tar])
        .args([seed])
        .ok();
    Run::new("docker").args(["import"]).args([&tar]).args([name]).ok();
    fs_err::remove_file(directory.join(seed)).unwrap();
    fs_err::remove_file(tar).unwrap();
}

/// Writes a file of so many million bytes that nobody else has.
#[track_caller]
fn random(file: &Path, megabytes: usize) {
    Run::new("dd")
        .words("if=/dev/urandom bs=1000000 status=none")
        .args([format!("count={megabytes}"), format!("of={}", file.display())])
        .ok();
}

fn outlives(it: &Environment) {
    it.up();
    let digest = load(it, "kept/app:1")["digest"].clone();
    it.loko("create --recreate --yes").ok();
    assert_eq!(json(it, "show kept/app:1")["digest"], digest);

    let volume = format!("{}-registry", it.cluster());
    let listed = format!("volume {volume}");
    it.loko("destroy --yes").ok().says("kept: the registry's images");
    assert!(suite::ours().contains(&listed));
    let tag = if is_zot(it) {
        "*/kept/app/index.json"
    } else {
        "*/kept/app/_manifests/tags/1/current/link"
    };
    let kept = Run::new("docker")
        .words("run --rm --label dev.loko.test=e2e --entrypoint find --volume")
        .args([&format!("{volume}:/data"), "registry:3", "/data", "-path", tag])
        .ok();
    assert!(!kept.text().is_empty());
    it.loko("destroy --yes --purge").ok();
    assert!(!suite::ours().contains(&listed));
}
