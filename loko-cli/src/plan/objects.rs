//! Changes of objects in the cluster, of images in its nodes, and of what nodes know of registries.

use std::collections::BTreeMap;

use loko_cluster::ObjectKey;
use loko_cluster::difference::Difference;
use loko_cluster::plan::{LiveObject, ObjectChange, ObjectPlan};
use loko_cluster::replace::Dependents;
use loko_registry::HostChanges;

use super::{Action, Change, Effect};

/// Kinds whose change makes their pods anew.
const WITH_PODS: [&str; 3] = ["Deployment", "StatefulSet", "DaemonSet"];

/// Changes of objects, made by `step`. `differences`: how those that are updated would change, where the API server could say.
pub(crate) fn objects(
    step: &'static str,
    plan: &ObjectPlan,
    live: &BTreeMap<ObjectKey, LiveObject>,
    differences: &BTreeMap<ObjectKey, Difference>,
) -> Vec<Change> {
    let of = |change: &ObjectChange| {
        let key = change.key();
        let what = key.to_string();
        match change {
            ObjectChange::Create(_) => Change::live(step, Action::Create, what, "it is not there"),
            ObjectChange::Update(_) if differences.contains_key(&key) => updated(step, &key, &differences[&key]),
            ObjectChange::Update(_) if WITH_PODS.contains(&key.kind.as_str()) => {
                let reason = "it was applied from something else; its pods are made anew";
                Change::live(step, Action::Update, what, reason).at(Effect::RestartsComponent)
            }
            ObjectChange::Update(_) => Change::live(step, Action::Update, what, "it was applied from something else"),
            ObjectChange::Delete(_) => {
                let part = live.get(&key).map_or("something", |object| object.part.as_str());
                Change::live(step, Action::Remove, what, format!("{part} does not want it any more"))
            }
        }
    };
    plan.changes().map(of).collect()
}

fn updated(step: &'static str, key: &ObjectKey, difference: &Difference) -> Change {
    let change = |reason| Change::live(step, Action::Update, key.to_string(), reason);
    let fields = difference.summary();
    match difference.replaced {
        Some(Dependents::Go) if WITH_PODS.contains(&key.kind.as_str()) => {
            let reason = format!("{fields}; that cannot change in place: it and its pods are made anew");
            change(reason).at(Effect::RestartsComponent)
        }
        _ if difference.renews_pods => {
            change(format!("{fields}; its pods are made anew")).at(Effect::RestartsComponent)
        }
        Some(Dependents::Stay) => change(format!(
            "{fields}; that cannot change in place: it is made anew, and its pods stay"
        )),
        Some(Dependents::Go) => change(format!("{fields}; that cannot change in place: it is made anew")),
        None => change(fields),
    }
}

/// Images that are streamed into nodes, each with the nodes that lack it.
pub(crate) fn images(step: &'static str, loads: &[(String, Vec<String>)]) -> Vec<Change> {
    let loads = loads.iter();
    loads
        .map(|(image, nodes)| {
            let reason = format!("the engine has it, {} not", does(nodes));
            Change::live(step, Action::Create, format!("image {image}"), reason)
        })
        .collect()
}

fn does(nodes: &[String]) -> String {
    match nodes {
        [one] => format!("{one} does"),
        many => format!("{} nodes do", many.len()),
    }
}

/// Files about registries in one node. `authority`: it knows another than ours, or none.
pub(crate) fn registries(node: &str, changes: &HostChanges, authority: bool) -> Vec<Change> {
    let file = |host: &String, action, reason: &str| {
        Change::live("registry", action, format!("hosts.toml of {host} in {node}"), reason)
    };
    let written = changes
        .write
        .keys()
        .map(|host| file(host, Action::Update, "containerd reads it at each pull"));
    let removed = changes
        .remove
        .iter()
        .map(|host| file(host, Action::Remove, "it is no longer mirrored"));
    let authority = authority.then(|| {
        let what = format!("authority in {node}");
        Change::live("registry", Action::Update, what, "containerd trusts the registry by it")
    });
    written.chain(removed).chain(authority).collect()
}

#[cfg(test)]
mod tests {
    use loko_cluster::{Manifest, plan};

    use super::*;
    use crate::plan::Plan;

    fn manifest(kind: &str, name: &str) -> Manifest {
        let yaml =
            format!("apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: loko-workloads}}\n");
        Manifest::parse_all(&yaml).unwrap().remove(0)
    }

    #[test]
    fn a_deployment_that_changes_restarts_and_what_goes_says_whose_it_was() {
        let there = |manifest: &Manifest, part: &str| {
            let object = LiveObject {
                part: part.to_owned(),
                hash: "another".to_owned(),
            };
            (manifest.key(), object)
        };
        let live = BTreeMap::from([
            there(&manifest("Deployment", "web"), "web"),
            there(&manifest("ConfigMap", "web"), "web"),
            there(&manifest("Deployment", "old"), "cache"),
        ]);
        let wanted = vec![
            manifest("Deployment", "web"),
            manifest("ConfigMap", "web"),
            manifest("Deployment", "new"),
        ];
        let changes = objects("apply", &plan::objects(wanted, &live), &live, &BTreeMap::new());
        insta::assert_snapshot!(Plan::new("dev", changes, Vec::new()).text(), @"
        ACTION  WHAT                           EFFECT       WHY
        update  Deployment loko-workloads/web  restarts it  it was applied from something else; its pods are made anew
        update  ConfigMap loko-workloads/web   live         it was applied from something else
        create  Deployment loko-workloads/new  live         it is not there
        remove  Deployment loko-workloads/old  live         cache does not want it any more
        ");
    }

    #[test]
    fn what_is_known_of_an_update_is_said() {
        let key = |kind: &str| manifest(kind, "web").key();
        let of = |renews_pods, replaced| Difference {
            fields: vec!["spec.replicas: 1 → 2".to_owned()],
            renews_pods,
            replaced,
        };
        let changes = [
            updated("apply", &key("Deployment"), &of(false, None)),
            updated("apply", &key("Deployment"), &of(true, None)),
            updated("apply", &key("StatefulSet"), &of(false, Some(Dependents::Stay))),
            updated("apply", &key("Deployment"), &of(false, Some(Dependents::Go))),
            updated("apply", &key("ConfigMap"), &of(false, Some(Dependents::Go))),
        ];
        insta::assert_snapshot!(Plan::new("dev", changes.to_vec(), Vec::new()).text());
    }

    #[test]
    fn images_are_named_with_who_lacks_them() {
        let loads = [
            ("a:1".to_owned(), vec!["node".to_owned()]),
            ("b:1".to_owned(), vec!["node".to_owned(), "node2".to_owned()]),
        ];
        let reasons: Vec<String> = images("images", &loads)
            .into_iter()
            .map(|change| change.reason)
            .collect();
        assert_eq!(
            reasons,
            ["the engine has it, node does not", "the engine has it, 2 nodes do not"]
        );
    }
}
