//! Marks of a node that is there already: what to change, and how.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::api::core::v1 as core;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{CONTROL_PLANE_TAINT, NodeMarks, RUNS_COMPONENTS, RUNS_WORKLOADS};
use crate::kubeadm::Taint;

/// Annotation of a node: the keys of the labels that loko.yaml gave it, sorted, with commas between. What is in it and no
/// longer in loko.yaml is removed; labels that somebody set by hand are not in it, and stay.
pub const MANAGED_LABELS: &str = "dev.loko.labels";

/// What is seen on a node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ObservedMarks {
    /// All labels.
    pub labels: BTreeMap<String, String>,
    /// The keys in [`MANAGED_LABELS`]; `None` where the annotation is missing, as on a node that has just joined.
    pub managed: Option<BTreeSet<String>>,
    /// All taints, those of Kubernetes' own controllers among them.
    pub taints: Vec<core::Taint>,
}

/// One difference, as a plan shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MarkChange {
    /// A label is new or has another value.
    SetLabel {
        /// Its key.
        key: String,
        /// Its new value.
        value: String,
    },
    /// A label of loko.yaml is no longer there.
    RemoveLabel {
        /// Its key.
        key: String,
    },
    /// Pods that do not tolerate it stay away from now on; those that run stay.
    AddTaint {
        /// `key=value:effect`, as kubectl writes it.
        taint: String,
    },
    /// Pods are no longer kept away.
    RemoveTaint {
        /// See [`MarkChange::AddTaint`].
        taint: String,
    },
}

impl fmt::Display for MarkChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetLabel { key, value } => write!(f, "label {key}={value}"),
            Self::RemoveLabel { key } => write!(f, "remove the label {key}"),
            Self::AddTaint { taint } => write!(f, "taint {taint}"),
            Self::RemoveTaint { taint } => write!(f, "remove the taint {taint}"),
        }
    }
}

impl ObservedMarks {
    /// Reads them off a node.
    #[must_use]
    pub fn of(node: &core::Node) -> Self {
        let annotations = node.metadata.annotations.as_ref();
        let managed = annotations.and_then(|annotations| annotations.get(MANAGED_LABELS));
        let keys = |list: &String| {
            list.split(',')
                .filter(|key| !key.is_empty())
                .map(str::to_owned)
                .collect()
        };
        Self {
            labels: node.metadata.labels.clone().unwrap_or_default(),
            managed: managed.map(keys),
            taints: node
                .spec
                .as_ref()
                .and_then(|spec| spec.taints.clone())
                .unwrap_or_default(),
        }
    }

    /// The labels that go: ours that are not wanted any more. Without the annotation only the two that nobody else sets.
    fn stale(&self, wanted: &NodeMarks) -> Vec<&str> {
        let own = [RUNS_COMPONENTS, RUNS_WORKLOADS].into_iter();
        let managed = self.managed.iter().flatten().map(String::as_str);
        let keys: BTreeSet<&str> = own.chain(managed).collect();
        let stale = |key: &&str| self.labels.contains_key(*key) && !wanted.labels.contains_key(*key);
        keys.into_iter().filter(stale).collect()
    }

    /// The taints that are ours to give and take: that of control planes alone.
    fn own_taints(&self) -> impl Iterator<Item = &core::Taint> {
        self.taints.iter().filter(|taint| taint.key == CONTROL_PLANE_TAINT)
    }
}

/// The differences between a node and what it should be, sorted; none where nothing is to be done.
#[must_use]
pub fn changes(observed: &ObservedMarks, wanted: &NodeMarks) -> Vec<MarkChange> {
    let set = wanted
        .labels
        .iter()
        .filter(|(key, value)| observed.labels.get(*key) != Some(value))
        .map(|(key, value)| MarkChange::SetLabel {
            key: key.clone(),
            value: value.clone(),
        });
    let removed = observed
        .stale(wanted)
        .into_iter()
        .map(|key| MarkChange::RemoveLabel { key: key.to_owned() });
    let had: BTreeSet<String> = observed.own_taints().map(observed_text).collect();
    let want: BTreeSet<String> = wanted.taints.iter().map(text).collect();
    let added = want
        .difference(&had)
        .map(|taint| MarkChange::AddTaint { taint: taint.clone() });
    let gone = had
        .difference(&want)
        .map(|taint| MarkChange::RemoveTaint { taint: taint.clone() });
    let mut all: Vec<MarkChange> = set.chain(removed).chain(added).chain(gone).collect();
    all.sort_unstable();
    all
}

/// The changes as a JSON merge patch (RFC 7386) of the node; `None` where the node is as it should be, its annotation
/// included. A merge patch replaces the list of taints as a whole; it then carries `version`, the `resourceVersion` of what was
/// observed, so that the API refuses it where a controller has set a taint in between.
#[must_use]
pub fn patch(observed: &ObservedMarks, wanted: &NodeMarks, version: Option<&str>) -> Option<Value> {
    let changes = changes(observed, wanted);
    let managed: BTreeSet<String> = wanted.labels.keys().cloned().collect();
    if changes.is_empty() && observed.managed.as_ref() == Some(&managed) {
        return None;
    }
    let mut labels = Map::new();
    let mut taints_differ = false;
    for change in changes {
        match change {
            MarkChange::SetLabel { key, value } => {
                labels.insert(key, Value::String(value));
            }
            MarkChange::RemoveLabel { key } => {
                labels.insert(key, Value::Null);
            }
            MarkChange::AddTaint { .. } | MarkChange::RemoveTaint { .. } => taints_differ = true,
        }
    }
    let list = managed.into_iter().collect::<Vec<_>>().join(",");
    let mut patch = json!({"metadata": {"annotations": {MANAGED_LABELS: list}, "labels": labels}});
    if taints_differ {
        if let Some(version) = version {
            patch["metadata"]["resourceVersion"] = json!(version);
        }
        let others = observed.taints.iter().filter(|taint| taint.key != CONTROL_PLANE_TAINT);
        let ours = wanted
            .taints
            .iter()
            .map(|taint| json!({"key": taint.key, "value": taint.value, "effect": taint.effect}));
        let list: Vec<Value> = others.map(|taint| json!(taint)).chain(ours).collect();
        patch["spec"] = json!({"taints": list});
    }
    Some(patch)
}

fn text(taint: &Taint) -> String {
    join(&taint.key, &taint.value, &taint.effect)
}

fn observed_text(taint: &core::Taint) -> String {
    join(&taint.key, taint.value.as_deref().unwrap_or_default(), &taint.effect)
}

fn join(key: &str, value: &str, effect: &str) -> String {
    let equals = if value.is_empty() { "" } else { "=" };
    format!("{key}{equals}{value}:{effect}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn control_plane_taint() -> Taint {
        Taint {
            key: CONTROL_PLANE_TAINT.to_owned(),
            value: String::new(),
            effect: "NoSchedule".to_owned(),
        }
    }

    fn node(labels: &[(&str, &str)], managed: Option<&str>, taints: &[(&str, &str)]) -> core::Node {
        let taint = |(key, effect): &(&str, &str)| core::Taint {
            key: (*key).to_owned(),
            effect: (*effect).to_owned(),
            ..core::Taint::default()
        };
        let mut node = core::Node::default();
        node.metadata.labels = Some(map(labels));
        node.metadata.annotations = managed.map(|keys| map(&[(MANAGED_LABELS, keys)]));
        node.spec = Some(core::NodeSpec {
            taints: Some(taints.iter().map(taint).collect()),
            ..core::NodeSpec::default()
        });
        node
    }

    #[test]
    fn a_node_that_is_as_it_should_be_gets_no_patch() {
        let observed = ObservedMarks::of(&node(&[("disk", "ssd"), ("other", "x")], Some("disk"), &[]));
        let wanted = NodeMarks {
            labels: map(&[("disk", "ssd")]),
            taints: Vec::new(),
        };
        assert_eq!(changes(&observed, &wanted), []);
        assert_eq!(patch(&observed, &wanted, None), None);
    }

    #[test]
    fn a_label_that_leaves_loko_yaml_goes_and_one_set_by_hand_stays() {
        let observed = ObservedMarks::of(&node(
            &[("disk", "ssd"), ("zone", "a"), ("hand", "x")],
            Some("disk,zone"),
            &[],
        ));
        let wanted = NodeMarks {
            labels: map(&[("disk", "hdd")]),
            taints: Vec::new(),
        };
        let shown: Vec<String> = changes(&observed, &wanted).iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["label disk=hdd", "remove the label zone"]);
        assert_eq!(
            patch(&observed, &wanted, Some("7")).unwrap(),
            json!({"metadata": {
                "annotations": {MANAGED_LABELS: "disk"},
                "labels": {"disk": "hdd", "zone": null},
            }})
        );
    }

    #[test]
    fn a_node_that_has_just_joined_learns_which_labels_are_ours() {
        let observed = ObservedMarks::of(&node(&[("disk", "ssd"), (RUNS_WORKLOADS, "true")], None, &[]));
        let wanted = NodeMarks {
            labels: map(&[("disk", "ssd")]),
            taints: Vec::new(),
        };
        assert_eq!(
            patch(&observed, &wanted, None).unwrap(),
            json!({"metadata": {"annotations": {MANAGED_LABELS: "disk"}, "labels": {RUNS_WORKLOADS: null}}})
        );
    }

    #[test]
    fn only_the_taint_of_control_planes_is_ours() {
        let unreachable = ("node.kubernetes.io/unreachable", "NoExecute");
        let tainted = ObservedMarks::of(&node(
            &[],
            Some(""),
            &[unreachable, (CONTROL_PLANE_TAINT, "NoSchedule")],
        ));
        let free = ObservedMarks::of(&node(&[], Some(""), &[unreachable]));
        let want_free = NodeMarks::default();
        let want_tainted = NodeMarks {
            taints: vec![control_plane_taint()],
            ..NodeMarks::default()
        };
        assert_eq!(patch(&free, &want_free, None), None);
        assert_eq!(patch(&tainted, &want_tainted, None), None);
        let off = patch(&tainted, &want_free, None).unwrap();
        assert_eq!(
            off["spec"]["taints"],
            json!([{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}])
        );
        let on = patch(&free, &want_tainted, Some("7")).unwrap();
        assert_eq!(on["metadata"]["resourceVersion"], "7");
        assert_eq!(on["spec"]["taints"].as_array().unwrap().len(), 2);
        assert_eq!(
            changes(&free, &want_tainted)[0].to_string(),
            "taint node-role.kubernetes.io/control-plane:NoSchedule"
        );
    }
}
