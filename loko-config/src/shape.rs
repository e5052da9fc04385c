//! What loko.yaml looks like, as data: the description that the schema, the reference page and generated files are
//! made from, and the values to put in it.

use serde_json::{Value as Json, json};

use crate::problem::Span;

/// The look of a kind of value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    /// A single value.
    Scalar {
        /// For messages: "a port, 1 to 65535".
        words: String,
        /// Its JSON Schema.
        schema: Json,
    },
    /// A map of fixed keys.
    Map {
        name: &'static str,
        doc: String,
        keys: Vec<KeyShape>,
    },
    /// A map whose keys the user chooses.
    Dict { key: &'static str, value: Box<Self> },
    /// A list.
    List(Box<Self>),
    /// One of two looks, the first preferred.
    Either(Box<Self>, Box<Self>),
    /// Whatever another program takes.
    Free {
        words: &'static str,
        /// "object", "array", or empty for both and more.
        kind: &'static str,
    },
}

/// One key of a map.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct KeyShape {
    pub(crate) key: &'static str,
    pub(crate) doc: String,
    pub(crate) need: Need,
    pub(crate) shape: Shape,
}

/// Whether a key must be written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Need {
    Required,
    Optional,
    Default(Tree),
}

/// A value as one would write it, in order, with the place where it was written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tree {
    /// A scalar, or what is passed through.
    Json(Json),
    /// Items, each with its place.
    List(Vec<(Self, Option<Span>)>),
    /// Keys in the order of the schema.
    Map(Vec<Branch>),
}

/// One key of a [`Tree::Map`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Branch {
    pub(crate) key: String,
    pub(crate) value: Tree,
    /// None for a default.
    pub(crate) span: Option<Span>,
}

impl Shape {
    /// A scalar that is a text.
    pub(crate) fn text(words: &str) -> Self {
        Self::Scalar {
            words: words.to_owned(),
            schema: json!({"type": "string"}),
        }
    }

    /// For messages: "a list of ports".
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Scalar { words, .. } => words.clone(),
            Self::Map { name, keys, .. } => {
                let keys: Vec<_> = keys
                    .iter()
                    .filter(|key| key.need == Need::Required)
                    .map(|key| format!("`{}`", key.key))
                    .collect();
                match keys.as_slice() {
                    [] => format!("a map ({name})"),
                    keys => format!("a map with {}", keys.join(" and ")),
                }
            }
            Self::Dict { key, value } => format!("a map from {key} to {}", value.words()),
            Self::List(item) => format!("a list of {}", item.plural()),
            Self::Either(one, other) => format!("{}, or {}", one.words(), other.words()),
            Self::Free { words, .. } => (*words).to_owned(),
        }
    }

    /// For messages: what a list of it holds.
    pub(crate) fn plural(&self) -> String {
        match self {
            Self::Scalar { words, .. } => words.trim_start_matches("a ").trim_start_matches("an ").to_owned(),
            Self::Map { name, .. } => format!("maps ({name})"),
            Self::Dict { .. } => "maps".to_owned(),
            Self::List(_) => "lists".to_owned(),
            Self::Either(one, _) => one.plural(),
            Self::Free { words, .. } => (*words).to_owned(),
        }
    }
}

impl Tree {
    /// The value under keys.
    pub(crate) fn at_mut(&mut self, keys: &[&str]) -> Option<&mut Self> {
        let Some((first, rest)) = keys.split_first() else {
            return Some(self);
        };
        let Self::Map(branches) = self else { return None };
        let branch = branches.iter_mut().find(|branch| branch.key == *first)?;
        branch.value.at_mut(rest)
    }

    /// Without places.
    pub(crate) fn to_json(&self) -> Json {
        match self {
            Self::Json(json) => json.clone(),
            Self::List(items) => Json::Array(items.iter().map(|(item, _)| item.to_json()).collect()),
            Self::Map(branches) => Json::Object(
                branches
                    .iter()
                    .map(|branch| (branch.key.clone(), branch.value.to_json()))
                    .collect(),
            ),
        }
    }
}
