//! Which bytes an edit replaces.

mod insert;
mod remove;
mod scalar;

use serde_json::{Value as Json, json};

use super::path::{self, PathStep, parse_path};
use super::place::{Layout, is_copy};
use super::{Change, Edit, EditError, wanted};
use crate::raw::RawFile;
use crate::read::{Field as _, near};
use crate::shape::Shape;
use crate::yaml::{Node, Value};

/// The bytes to replace and the values that must come out.
pub(super) struct Plan {
    pub(super) changes: Vec<Change>,
    pub(super) wanted: Json,
    /// For messages.
    pub(super) path: String,
}

/// Plans an edit.
pub(super) fn plan(text: &str, root: &Node, edit: &Edit) -> Result<Plan, EditError> {
    let layout = Layout::new(text);
    match edit {
        Edit::Set { path, value } => set(layout, root, path, value),
        Edit::Enable { workload, enabled } => enable(layout, root, workload.as_str(), *enabled),
        Edit::AddWorkload { list, fields } => {
            let name = fields
                .iter()
                .find(|(key, _)| key == "name")
                .and_then(|(_, name)| name.as_str())
                .unwrap_or_default();
            if find_workload(root, name).is_some() {
                return Err(exists("workload", name));
            }
            add(layout, root, &["workloads", list.key()], fields)
        }
        Edit::RemoveWorkload { workload } => {
            let (list, index) =
                find_workload(root, workload.as_str()).ok_or_else(|| no_workload(root, workload.as_str()))?;
            remove(layout, root, &["workloads", list], index)
        }
        Edit::AddRepository { name, url } => {
            const LIST: [&str; 2] = ["workloads", "helm-repositories"];
            if find_named(root, &LIST, name.as_str()).is_some() {
                return Err(exists("Helm repository", name.as_str()));
            }
            let fields = [
                ("name".to_owned(), json!(name.as_str())),
                ("url".to_owned(), json!(url)),
            ];
            add(layout, root, &LIST, &fields)
        }
        Edit::RemoveRepository { name } => {
            const LIST: [&str; 2] = ["workloads", "helm-repositories"];
            let index = find_named(root, &LIST, name.as_str())
                .ok_or_else(|| not_found("Helm repository", name.as_str(), &names(root, &LIST)))?;
            remove(layout, root, &LIST, index)
        }
    }
}

fn exists(what: &'static str, name: &str) -> EditError {
    EditError::Exists {
        what,
        name: name.to_owned(),
    }
}

fn not_found(what: &'static str, name: &str, known: &[&str]) -> EditError {
    let remedy = match near(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => format!("the file has no {what}"),
        None => format!("there are {}", known.join(", ")),
    };
    EditError::NotFound {
        what,
        name: name.to_owned(),
        remedy,
    }
}

fn no_workload(root: &Node, name: &str) -> EditError {
    let mut known = names(root, &["workloads", "system"]);
    known.extend(names(root, &["workloads", "user"]));
    not_found("workload", name, &known)
}

/// The node under keys.
fn at<'n>(root: &'n Node, keys: &[&str]) -> Option<&'n Node> {
    keys.iter()
        .try_fold(root, |node, key| node.get(key).map(|entry| &entry.value))
}

fn items<'n>(root: &'n Node, keys: &[&str]) -> &'n [Node] {
    match at(root, keys).map(|node| &node.value) {
        Some(Value::List(list)) => &list.items,
        Some(Value::Scalar(_) | Value::Map(_)) | None => &[],
    }
}

fn name_of(item: &Node) -> Option<&str> {
    match &item.get("name")?.value.value {
        Value::Scalar(scalar) => Some(&scalar.text),
        Value::List(_) | Value::Map(_) => None,
    }
}

fn names<'n>(root: &'n Node, keys: &[&str]) -> Vec<&'n str> {
    items(root, keys).iter().filter_map(name_of).collect()
}

fn find_named(root: &Node, keys: &[&str], name: &str) -> Option<usize> {
    items(root, keys).iter().position(|item| name_of(item) == Some(name))
}

fn find_workload(root: &Node, name: &str) -> Option<(&'static str, usize)> {
    ["system", "user"]
        .into_iter()
        .find_map(|list| Some((list, find_named(root, &["workloads", list], name)?)))
}

fn set(layout: Layout<'_>, root: &Node, path: &str, value: &str) -> Result<Plan, EditError> {
    let steps = parse_path(path).map_err(|reason| EditError::BadPath {
        path: path.to_owned(),
        reason,
    })?;
    let shape = shape_at(&steps)?;
    if let Shape::Map { .. } | Shape::List(_) | Shape::Dict { .. } = &shape {
        return Err(EditError::NotScalar {
            path: path.to_owned(),
            what: shape.words(),
        });
    }
    set_steps(layout, root, &steps, &scalar::written(&shape, value))
}

fn set_steps(layout: Layout<'_>, root: &Node, steps: &[PathStep], value: &scalar::Written) -> Result<Plan, EditError> {
    let path = path::write(steps);
    let mut wanted_root = wanted::values(root);
    let mut wanted_value = value.json.clone();
    let mut done = 0;
    let mut node = root;
    // As far as the file goes.
    for step in steps {
        let next = match step {
            PathStep::Key(key) => match node.get(key) {
                // What is merged can be overridden by a key of one's own.
                Some(entry) if entry.merged => None,
                Some(entry) => Some(&entry.value),
                None => None,
            },
            PathStep::Index(_) | PathStep::Named(_) => Some(list_item(node, step, &path)?),
        };
        let Some(next) = next else { break };
        if is_copy(node, next) && !next.is_null() {
            return Err(EditError::Shared { path });
        }
        node = next;
        done += 1;
    }
    let rest = &steps[done..];
    let changes = if rest.is_empty() {
        let Value::Scalar(old) = &node.value else {
            let what = node.found();
            return Err(EditError::NotScalar { path, what });
        };
        let parent_end = key_end_of(root, &steps[..done]);
        let (changes, json) = scalar::replace(layout, node, old, parent_end, value);
        wanted_value = json;
        changes
    } else {
        let keys: Vec<&str> = rest
            .iter()
            .map(|step| match step {
                PathStep::Key(key) => Ok(key.as_str()),
                PathStep::Index(_) | PathStep::Named(_) => Err(EditError::BadPath {
                    path: path.clone(),
                    reason: "the list is not there yet".to_owned(),
                }),
            })
            .collect::<Result<_, _>>()?;
        let parent_end = key_end_of(root, &steps[..done]);
        insert::keys(layout, node, parent_end, &keys, value).ok_or_else(|| EditError::Layout { path: path.clone() })?
    };
    if !wanted::set(&mut wanted_root, steps, wanted_value) {
        return Err(EditError::Layout { path });
    }
    let changes = if wanted_root == wanted::values(root) {
        Vec::new()
    } else {
        changes
    };
    Ok(Plan {
        changes,
        wanted: wanted_root,
        path,
    })
}

fn list_item<'n>(node: &'n Node, step: &PathStep, path: &str) -> Result<&'n Node, EditError> {
    let items = match &node.value {
        Value::List(list) => list.items.as_slice(),
        Value::Scalar(_) | Value::Map(_) => &[],
    };
    let found = match step {
        PathStep::Index(index) => items.get(*index),
        PathStep::Named(name) => items.iter().find(|item| name_of(item) == Some(name)),
        PathStep::Key(_) => None,
    };
    found.ok_or_else(|| {
        let name = match step {
            PathStep::Index(index) => format!("[{index}]"),
            PathStep::Named(name) | PathStep::Key(name) => name.clone(),
        };
        match step {
            PathStep::Named(_) => not_found("entry", &name, &items.iter().filter_map(name_of).collect::<Vec<_>>()),
            PathStep::Index(_) | PathStep::Key(_) => EditError::BadPath {
                path: path.to_owned(),
                reason: format!("the list has {} entries", items.len()),
            },
        }
    })
}

/// Where the key of the node at a path ends, for values that are empty.
fn key_end_of(root: &Node, steps: &[PathStep]) -> Option<usize> {
    let (PathStep::Key(last), parents) = steps.split_last()? else {
        return None;
    };
    let mut node = root;
    for step in parents {
        node = match step {
            PathStep::Key(key) => &node.get(key)?.value,
            PathStep::Index(_) | PathStep::Named(_) => list_item(node, step, "").ok()?,
        };
    }
    Some(node.get(last)?.key_span.end)
}

/// The look of what stands at a path, or which key of it does not exist.
fn shape_at(steps: &[PathStep]) -> Result<Shape, EditError> {
    let mut shapes = vec![RawFile::shape()];
    let mut place = "loko.yaml".to_owned();
    for (at, step) in steps.iter().enumerate() {
        let mut next = Vec::new();
        let mut known: Vec<&'static str> = Vec::new();
        for shape in shapes {
            inside(shape, step, &mut next, &mut known);
        }
        if next.is_empty() {
            let key = match step {
                PathStep::Key(key) | PathStep::Named(key) => key.clone(),
                PathStep::Index(index) => format!("[{index}]"),
            };
            let remedy = match near(&key, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if known.is_empty() => "the path is too long".to_owned(),
                None => format!("there are {}", known.join(", ")),
            };
            return Err(EditError::UnknownPath { key, place, remedy });
        }
        shapes = next;
        place = format!("`{}`", path::write(&steps[..=at]));
    }
    // The first look is the preferred one, and a scalar's where there is one.
    let scalar = shapes.iter().position(|shape| matches!(shape, Shape::Scalar { .. }));
    let index = scalar.unwrap_or(0);
    Ok(shapes.swap_remove(index))
}

fn inside(shape: Shape, step: &PathStep, next: &mut Vec<Shape>, known: &mut Vec<&'static str>) {
    let mut push = |shape: Shape| match shape {
        Shape::Either(one, other) => next.extend([*one, *other]),
        shape @ (Shape::Scalar { .. }
        | Shape::Map { .. }
        | Shape::Dict { .. }
        | Shape::List(_)
        | Shape::Free { .. }) => {
            next.push(shape);
        }
    };
    match (shape, step) {
        (Shape::Map { keys, .. }, PathStep::Key(wanted)) => {
            for key in keys {
                known.push(key.key);
                if key.key == wanted {
                    push(key.shape);
                }
            }
        }
        (Shape::Dict { value, .. }, PathStep::Key(_)) => push(*value),
        (Shape::List(item), PathStep::Index(_) | PathStep::Named(_)) => push(*item),
        (Shape::Free { words, kind }, _) => {
            // Below what is passed through, anything goes.
            let _ = (words, kind);
            push(Shape::Free {
                words: "any value",
                kind: "",
            });
        }
        (Shape::Either(one, other), step) => {
            inside(*one, step, next, known);
            inside(*other, step, next, known);
        }
        (Shape::Map { .. } | Shape::Dict { .. } | Shape::List(_) | Shape::Scalar { .. }, _) => {}
    }
}

fn enable(layout: Layout<'_>, root: &Node, name: &str, enabled: bool) -> Result<Plan, EditError> {
    let (list, index) = find_workload(root, name).ok_or_else(|| no_workload(root, name))?;
    let steps = [
        PathStep::Key("workloads".to_owned()),
        PathStep::Key(list.to_owned()),
        PathStep::Index(index),
        PathStep::Key("enabled".to_owned()),
    ];
    let item = items(root, &["workloads", list]).get(index);
    let missing = item.is_some_and(|item| item.get("enabled").is_none());
    if missing && enabled {
        // The default.
        return Ok(Plan {
            changes: Vec::new(),
            wanted: wanted::values(root),
            path: path::write(&steps),
        });
    }
    let value = scalar::Written {
        text: enabled.to_string(),
        json: json!(enabled),
        string: false,
    };
    if let (true, Some(item)) = (missing, item) {
        // After the name, where a reader looks for it.
        let path = path::write(&steps);
        let list_node = at(root, &["workloads", list]);
        if list_node.is_some_and(|list| is_copy(list, item)) {
            return Err(EditError::Shared { path });
        }
        let changes = insert::after_entry(layout, item, "name", "enabled", &value)
            .ok_or_else(|| EditError::Layout { path: path.clone() })?;
        let mut wanted = wanted::values(root);
        wanted::set(&mut wanted, &steps, json!(enabled));
        return Ok(Plan { changes, wanted, path });
    }
    set_steps(layout, root, &steps, &value)
}

fn add(layout: Layout<'_>, root: &Node, keys: &[&str], fields: &[(String, Json)]) -> Result<Plan, EditError> {
    let path = keys.join(".");
    let layout_error = || EditError::Layout { path: path.clone() };
    let mut wanted = wanted::values(root);
    let item: serde_json::Map<String, Json> = fields.iter().cloned().collect();
    wanted::list(&mut wanted, keys)
        .ok_or_else(layout_error)?
        .push(Json::Object(item));
    let changes = insert::item(layout, root, keys, fields).ok_or_else(layout_error)?;
    Ok(Plan { changes, wanted, path })
}

fn remove(layout: Layout<'_>, root: &Node, keys: &[&str], index: usize) -> Result<Plan, EditError> {
    let path = format!("{}[{index}]", keys.join("."));
    let layout_error = || EditError::Layout { path: path.clone() };
    let mut wanted = wanted::values(root);
    let list = wanted::list(&mut wanted, keys).ok_or_else(layout_error)?;
    list.remove(index);
    let mut node = root;
    for key in keys {
        let next = &node.get(key).ok_or_else(layout_error)?.value;
        if is_copy(node, next) {
            return Err(EditError::Shared { path });
        }
        node = next;
    }
    let key_end = key_end_of(
        root,
        &keys
            .iter()
            .map(|key| PathStep::Key((*key).to_owned()))
            .collect::<Vec<_>>(),
    );
    let changes = remove::item(layout, node, key_end, index).ok_or_else(layout_error)?;
    Ok(Plan { changes, wanted, path })
}
