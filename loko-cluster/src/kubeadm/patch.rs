//! The user's patches of kubeadm's configuration, as kind applies its `kubeadmConfigPatches` (kind: `pkg/internal/patch`).
//!
//! A patch is a merge patch (RFC 7386) for every document of its `kind`, and of its `apiVersion` where it has one. Two things are
//! merged otherwise: arguments by name, whether they are written as the list of v1beta4 or as the map of before, and names of the
//! API's certificate, which add to ours.

use serde::Deserialize as _;
use serde_json::{Map, Value, json};

/// Why a patch cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("a patch of kubeadm's configuration cannot be read: {reason}")]
#[diagnostic(
    code(loko::cluster::kubeadm_patch),
    help(
        "each entry of `cluster.kubeadm-patches` is one YAML document with a `kind`, for example ClusterConfiguration"
    )
)]
pub struct PatchError {
    /// What YAML says of it.
    pub reason: String,
}

/// `text`, documents of kubeadm's configuration, with `patches` applied in order. Where there are none, `text` as it is.
pub(super) fn apply(text: String, patches: &[String]) -> Result<String, PatchError> {
    if patches.is_empty() {
        return Ok(text);
    }
    let patches = patches
        .iter()
        .map(|patch| documents(patch))
        .collect::<Result<Vec<_>, _>>()?
        .concat();
    let changed = documents(&text)?.into_iter().map(|mut document| {
        for patch in &patches {
            if fits(&document, patch) {
                merge(&mut document, patch);
            }
        }
        serde_yaml::to_string(&document).map_err(refused)
    });
    Ok(changed.collect::<Result<Vec<String>, _>>()?.join("---\n"))
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
fn refused(error: serde_yaml::Error) -> PatchError {
    PatchError {
        reason: error.to_string(),
    }
}

fn documents(text: &str) -> Result<Vec<Value>, PatchError> {
    serde_yaml::Deserializer::from_str(text)
        .map(|document| Value::deserialize(document).map_err(refused))
        .filter(|document| !matches!(document, Ok(Value::Null)))
        .collect()
}

fn fits(document: &Value, patch: &Value) -> bool {
    let is = |key: &str| document[key] == patch[key];
    is("kind") && (patch["apiVersion"].is_null() || is("apiVersion"))
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        match (key.as_str(), value) {
            (_, Value::Null) => drop(target.remove(key)),
            ("extraArgs" | "kubeletExtraArgs", _) => {
                let merged = arguments(target.get(key), value);
                target.insert(key.clone(), merged);
            }
            ("certSANs", Value::Array(more)) => {
                let mut all = target.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
                all.extend(
                    more.iter()
                        .filter(|name| !all.contains(name))
                        .cloned()
                        .collect::<Vec<_>>(),
                );
                target.insert(key.clone(), all.into());
            }
            _ => merge(target.entry(key.clone()).or_insert(Value::Null), value),
        }
    }
}

/// Arguments by name: the patch's take the place of ours, and what is new comes last.
fn arguments(ours: Option<&Value>, patch: &Value) -> Value {
    let mut all = listed(ours.unwrap_or(&Value::Null));
    for argument in listed(patch) {
        match all.iter_mut().find(|other| other["name"] == argument["name"]) {
            Some(other) => *other = argument,
            None => all.push(argument),
        }
    }
    all.into()
}

/// The list of v1beta4, of either form.
fn listed(arguments: &Value) -> Vec<Value> {
    match arguments {
        Value::Array(list) => list.clone(),
        Value::Object(map) => map
            .iter()
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
apiServer: {certSANs: [localhost]}
controllerManager:
  extraArgs:
  - {name: a, value: \"1\"}
  - {name: b, value: \"2\"}
networking: {podSubnet: 10.244.0.0/16}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failSwapOn: false
";

    fn patched(patches: &[&str]) -> Vec<Value> {
        let patches: Vec<String> = patches.iter().map(|patch| (*patch).to_owned()).collect();
        documents(&apply(TEXT.to_owned(), &patches).unwrap()).unwrap()
    }

    #[test]
    fn arguments_are_merged_by_name_in_either_form() {
        let expected = json!([{"name": "a", "value": "1"}, {"name": "b", "value": "3"}, {"name": "c", "value": "4"}]);
        for patch in [
            "kind: ClusterConfiguration\ncontrollerManager: {extraArgs: [{name: b, value: '3'}, {name: c, value: '4'}]}",
            "kind: ClusterConfiguration\ncontrollerManager: {extraArgs: {b: '3', c: '4'}}",
        ] {
            assert_eq!(patched(&[patch])[0]["controllerManager"]["extraArgs"], expected);
        }
    }

    #[test]
    fn names_of_the_certificate_add_up_and_the_rest_is_a_merge_patch() {
        let all = patched(&[
            "kind: ClusterConfiguration\napiServer: {certSANs: [localhost, me]}\nnetworking: {podSubnet: null, dnsDomain: x}",
            "kind: KubeletConfiguration\nmaxPods: 20\nevictionHard: {\"imagefs.available\": 5%}",
        ]);
        assert_eq!(all[0]["apiServer"]["certSANs"], json!(["localhost", "me"]));
        assert_eq!(all[0]["networking"], json!({"dnsDomain": "x"}));
        assert_eq!(all[1]["maxPods"], 20);
        assert_eq!(all[1]["failSwapOn"], false);
        assert_eq!(all[1]["evictionHard"], json!({"imagefs.available": "5%"}));
    }

    #[test]
    fn a_patch_of_another_version_or_kind_changes_nothing() {
        let all = patched(&[
            "apiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\nclusterName: x",
            "kind: Other\nclusterName: x",
        ]);
        assert_eq!(all, documents(TEXT).unwrap());
    }

    #[test]
    fn without_patches_not_a_byte_changes_and_what_is_no_yaml_is_refused() {
        assert_eq!(apply(TEXT.to_owned(), &[]).as_deref(), Ok(TEXT));
        assert!(apply(TEXT.to_owned(), &["kind: [".to_owned()]).is_err());
    }
}
