//! What befalls the registry: it is killed, a node does not reach it, it is switched off.

use std::collections::BTreeSet;
use std::time::Duration;

use super::clients::{Upload, trusting};
use super::{host, json, load, nodes, random};
use crate::environment::Environment;
use crate::run::{Run, eventually};
use crate::suite::Suite;

const SOON: Duration = Duration::from_mins(2);

/// Ends every program of the registry as a crash does; the kubelet starts them again.
pub(super) fn kill_it(it: &Environment) {
    let kill = "kill -KILL $(pidof registry zot)";
    Run::new("docker").args(["exec", &it.node(), "sh", "-c", kill]).ok();
}

/// Waits until it and its mirrors answer from everywhere.
#[track_caller]
pub(super) fn is_back(it: &Environment) {
    eventually(SOON, "a registry and mirrors that answer", || {
        let status = it.loko("registry status -o json").any();
        if status.code != Some(0) {
            return Err(status.to_string());
        }
        let sources = status.json()["sources"].as_array().cloned().unwrap_or_default();
        let ok = sources.iter().all(|source| source["mirror"]["ok"] == true);
        if ok { Ok(()) } else { Err(status.to_string()) }
    });
}

pub(super) fn killed(it: &Environment) {
    it.up();
    let digest = load(it, "kept/before:1")["digest"].clone();
    let file = it.place.home.join("interrupted");
    random(&file, 20);
    let upload = Upload::begin(it, "interrupted", &file);
    let put = upload.put("1M").start();
    eventually(SOON, "an upload that is on its way", || {
        let find = "find /var/local/loko-registry -path '*upload*' -type f -size +1000k";
        let found = Run::new("docker").args(["exec", &it.node(), "sh", "-c", find]).ok();
        if found.text().is_empty() {
            Err(found.to_string())
        } else {
            Ok(())
        }
    });
    kill_it(it);
    let put = put.wait();
    assert_ne!(put.code, Some(0), "{put}");

    is_back(it);
    assert!(!upload.is_there(), "half of it is nothing");
    // What was there is whole, layer by layer.
    assert_eq!(json(it, "show kept/before:1")["digest"], digest);
    let image = format!("{}/kept/before:1", host(it));
    trusting(it, "crane").words("validate --remote").args([&image]).ok();
    let again = Upload::begin(it, "interrupted", &file);
    again.put("1G").ok();
    assert!(again.is_there());
    fs_err::remove_file(&file).unwrap();
}

/// A node whose rules for the registry's address come later than others'.
pub(super) fn late(suite: &Suite, it: &Environment) {
    it.up();
    let node = &nodes(it)[2];
    let inside = |words: &str| Run::new("docker").args(["exec", node]).words(words).ok();
    // Something to do for create.
    inside(&format!("rm /etc/containerd/certs.d/{}/hosts.toml", host(it)));
    inside("ip route add unreachable 10.96.0.14/32");
    // As JSON, which tells all that is waited for.
    let create = it.loko("create -o json").start();
    create.writes(SOON, "that the node does not reach it", |line| {
        line.contains(node.as_str()) && line.contains("does not reach the registry")
    });
    inside("ip route del unreachable 10.96.0.14/32");
    let create = create.wait();
    assert_eq!(create.code, Some(0), "{create}");
    suite.settled(it);
}

/// Off and on while the cluster runs, by the file and by the option.
pub(super) fn switched(suite: &Suite, it: &Environment) {
    it.up();
    let digest = load(it, "kept/switched:1")["digest"].clone();
    let hosts = format!("/etc/containerd/certs.d/{}/hosts.toml", host(it));
    let told = || {
        let files = "find /etc/containerd/certs.d -name hosts.toml";
        let found = Run::new("docker").args(["exec", &it.node()]).words(files).ok();
        found.text().lines().map(str::to_owned).collect::<BTreeSet<String>>()
    };
    let objects = || {
        it.kubectl(
            "get deployment,service,ingress --all-namespaces --output name --selector app.kubernetes.io/name=registry",
        )
        .ok()
    };
    let before = told();
    assert!(before.contains(&hosts), "{before:?}");
    it.loko("create --disable-registry").ok();
    // No node is led to it any more, neither by its own name nor as a mirror of another.
    assert_eq!(told(), BTreeSet::new());
    assert_eq!(objects().text(), "");
    // The file says the same as the option: there is nothing to do.
    it.write(
        &it.yaml
            .replace("registry:\n  engine", "registry:\n  enabled: false\n  engine"),
    );
    it.loko("registry status").ends_with(2).says("has no registry");
    // Nodes need none to be given an image.
    it.loko("registry load --nodes").args([super::IMAGE]).ok();
    suite.settled(it);
    it.write(&it.yaml);
    it.loko("create").ok();
    assert_eq!(told(), before);
    assert_eq!(json(it, "show kept/switched:1")["digest"], digest);
}
