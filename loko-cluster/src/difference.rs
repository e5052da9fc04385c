//! How an object that is there differs from what it would be: which fields, and whether its pods are made anew.
//!
//! Both sides come from the API server: what is there, and what an apply would make of it (`dryRun=All`). So defaults, fields of
//! others and the order of lists do not count.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::plan::SPEC;
use crate::replace::Dependents;

/// Kinds whose change may make their pods anew.
const WITH_PODS: [&str; 3] = ["Deployment", "StatefulSet", "DaemonSet"];
/// Fields whose values are short, tell most, and are never secret: they are shown.
const SHOWN: [&str; 10] = [
    "image",
    "replicas",
    "port",
    "targetPort",
    "nodePort",
    "containerPort",
    "storage",
    "cpu",
    "memory",
    "host",
];
/// How many fields a sentence names.
const NAMED: usize = 3;

/// How one object would change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// One sentence for each field, sorted: `spec.replicas: 1 → 2`; where the value may be secret its name alone.
    pub fields: Vec<String>,
    /// Whether its pods are made anew.
    pub renews_pods: bool,
    /// The API does not let it change in place: it is deleted and made again, and this becomes of what hangs on it.
    pub replaced: Option<Dependents>,
}

impl Difference {
    /// What a change is whose refusal an API server answered: `rest` is the difference of what it would not refuse, and the sizes of
    /// a stateful set's claims are compared with those `wanted`, which it never lets change.
    #[must_use]
    pub fn replacing(rest: Self, there: &Value, wanted: &Value, dependents: Dependents) -> Self {
        let mut sizes = BTreeMap::new();
        let claims = |object: &Value| -> Vec<Value> {
            let claims = object.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array);
            let claims = claims.into_iter().flatten();
            claims
                .map(|claim| json!({"name": claim["metadata"]["name"], "requests": claim["spec"]["resources"]["requests"]}))
                .collect()
        };
        compare_lists("spec.volumeClaimTemplates", &claims(there), &claims(wanted), &mut sizes);
        let mut fields = rest.fields;
        fields.extend(sizes.into_values());
        Self {
            fields,
            renews_pods: rest.renews_pods,
            replaced: Some(dependents),
        }
    }

    /// Compares what is there with what an apply would make of it.
    #[must_use]
    pub fn between(there: &Value, then: &Value) -> Self {
        let mut fields = BTreeMap::new();
        for part in ["metadata", "spec", "data", "stringData", "rules", "subjects", "roleRef"] {
            compare(part, &there[part], &then[part], &mut fields);
        }
        let kind = there["kind"]
            .as_str()
            .or_else(|| then["kind"].as_str())
            .unwrap_or_default();
        let is_of_pods = |field: &String| field.starts_with("spec.template.");
        let renews_pods = WITH_PODS.contains(&kind) && fields.keys().any(is_of_pods);
        Self {
            fields: fields.into_values().collect(),
            renews_pods,
            replaced: None,
        }
    }

    /// The fields in a few words: `spec.replicas: 1 → 2, and 4 more`.
    #[must_use]
    pub fn summary(&self) -> String {
        let (named, more) = self.fields.split_at(self.fields.len().min(NAMED));
        match (named, more.len()) {
            ([], _) => "what it was applied from has changed, and none of its fields".to_owned(),
            (named, 0) => named.join(", "),
            (named, more) => format!("{}, and {more} more", named.join(", ")),
        }
    }
}

/// What changes at each write, or is ours to see what was applied.
fn is_bookkeeping(path: &str) -> bool {
    matches!(
        path,
        "metadata.managedFields"
            | "metadata.resourceVersion"
            | "metadata.generation"
            | "metadata.uid"
            | "metadata.creationTimestamp"
    ) || path.strip_prefix("metadata.annotations.") == Some(SPEC)
}

/// Collects the fields that differ, by their path.
fn compare(path: &str, there: &Value, then: &Value, fields: &mut BTreeMap<String, String>) {
    if there == then || is_bookkeeping(path) {
        return;
    }
    match (there, then) {
        (Value::Object(left), Value::Object(right)) => {
            let keys = left.keys().chain(right.keys().filter(|key| !left.contains_key(*key)));
            for key in keys {
                compare(&format!("{path}.{key}"), &there[key], &then[key], fields);
            }
        }
        // A map that is not there is an empty one.
        (Value::Object(map), Value::Null) | (Value::Null, Value::Object(map)) if path_is_a_map(path) => {
            for key in map.keys() {
                compare(&format!("{path}.{key}"), &there[key], &then[key], fields);
            }
        }
        (Value::Array(left), Value::Array(right)) => compare_lists(path, left, right, fields),
        _ => {
            fields.insert(path.to_owned(), sentence(path, there, then));
        }
    }
}

/// Maps of names that the user chooses.
fn path_is_a_map(path: &str) -> bool {
    let last = path.rsplit('.').next().unwrap_or_default();
    path.matches('.').count() == 0 || matches!(last, "annotations" | "labels" | "data" | "requests" | "limits")
}

/// Items of a list are told apart by their names where they have some, else by their places.
fn compare_lists(path: &str, left: &[Value], right: &[Value], fields: &mut BTreeMap<String, String>) {
    let name = |item: &Value| item["name"].as_str().map(str::to_owned);
    let named = |items: &[Value]| -> Option<BTreeMap<String, Value>> {
        let pairs = items.iter().map(|item| Some((name(item)?, item.clone())));
        pairs
            .collect::<Option<BTreeMap<_, _>>>()
            .filter(|map| map.len() == items.len())
    };
    let by_place = |items: &[Value]| -> BTreeMap<String, Value> {
        let items = items.iter().enumerate();
        items
            .map(|(place, item)| (format!("{place:03}"), item.clone()))
            .collect()
    };
    let (left, right) = match (named(left), named(right)) {
        (Some(left), Some(right)) => (left, right),
        _ => (by_place(left), by_place(right)),
    };
    let keys = left.keys().chain(right.keys().filter(|key| !left.contains_key(*key)));
    for key in keys {
        let label = key.trim_start_matches('0');
        let label = if label.is_empty() { "0" } else { label };
        let at = |items: &BTreeMap<String, Value>| items.get(key).cloned().unwrap_or_default();
        compare(&format!("{path}[{label}]"), &at(&left), &at(&right), fields);
    }
}

fn sentence(path: &str, there: &Value, then: &Value) -> String {
    let last = path.rsplit('.').next().unwrap_or_default();
    let word = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null => Some("nothing".to_owned()),
        Value::Array(_) | Value::Object(_) => None,
    };
    // Keys of maps are names that somebody chose.
    let is_shown = path.starts_with("spec.") && SHOWN.contains(&last);
    match (is_shown, word(there), word(then)) {
        (true, Some(there), Some(then)) => format!("{path}: {there} → {then}"),
        _ if there.is_null() => format!("{path} is new"),
        _ if then.is_null() => format!("{path} goes"),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(replicas: u8, image: &str, env: &Value) -> Value {
        json!({
            "kind": "Deployment",
            "metadata": {"name": "web", "generation": replicas, "managedFields": [image], "annotations": {SPEC: image}},
            "spec": {"replicas": replicas, "template": {"spec": {"containers": [
                {"name": "side", "image": "side:1"}, {"name": "web", "image": image, "env": env},
            ]}}},
            "status": {"replicas": replicas},
        })
    }

    #[test]
    fn another_number_of_replicas_leaves_the_pods_that_are_there() {
        let env = json!([]);
        let difference = Difference::between(&deployment(1, "web:1", &env), &deployment(2, "web:1", &env));
        assert_eq!(difference.fields, ["spec.replicas: 1 → 2"]);
        assert!(!difference.renews_pods);
    }

    #[test]
    fn another_image_makes_the_pods_anew_whatever_the_order_of_containers() {
        let (there, mut then) = (deployment(1, "web:1", &json!([])), deployment(1, "web:2", &json!([])));
        then["spec"]["template"]["spec"]["containers"]
            .as_array_mut()
            .unwrap()
            .reverse();
        let difference = Difference::between(&there, &then);
        assert_eq!(
            difference.fields,
            ["spec.template.spec.containers[web].image: web:1 → web:2"]
        );
        assert!(difference.renews_pods);
    }

    #[test]
    fn values_that_may_be_secret_are_not_shown() {
        let (there, then) = (
            deployment(1, "web:1", &json!([{"name": "TOKEN", "value": "hidden"}])),
            deployment(
                1,
                "web:1",
                &json!([{"name": "TOKEN", "value": "other"}, {"name": "MORE", "value": "hidden"}]),
            ),
        );
        let difference = Difference::between(&there, &then);
        assert_eq!(
            difference.fields,
            [
                "spec.template.spec.containers[web].env[MORE] is new",
                "spec.template.spec.containers[web].env[TOKEN].value",
            ]
        );
        let secret = |data: &Value| json!({"kind": "Secret", "data": data});
        let difference = Difference::between(
            &secret(&json!({"host": "aGlkZGVu"})),
            &secret(&json!({"host": "b3RoZXI="})),
        );
        assert_eq!(difference.fields, ["data.host"], "a key of a secret is no field");
    }

    #[test]
    fn what_was_only_written_again_has_no_fields() {
        let there = json!({"kind": "ConfigMap", "metadata": {"resourceVersion": "1"}, "data": {"a": "1"}});
        let then = json!({"kind": "ConfigMap", "metadata": {"resourceVersion": "2", "annotations": {SPEC: "x"}}, "data": {"a": "1"}});
        let difference = Difference::between(&there, &then);
        assert_eq!(difference, Difference::default());
        insta::assert_snapshot!(difference.summary(), @"what it was applied from has changed, and none of its fields");
    }

    #[test]
    fn the_size_of_a_claim_is_named_though_its_change_is_refused() {
        let set = |size: &str| {
            json!({"kind": "StatefulSet", "spec": {"volumeClaimTemplates": [
                {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": size}}}}]}})
        };
        let difference = Difference::replacing(Difference::default(), &set("1Gi"), &set("2Gi"), Dependents::Stay);
        assert_eq!(
            difference.fields,
            ["spec.volumeClaimTemplates[data].requests.storage: 1Gi → 2Gi"]
        );
        assert_eq!(difference.replaced, Some(Dependents::Stay));
    }

    #[test]
    fn a_summary_names_a_few_fields() {
        let fields = |count: u8| Difference {
            fields: (0..count).map(|number| format!("data.{number}")).collect(),
            ..Difference::default()
        };
        insta::assert_snapshot!(fields(3).summary(), @"data.0, data.1, data.2");
        insta::assert_snapshot!(fields(5).summary(), @"data.0, data.1, data.2, and 2 more");
    }

    proptest::proptest! {
        #[test]
        fn an_object_does_not_differ_from_itself(replicas: u8, image in "[a-z:]{1,8}", name in "[A-Z]{1,4}") {
            let object = deployment(replicas, &image, &json!([{"name": name, "value": image}]));
            proptest::prop_assert_eq!(Difference::between(&object, &object), Difference::default());
        }
    }
}
