//! What is passed through: to Kubernetes, to Helm, to the pods.

use serde_json::{Value as Json, json};

use super::{Cx, Field, Spanned};
use crate::problem::Cause;
use crate::shape::{Branch, Shape, Tree};
use crate::yaml::{Node, Plain, Value, plain};

/// What another program defines: any YAML of the right outer kind. Texts that hold a `$` are kept with their places,
/// because variables in them are checked later.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Free {
    pub(crate) json: Json,
    pub(crate) templates: Vec<Spanned<String>>,
}

impl Free {
    /// Converts any node.
    pub(crate) fn of(node: &Node) -> Self {
        let mut templates = Vec::new();
        let json = to_json(node, &mut templates);
        Self { json, templates }
    }
}

fn to_json(node: &Node, templates: &mut Vec<Spanned<String>>) -> Json {
    match &node.value {
        Value::Scalar(scalar) => {
            let text = &scalar.text;
            match plain(text) {
                Plain::Null if scalar.plain => Json::Null,
                Plain::Bool(value) if scalar.plain => Json::Bool(value),
                Plain::Integer | Plain::Float if scalar.plain => number(text),
                Plain::Null | Plain::Bool(_) | Plain::Integer | Plain::Float | Plain::Text => {
                    if text.contains('$') {
                        templates.push(Spanned {
                            value: text.clone(),
                            span: node.span,
                        });
                    }
                    Json::String(text.clone())
                }
            }
        }
        Value::List(list) => Json::Array(list.items.iter().map(|item| to_json(item, templates)).collect()),
        Value::Map(map) => Json::Object(
            map.entries
                .iter()
                .map(|entry| (entry.key.clone(), to_json(&entry.value, templates)))
                .collect(),
        ),
    }
}

/// A number as YAML 1.2 reads it; one that JSON cannot hold stays a text.
fn number(text: &str) -> Json {
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    let integer = match unsigned.get(..2) {
        Some("0o") => i64::from_str_radix(&unsigned[2..], 8).ok(),
        Some("0x") => i64::from_str_radix(&unsigned[2..], 16).ok(),
        _ => unsigned.parse().ok(),
    };
    if let Some(integer) = integer {
        return json!(integer);
    }
    let float = unsigned.parse::<f64>().ok().and_then(serde_json::Number::from_f64);
    float.map_or_else(|| Json::String(text.to_owned()), Json::Number)
}

impl Field for Free {
    fn read(node: &Node, _cx: &mut Cx<'_>) -> Option<Self> {
        Some(Self::of(node))
    }

    fn shape() -> Shape {
        Shape::Free {
            words: "any value",
            kind: "",
        }
    }

    fn tree(&self) -> Tree {
        Tree::Json(self.json.clone())
    }
}

/// [`Free`], but a map. In a box, because a workload has a score of them, most of them missing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FreeMap(pub(crate) Box<Free>);

impl Default for FreeMap {
    fn default() -> Self {
        Self(Box::new(Free {
            json: json!({}),
            templates: Vec::new(),
        }))
    }
}

impl Field for FreeMap {
    fn read(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        match &node.value {
            Value::Map(_) => Some(Self(Box::new(Free::of(node)))),
            Value::Scalar(_) if node.is_null() => Some(Self::default()),
            Value::Scalar(_) | Value::List(_) => {
                cx.wrong_kind(node, "a map", "write `key: value`, one a line and indented");
                None
            }
        }
    }

    fn shape() -> Shape {
        Shape::Free {
            words: "a map",
            kind: "object",
        }
    }

    fn tree(&self) -> Tree {
        self.0.tree()
    }
}

/// [`Free`], but a list of maps.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FreeList(pub(crate) Box<Free>);

impl Default for FreeList {
    fn default() -> Self {
        Self(Box::new(Free {
            json: json!([]),
            templates: Vec::new(),
        }))
    }
}

impl Field for FreeList {
    fn read(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let list = match &node.value {
            Value::List(list) => list,
            Value::Scalar(_) if node.is_null() => return Some(Self::default()),
            Value::Scalar(_) | Value::Map(_) => {
                cx.wrong_kind(node, "a list of maps", "start each entry with `- `");
                return None;
            }
        };
        let mut sound = true;
        for item in &list.items {
            if !matches!(item.value, Value::Map(_)) {
                cx.wrong_kind(item, "a map", "write `- key: value`");
                sound = false;
            }
        }
        sound.then(|| Self(Box::new(Free::of(node))))
    }

    fn shape() -> Shape {
        Shape::Free {
            words: "a list of maps",
            kind: "array",
        }
    }

    fn tree(&self) -> Tree {
        self.0.tree()
    }
}

/// A map of texts, where numbers and booleans may go without quotes and mean the text as it is written.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Annotations {
    pub(crate) entries: Vec<(String, Spanned<String>)>,
}

/// The text of a scalar as it stands, whatever YAML would read it as. Kubernetes wants texts in these places, so there
/// is nothing else it could mean.
fn verbatim(node: &Node, cx: &mut Cx<'_>) -> Option<String> {
    if let Value::Scalar(scalar) = &node.value
        && !node.is_null()
    {
        return Some(scalar.text.clone());
    }
    cx.wrong_kind(node, "a text", "");
    None
}

impl Field for Annotations {
    fn read(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let map = match &node.value {
            Value::Map(map) => map,
            Value::Scalar(_) if node.is_null() => return Some(Self::default()),
            Value::Scalar(_) | Value::List(_) => {
                cx.wrong_kind(node, "a map of texts", "write `key: value`, one a line and indented");
                return None;
            }
        };
        let mut entries = Vec::new();
        for entry in &map.entries {
            if let Some(value) = verbatim(&entry.value, cx) {
                let span = entry.value.span;
                entries.push((entry.key.clone(), Spanned { value, span }));
            }
        }
        Some(Self { entries })
    }

    fn shape() -> Shape {
        Shape::Dict {
            key: "a text",
            value: Box::new(Shape::Scalar {
                words: "a text".to_owned(),
                schema: json!({"type": ["string", "number", "boolean"]}),
            }),
        }
    }

    fn tree(&self) -> Tree {
        let branches = self.entries.iter().map(|(key, value)| Branch {
            key: key.clone(),
            value: Tree::Json(json!(value.value)),
            span: Some(value.span),
        });
        Tree::Map(branches.collect())
    }
}

/// Environment variables: a map, or Kubernetes' own list of `{name, value}` and `{name, valueFrom}`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Env {
    pub(crate) values: Annotations,
    /// Entries with `valueFrom`.
    pub(crate) from: Vec<Free>,
}

impl Field for Env {
    fn read(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let Value::List(list) = &node.value else {
            let values = Annotations::read(node, cx)?;
            return Some(Self {
                values,
                from: Vec::new(),
            });
        };
        let mut env = Self::default();
        for item in &list.items {
            let Some(name) = item.get("name") else {
                cx.wrong_kind(
                    item,
                    "`{name: …, value: …}`",
                    "a list of variables is written as Kubernetes has it; a map `NAME: value` is shorter",
                );
                continue;
            };
            let Some(name_text) = verbatim(&name.value, cx) else {
                continue;
            };
            if let Some(value) = item.get("value") {
                if let Some(text) = verbatim(&value.value, cx) {
                    let span = value.value.span;
                    env.values.entries.push((name_text, Spanned { value: text, span }));
                }
            } else if item.get("valueFrom").is_some() {
                env.from.push(Free::of(item));
            } else {
                let key = "value".to_owned();
                let wanted = "a text".to_owned();
                cx.error(name.key_span, Cause::MissingKey { key, wanted });
            }
        }
        Some(env)
    }

    fn shape() -> Shape {
        Shape::Either(
            Box::new(Annotations::shape()),
            Box::new(Shape::Free {
                words: "a list of Kubernetes' `EnvVar`",
                kind: "array",
            }),
        )
    }

    fn tree(&self) -> Tree {
        if self.from.is_empty() {
            return self.values.tree();
        }
        let values = self.values.entries.iter().map(|(name, value)| {
            (
                Tree::Json(json!({"name": name, "value": value.value})),
                Some(value.span),
            )
        });
        let from = self.from.iter().map(|free| (free.tree(), None));
        Tree::List(values.chain(from).collect())
    }
}
