//! What must happen to the objects of a cluster: those wanted against those there.

use std::collections::{BTreeMap, BTreeSet};

use loko_engine::container::short_hash;
use serde::Serialize;

use crate::manifest::{Manifest, ObjectKey};

/// The annotation that holds the hash of what was applied.
pub const SPEC: &str = "dev.loko.spec";

/// What is known of an object that is there and carries the label of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveObject {
    /// The part it was applied for.
    pub part: String,
    /// Hash of what was applied; empty where the annotation is gone.
    pub hash: String,
}

/// One change of one object.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectChange {
    /// It is not there.
    Create(Manifest),
    /// It was applied from something else.
    Update(Manifest),
    /// It is there and no longer wanted.
    Delete(ObjectKey),
}

impl ObjectChange {
    /// The object that it changes.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        match self {
            Self::Create(manifest) | Self::Update(manifest) => manifest.key(),
            Self::Delete(key) => key.clone(),
        }
    }

    /// The part that it is for, where it is not a deletion.
    #[must_use]
    pub fn part(&self) -> Option<&str> {
        match self {
            Self::Create(manifest) | Self::Update(manifest) => manifest.part(),
            Self::Delete(_) => None,
        }
    }

    /// `create`, `update` or `delete`.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Update(_) => "update",
            Self::Delete(_) => "delete",
        }
    }
}

/// The changes in the order in which they can be made.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ObjectPlan {
    /// Namespaces and definitions of kinds: everything else may stand on them.
    pub foundations: Vec<ObjectChange>,
    /// All others that are wanted; among each other in no order.
    pub objects: Vec<ObjectChange>,
    /// What goes.
    pub deletions: Vec<ObjectChange>,
}

impl ObjectPlan {
    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes().next().is_none()
    }

    /// Takes out what is created and updated for the given parts, by part: what has to wait for something.
    pub fn set_aside(&mut self, parts: &BTreeSet<String>) -> BTreeMap<String, Vec<ObjectChange>> {
        let mut aside: BTreeMap<String, Vec<ObjectChange>> = BTreeMap::new();
        let all = std::mem::take(&mut self.objects);
        for change in all {
            match change.part().filter(|part| parts.contains(*part)).map(str::to_owned) {
                Some(part) => aside.entry(part).or_default().push(change),
                None => self.objects.push(change),
            }
        }
        aside
    }

    /// Takes out what is created and updated and of a kind that `which` says yes to.
    pub fn take(&mut self, which: impl Fn(&Manifest) -> bool) -> Vec<ObjectChange> {
        let is_taken = |change: &ObjectChange| match change {
            ObjectChange::Create(manifest) | ObjectChange::Update(manifest) => which(manifest),
            ObjectChange::Delete(_) => false,
        };
        let (taken, left) = std::mem::take(&mut self.objects).into_iter().partition(is_taken);
        self.objects = left;
        taken
    }

    /// All changes in order.
    pub fn changes(&self) -> impl Iterator<Item = &ObjectChange> {
        self.foundations.iter().chain(&self.objects).chain(&self.deletions)
    }
}

/// Marks an object with the hash of itself, so that the next plan sees whether it is as wanted.
#[must_use]
pub fn stamp(manifest: Manifest) -> Manifest {
    let hash = short_hash(manifest.value().to_string().as_bytes());
    manifest.with_annotation(SPEC, &hash)
}

/// Compares what is wanted (stamped here) with what is there. An object without our label is not in `live`, and so never
/// deleted. A persistent volume claim is never deleted: data goes only when the user says so.
#[must_use]
pub fn objects(wanted: Vec<Manifest>, live: &BTreeMap<ObjectKey, LiveObject>) -> ObjectPlan {
    let mut plan = ObjectPlan::default();
    let mut keys = BTreeSet::new();
    for manifest in wanted {
        let manifest = stamp(manifest);
        let key = manifest.key();
        let change = match live.get(&key) {
            None => Some(ObjectChange::Create(manifest.clone())),
            Some(there) if Some(there.hash.as_str()) != manifest.annotation(SPEC) => {
                Some(ObjectChange::Update(manifest.clone()))
            }
            Some(_) => None,
        };
        if let Some(change) = change {
            if matches!(key.kind.as_str(), "Namespace" | "CustomResourceDefinition") {
                plan.foundations.push(change);
            } else {
                plan.objects.push(change);
            }
        }
        keys.insert(key);
    }
    let gone = live
        .keys()
        .filter(|key| !keys.contains(*key) && key.kind != "PersistentVolumeClaim");
    plan.deletions = gone.cloned().map(ObjectChange::Delete).collect();
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(kind: &str, name: &str, extra: &str) -> Manifest {
        let yaml = format!("apiVersion: v1\nkind: {kind}\nmetadata: {{name: {name}}}\n{extra}");
        Manifest::parse_all(&yaml).unwrap().remove(0).of_part("p")
    }

    fn live(manifests: &[Manifest]) -> BTreeMap<ObjectKey, LiveObject> {
        manifests
            .iter()
            .map(|manifest| {
                let hash = stamp(manifest.clone()).annotation(SPEC).unwrap().to_owned();
                (manifest.key(), LiveObject { part: "p".into(), hash })
            })
            .collect()
    }

    #[test]
    fn what_is_as_wanted_is_left_alone() {
        let wanted = vec![manifest("ConfigMap", "a", "data: {x: '1'}")];
        assert!(objects(wanted.clone(), &live(&wanted)).is_empty());
    }

    #[test]
    fn foundations_come_first_and_deletions_last() {
        let there = live(&[
            manifest("Secret", "old", ""),
            manifest("ConfigMap", "a", "data: {x: '1'}"),
        ]);
        let plan = objects(
            vec![
                manifest("ConfigMap", "a", "data: {x: '2'}"),
                manifest("Namespace", "n", ""),
                manifest("Pod", "b", ""),
            ],
            &there,
        );
        let steps: Vec<String> = plan
            .changes()
            .map(|change| format!("{} {}", change.verb(), change.key()))
            .collect();
        assert_eq!(
            steps,
            [
                "create Namespace n",
                "update ConfigMap a",
                "create Pod b",
                "delete Secret old"
            ]
        );
    }

    #[test]
    fn what_has_to_wait_is_set_aside() {
        let other = manifest("ConfigMap", "b", "").of_part("q");
        let mut plan = objects(vec![manifest("ConfigMap", "a", ""), other], &BTreeMap::new());
        let aside = plan.set_aside(&BTreeSet::from(["q".to_owned(), "r".to_owned()]));
        assert_eq!(
            plan.changes()
                .map(ObjectChange::key)
                .map(|key| key.name)
                .collect::<Vec<_>>(),
            ["a"]
        );
        assert_eq!(aside.into_keys().collect::<Vec<_>>(), ["q"]);
        let taken = plan.take(|manifest| manifest.key().name == "a");
        assert_eq!(taken.len(), 1);
        assert!(plan.is_empty());
    }

    #[test]
    fn claims_on_volumes_outlive_what_asked_for_them() {
        let there = live(&[manifest("PersistentVolumeClaim", "data", "")]);
        assert!(objects(Vec::new(), &there).is_empty());
    }
}
