//! YAML as a tree that knows where each node was written.
//!
//! Why a tree of our own and not serde's derive: serde stops at the first error, loses how a scalar was written
//! (`2.10` and `"2.10"` look alike), and drops the place of a key. The tree keeps all three, so that the readers
//! above it can name every problem of a file at once.

mod parse;
mod scalar;

use crate::problem::{Cause, Span};

pub(crate) use parse::parse;
pub(crate) use scalar::{Plain, plain};

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) value: Value,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Scalar(Scalar),
    List(List),
    Map(Map),
}

/// A scalar as it was written, its escapes resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    /// Without quotes and without `|` or `>`: only then may it be a number, a boolean or null.
    pub(crate) plain: bool,
}

/// `- a` or `[a]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct List {
    pub(crate) items: Vec<Node>,
    /// Written as `[a]`.
    pub(crate) flow: bool,
}

/// `a: 1` or `{a: 1}`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Map {
    pub(crate) entries: Vec<Entry>,
    /// Written as `{a: 1}`.
    pub(crate) flow: bool,
}

/// One key with its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) value: Node,
    /// Copied from an anchor by `<<`.
    pub(crate) merged: bool,
}

/// Something wrong with the YAML itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Issue {
    pub(crate) span: Span,
    pub(crate) cause: Cause,
    /// Where the other half of the problem stands.
    pub(crate) also: Option<Span>,
}

/// What [`parse`] gives: as much of the tree as could be read, and what was wrong.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    /// None for an empty file and where nothing could be read.
    pub(crate) root: Option<Node>,
    pub(crate) issues: Vec<Issue>,
}

impl Node {
    /// The root of a file without content.
    pub(crate) fn empty() -> Self {
        let scalar = Scalar {
            text: String::new(),
            plain: true,
        };
        Self {
            span: Span::default(),
            value: Value::Scalar(scalar),
        }
    }

    /// A node without content: `key:` or `~` or `null`.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.plain && plain(&scalar.text) == Plain::Null)
    }

    /// For messages: what stands here.
    pub(crate) fn found(&self) -> String {
        match &self.value {
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
            Value::Scalar(_) if self.is_null() => "nothing".to_owned(),
            Value::Scalar(scalar) => match (scalar.plain, plain(&scalar.text)) {
                (true, Plain::Bool(_)) => format!("the boolean `{}`", scalar.text),
                (true, Plain::Integer | Plain::Float) => format!("the number `{}`", scalar.text),
                (true, Plain::Null | Plain::Text) | (false, _) => format!("the text `{}`", shorten(&scalar.text)),
            },
        }
    }

    /// The value of `key`, where this is a map that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(map) => map.entries.iter().find(|entry| entry.key == key),
            Value::Scalar(_) | Value::List(_) => None,
        }
    }
}

/// The first line of a text, at most 40 characters of it.
pub(crate) fn shorten(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.len() == text.trim_end().len() && line.chars().count() <= 40 {
        return line.to_owned();
    }
    let mut short: String = line.chars().take(40).collect();
    short.push('…');
    short
}
