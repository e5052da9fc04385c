//! The same edit on the values, by which the edit of the text is checked.

use serde_json::{Map as JsonMap, Value as Json};

use super::path::PathStep;
use crate::read::Free;
use crate::yaml::Node;

/// The values of a text. Numbers that JSON cannot tell apart from others (`2.10`, `2.1`) are kept as they are written.
pub(super) fn values(root: &Node) -> Json {
    Free::of(root).json
}

/// The value of a scalar as YAML reads it.
pub(super) fn scalar(text: &str) -> Option<Json> {
    let parsed = crate::yaml::parse(text);
    parsed
        .issues
        .is_empty()
        .then(|| parsed.root.map_or(Json::Null, |root| values(&root)))
}

/// Sets the value at a path, making maps on the way. False where the path leads through something else.
pub(super) fn set(root: &mut Json, steps: &[PathStep], value: Json) -> bool {
    let Some((step, rest)) = steps.split_first() else {
        *root = value;
        return true;
    };
    let inner = match step {
        PathStep::Key(key) => {
            if root.is_null() {
                *root = Json::Object(JsonMap::new());
            }
            root.as_object_mut()
                .map(|map| map.entry(key.as_str()).or_insert(Json::Null))
        }
        PathStep::Index(index) => root.get_mut(*index),
        PathStep::Named(name) => root.as_array_mut().and_then(|items| {
            items
                .iter_mut()
                .find(|item| item.get("name").and_then(Json::as_str) == Some(name))
        }),
    };
    inner.is_some_and(|inner| set(inner, rest, value))
}

/// The list at a path, made where there is nothing.
pub(super) fn list<'j>(root: &'j mut Json, keys: &[&str]) -> Option<&'j mut Vec<Json>> {
    let mut at = root;
    for key in keys {
        if at.is_null() {
            *at = Json::Object(JsonMap::new());
        }
        at = at.as_object_mut()?.entry(*key).or_insert(Json::Null);
    }
    if at.is_null() {
        *at = Json::Array(Vec::new());
    }
    at.as_array_mut()
}
