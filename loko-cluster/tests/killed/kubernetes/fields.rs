//! Who owns which field of an object: as much of server-side apply (Kubernetes' documentation, "Server-Side Apply") as LoKO builds
//! on. A list is one field here, while the API server knows the keys of many.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// Fields as the keys that lead to them.
type Fields = BTreeSet<Vec<String>>;

/// One entry of `metadata.managedFields`.
struct Owner {
    manager: String,
    operation: String,
    fields: Fields,
}

/// What an apply by `manager`, forced, makes of an object that may be there.
pub(super) fn applied(there: Option<&Value>, wanted: &Value, manager: &str) -> Value {
    let mut then = there.cloned().unwrap_or_else(|| json!({}));
    let mut owners = owners(&then);
    let fields = of(wanted);
    let is_ours = |owner: &Owner| owner.manager == manager && owner.operation == "Apply";
    let before: Fields = owners
        .iter()
        .filter(|owner| is_ours(owner))
        .flat_map(|owner| owner.fields.clone())
        .collect();
    owners.retain(|owner| !is_ours(owner));
    for gone in before.difference(&fields) {
        if !owners.iter().any(|owner| owner.fields.contains(gone)) {
            remove(&mut then, gone);
        }
    }
    for field in &fields {
        let value = get(wanted, field).cloned().unwrap_or_default();
        if get(&then, field) != Some(&value) {
            for owner in &mut owners {
                owner.fields.remove(field);
            }
            set(&mut then, field, value);
        }
    }
    for name in ["apiVersion", "kind"] {
        then[name] = wanted[name].clone();
    }
    for name in ["name", "namespace"] {
        if let Some(value) = wanted["metadata"].get(name) {
            then["metadata"][name] = value.clone();
        }
    }
    owners.push(Owner {
        manager: manager.to_owned(),
        operation: "Apply".to_owned(),
        fields,
    });
    write(&mut then, owners);
    then
}

/// The same object after `manager` has written it whole: what it changed is its own.
pub(super) fn updated(there: &Value, mut then: Value, manager: &str) -> Value {
    // Whoever writes the owners themselves means that.
    if then["metadata"]["managedFields"] != there["metadata"]["managedFields"] {
        return then;
    }
    let mut owners = owners(there);
    let (before, after) = (of(there), of(&then));
    let changed: Fields = after
        .iter()
        .filter(|field| get(there, field) != get(&then, field))
        .cloned()
        .collect();
    for owner in &mut owners {
        owner
            .fields
            .retain(|field| !changed.contains(field) && (after.contains(field) || !before.contains(field)));
    }
    let ours = |owner: &&mut Owner| owner.manager == manager && owner.operation == "Update";
    if let Some(owner) = owners.iter_mut().find(ours) {
        owner.fields.extend(changed);
    } else {
        owners.push(Owner {
            manager: manager.to_owned(),
            operation: "Update".to_owned(),
            fields: changed,
        });
    }
    write(&mut then, owners);
    then
}

/// The fields that somebody can own: what tells the object from others, and what the API server writes, is nobody's.
fn of(object: &Value) -> Fields {
    let mut object = object.clone();
    for name in ["apiVersion", "kind"] {
        remove(&mut object, &[name.to_owned()]);
    }
    for name in [
        "name",
        "namespace",
        "managedFields",
        "resourceVersion",
        "uid",
        "generation",
        "creationTimestamp",
    ] {
        remove(&mut object, &["metadata".to_owned(), name.to_owned()]);
    }
    let mut fields = Fields::new();
    collect(&object, &mut Vec::new(), &mut fields);
    fields
}

fn collect(value: &Value, path: &mut Vec<String>, fields: &mut Fields) {
    if let Some(map) = value.as_object().filter(|map| !map.is_empty() || path.is_empty()) {
        for (key, value) in map {
            path.push(key.clone());
            collect(value, path, fields);
            path.pop();
        }
    } else {
        fields.insert(path.clone());
    }
}

fn get<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

fn set(value: &mut Value, path: &[String], new: Value) {
    let mut at = value;
    for key in path {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        at = &mut at[key.as_str()];
    }
    *at = new;
}

/// Takes a field out, and the maps that are empty then.
fn remove(value: &mut Value, path: &[String]) {
    let (Some((key, rest)), Some(map)) = (path.split_first(), value.as_object_mut()) else {
        return;
    };
    match map.get_mut(key) {
        Some(inner) if !rest.is_empty() => {
            remove(inner, rest);
            if inner.as_object().is_some_and(Map::is_empty) {
                map.remove(key);
            }
        }
        _ => {
            map.remove(key);
        }
    }
}

fn owners(object: &Value) -> Vec<Owner> {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    entries
        .map(|entry| {
            let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            let mut fields = Fields::new();
            read(&entry["fieldsV1"], &mut Vec::new(), &mut fields);
            Owner {
                manager: text("manager"),
                operation: text("operation"),
                fields,
            }
        })
        .collect()
}

fn write(object: &mut Value, mut owners: Vec<Owner>) {
    owners.retain(|owner| !owner.fields.is_empty());
    owners.sort_by_key(|owner| (owner.manager.clone(), owner.operation.clone()));
    let version = object["apiVersion"].clone();
    let entries = owners.into_iter().map(|owner| {
        let mut tree = json!({});
        for field in &owner.fields {
            let keys: Vec<String> = field.iter().map(|key| format!("f:{key}")).collect();
            set(&mut tree, &keys, json!({}));
        }
        json!({"manager": owner.manager, "operation": owner.operation, "apiVersion": version,
            "fieldsType": "FieldsV1", "fieldsV1": tree})
    });
    object["metadata"]["managedFields"] = entries.collect();
}

/// `FieldsV1`: each key is `f:` and the field's name, what has no keys is a field.
fn read(tree: &Value, path: &mut Vec<String>, fields: &mut Fields) {
    match tree.as_object() {
        Some(map) if !map.is_empty() => {
            for (key, tree) in map {
                path.push(key.strip_prefix("f:").unwrap_or(key).to_owned());
                read(tree, path, fields);
                path.pop();
            }
        }
        _ if path.is_empty() => {}
        _ => {
            fields.insert(path.clone());
        }
    }
}

/// A JSON merge patch (RFC 7386).
pub(super) fn merged(mut there: Value, patch: &Value) -> Value {
    let Some(patch) = patch.as_object() else {
        return patch.clone();
    };
    if !there.is_object() {
        there = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            remove(&mut there, std::slice::from_ref(key));
        } else {
            let inner = there[key.as_str()].take();
            there[key.as_str()] = merged(inner, value);
        }
    }
    there
}

/// What the documentation of server-side apply says of a field that two want.
#[test]
fn a_field_goes_when_the_last_who_wanted_it_wants_it_no_more() {
    let object =
        |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data});
    let first = applied(None, &object(json!({"ours": "1", "both": "1"})), "loko");
    let second = applied(Some(&first), &object(json!({"both": "1", "theirs": "1"})), "kubectl");
    let third = applied(Some(&second), &object(json!({"new": "1"})), "loko");
    assert_eq!(third["data"], json!({"both": "1", "theirs": "1", "new": "1"}));
    // Forced: the field is taken over, and so goes with us.
    let fourth = applied(Some(&third), &object(json!({"both": "2"})), "loko");
    assert_eq!(fourth["data"], json!({"both": "2", "theirs": "1"}));
    let fifth = applied(Some(&fourth), &object(json!({"last": "1"})), "loko");
    assert_eq!(fifth["data"], json!({"theirs": "1", "last": "1"}));
}
