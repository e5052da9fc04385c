//! The JSON Schema (draft 2020-12) of loko.yaml, for editors. Made from the same types that the reader is made from.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use crate::generate::SCHEMA_URL;
use crate::raw::RawFile;
use crate::read::Field;
use crate::shape::{KeyShape, Need, Shape};

/// The JSON Schema as text, indented, with keys in the order of the file and a line feed at the end.
///
/// It is wider than [`crate::load`] where JSON Schema cannot say a rule (clashes, references, cycles); what it refuses,
/// `load` refuses as well.
#[must_use]
pub fn json_schema() -> String {
    let Ordered::Object(mut entries) = of(&RawFile::shape()) else {
        return String::new();
    };
    let mut all = vec![
        (
            "$schema".to_owned(),
            Ordered::leaf(json!("https://json-schema.org/draft/2020-12/schema")),
        ),
        ("$id".to_owned(), Ordered::leaf(json!(SCHEMA_URL))),
        ("title".to_owned(), Ordered::leaf(json!("loko.yaml"))),
    ];
    all.append(&mut entries);
    let mut out = String::new();
    Ordered::Object(all).write(0, &mut out);
    out.push('\n');
    out
}

/// JSON whose keys stay in order, whatever features `serde_json` is built with.
enum Ordered {
    Leaf(String),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Ordered {
    fn leaf(json: Json) -> Self {
        match json {
            Json::Array(items) => Self::Array(items.into_iter().map(Self::leaf).collect()),
            Json::Object(map) => {
                let mut entries: Vec<_> = map.into_iter().map(|(key, value)| (key, Self::leaf(value))).collect();
                entries.sort_by(|(one, _), (other, _)| one.cmp(other));
                Self::Object(entries)
            }
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => Self::Leaf(json.to_string()),
        }
    }

    fn write(&self, level: usize, out: &mut String) {
        let indent = "  ".repeat(level + 1);
        let close = "  ".repeat(level);
        match self {
            Self::Leaf(text) => out.push_str(text),
            Self::Array(items) if items.iter().all(|item| matches!(item, Self::Leaf(_))) => {
                let items: Vec<_> = items
                    .iter()
                    .map(|item| {
                        let mut text = String::new();
                        item.write(0, &mut text);
                        text
                    })
                    .collect();
                let _ = write!(out, "[{}]", items.join(", "));
            }
            Self::Array(items) => {
                out.push_str("[\n");
                for (at, item) in items.iter().enumerate() {
                    out.push_str(&indent);
                    item.write(level + 1, out);
                    out.push_str(if at + 1 == items.len() { "\n" } else { ",\n" });
                }
                let _ = write!(out, "{close}]");
            }
            Self::Object(entries) if entries.is_empty() => out.push_str("{}"),
            Self::Object(entries) => {
                out.push_str("{\n");
                for (at, (key, value)) in entries.iter().enumerate() {
                    let _ = write!(out, "{indent}{}: ", Json::String(key.clone()));
                    value.write(level + 1, out);
                    out.push_str(if at + 1 == entries.len() { "\n" } else { ",\n" });
                }
                let _ = write!(out, "{close}}}");
            }
        }
    }
}

fn of(shape: &Shape) -> Ordered {
    let entries = match shape {
        Shape::Scalar { schema, .. } => return Ordered::leaf(schema.clone()),
        Shape::Free { kind: "", .. } => Vec::new(),
        Shape::Free { kind, .. } => vec![("type", Ordered::leaf(json!([kind, "null"])))],
        Shape::List(item) => vec![("type", Ordered::leaf(json!(["array", "null"]))), ("items", of(item))],
        Shape::Dict { value, .. } => vec![
            ("type", Ordered::leaf(json!(["object", "null"]))),
            ("additionalProperties", of(value)),
        ],
        Shape::Either(one, other) => vec![("anyOf", Ordered::Array(vec![of(one), of(other)]))],
        Shape::Map { doc, keys, .. } => {
            let required: Vec<_> = keys
                .iter()
                .filter(|key| key.need == Need::Required)
                .map(|key| key.key)
                .collect();
            // A map whose keys all have defaults may be left empty.
            let kind = if required.is_empty() {
                json!(["object", "null"])
            } else {
                json!("object")
            };
            let mut entries = vec![
                ("description", Ordered::leaf(json!(one_line(doc)))),
                ("type", Ordered::leaf(kind)),
                ("additionalProperties", Ordered::leaf(json!(false))),
            ];
            if !required.is_empty() {
                entries.push(("required", Ordered::leaf(json!(required))));
            }
            let properties = keys.iter().map(|key| (key.key.to_owned(), property(key)));
            entries.push(("properties", Ordered::Object(properties.collect())));
            entries
        }
    };
    Ordered::Object(
        entries
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    )
}

fn property(key: &KeyShape) -> Ordered {
    let Ordered::Object(inner) = of(&key.shape) else {
        return of(&key.shape);
    };
    let mut entries = vec![("description".to_owned(), Ordered::leaf(json!(one_line(&key.doc))))];
    if let Need::Default(tree) = &key.need
        && !matches!(key.shape, Shape::Map { .. })
    {
        entries.push(("default".to_owned(), Ordered::leaf(tree.to_json())));
    }
    for (rule, value) in inner.into_iter().filter(|(rule, _)| rule != "description") {
        // An empty value of an optional key is no value.
        let value = match value {
            Ordered::Leaf(kind) if rule == "type" && key.need == Need::Optional => {
                Ordered::Array(vec![Ordered::Leaf(kind), Ordered::leaf(json!("null"))])
            }
            value @ (Ordered::Leaf(_) | Ordered::Array(_) | Ordered::Object(_)) => value,
        };
        entries.push((rule, value));
    }
    Ordered::Object(entries)
}

fn one_line(doc: &str) -> String {
    doc.lines().collect::<Vec<_>>().join(" ")
}
