//! Tree → raw values, with every mistake collected on the way.
//!
//! One trait, [`Field`], carries everything that is known of a kind of value: how it is read, what it looks like
//! ([`Shape`]), and how it is written back ([`Tree`]). [`section`] makes the same for a map of fixed keys. So a key that
//! can be read is also in the JSON Schema, in the reference page, in generated files and in `show`: there is no second
//! list to forget it in.

mod choice;
mod free;
mod leaf;
mod section;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::problem::{Cause, LineIndex, Problem, Severity, Span};
use crate::shape::{Shape, Tree};
use crate::yaml::{Entry, Map, Node, Value};

pub(crate) use choice::{Choice, PullPolicy, choice};
pub(crate) use free::{Annotations, Env, Free, FreeList, FreeMap};
pub(crate) use leaf::{ControlPlanes, Port, Replicas, Seconds, Workers, integer};
pub(crate) use section::{Entries, OldKey, Optional, Read, Section, Slot, key_shape, section, section_tree};

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spanned<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// A kind of value that can stand in loko.yaml.
pub(crate) trait Field: Sized {
    /// None after something was reported.
    fn read(node: &Node, cx: &mut Cx<'_>) -> Option<Self>;
    /// What it looks like, for the schema and the reference.
    fn shape() -> Shape;
    /// As one would write it.
    fn tree(&self) -> Tree;
}

/// More problems than anyone reads.
const MAX_PROBLEMS: usize = 500;

/// What reading needs and gathers.
pub(crate) struct Cx<'a> {
    lines: LineIndex<'a>,
    root: Option<&'a Node>,
    problems: Vec<Problem>,
    unlisted: usize,
    last: Span,
}

impl<'a> Cx<'a> {
    pub(crate) fn new(text: &'a str, root: Option<&'a Node>) -> Self {
        Self {
            lines: LineIndex::new(text),
            root,
            problems: Vec::new(),
            unlisted: 0,
            last: Span::default(),
        }
    }

    /// The text of `span`, as it stands in the file.
    pub(crate) fn source(&self, span: Span) -> &'a str {
        self.lines.text().get(span.start..span.end).unwrap_or_default()
    }

    pub(crate) fn error(&mut self, span: Span, cause: Cause) {
        self.report(Severity::Error, span, None, cause);
    }

    pub(crate) fn warning(&mut self, span: Span, cause: Cause) {
        self.report(Severity::Warning, span, None, cause);
    }

    pub(crate) fn report(&mut self, severity: Severity, span: Span, also: Option<Span>, cause: Cause) {
        if self.problems.len() >= MAX_PROBLEMS {
            self.unlisted += 1;
            self.last = self.last.max(span);
            return;
        }
        let path = self.root.map(|root| path_at(root, span.start)).unwrap_or_default();
        self.problems.push(Problem {
            cause,
            severity,
            path,
            span,
            position: self.lines.position(span.start),
            also: also.map(|span| (span, self.lines.position(span.start))),
        });
    }

    /// In the order of the file. What an anchor says wrongly is wrong once, however often it is used.
    pub(crate) fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|problem| problem.span);
        self.problems.dedup();
        if self.unlisted > 0 {
            self.problems.push(Problem {
                cause: Cause::TooManyProblems { count: self.unlisted },
                severity: Severity::Error,
                path: String::new(),
                span: self.last,
                position: self.lines.position(self.last.start),
                also: None,
            });
        }
        self.problems
    }

    /// Reports a node of the wrong kind.
    pub(crate) fn wrong_kind(&mut self, node: &Node, wanted: &str, remedy: impl Into<String>) {
        let remedy = remedy.into();
        let remedy = if remedy.is_empty() {
            format!("write {wanted}")
        } else {
            remedy
        };
        let cause = if node.is_null() {
            Cause::NoValue {
                wanted: wanted.to_owned(),
            }
        } else {
            Cause::WrongKind {
                found: node.found(),
                wanted: wanted.to_owned(),
                remedy,
            }
        };
        self.error(head(node), cause);
    }
}

/// The part of a node worth underlining: all of a scalar, the first byte of a collection in block style.
fn head(node: &Node) -> Span {
    match &node.value {
        Value::List(list) if list.flow => node.span,
        Value::Scalar(_) | Value::Map(Map { flow: true, .. }) => node.span,
        Value::Map(map) => map.entries.first().map_or(node.span, |entry| entry.key_span),
        Value::List(_) => Span::new(node.span.start, (node.span.start + 1).min(node.span.end)),
    }
}

/// The keys and indices that lead to the byte at `offset`.
pub(crate) fn path_at(root: &Node, offset: usize) -> String {
    let mut path = String::new();
    let mut node = root;
    loop {
        match &node.value {
            Value::Scalar(_) => return path,
            Value::List(list) => {
                let found = list
                    .items
                    .iter()
                    .enumerate()
                    .find(|(_, item)| item.span.start <= offset && offset <= item.span.end);
                let Some((index, item)) = found else { return path };
                let _ = write!(path, "[{index}]");
                node = item;
            }
            Value::Map(map) => {
                let holds = |entry: &&Entry| {
                    let own = entry.key_span.start <= offset && offset <= entry.value.span.end.max(entry.key_span.end);
                    own && !entry.merged
                };
                // The last, because an empty value ends where the next key may start.
                let Some(entry) = map.entries.iter().rev().find(holds) else {
                    return path;
                };
                push_key(&mut path, &entry.key);
                node = &entry.value;
            }
        }
    }
}

/// Appends `.key`, or `["key"]` where a dot would mislead.
pub(crate) fn push_key(path: &mut String, key: &str) {
    let simple = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'));
    if !simple {
        let _ = write!(path, "[{key:?}]");
        return;
    }
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(key);
}

/// The nearest of `candidates`, if one is near enough to `word` to be a slip of the finger: at most a third of its letters
/// differ. Case, `_` and `-` do not count.
#[must_use]
pub fn near<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let word = word.to_lowercase().replace('_', "-");
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len().max(word.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

impl<T: Field> Field for Vec<Spanned<T>> {
    fn read(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        match &node.value {
            Value::List(list) => {
                let mut read = Self::with_capacity(list.items.len());
                for item in &list.items {
                    if let Some(value) = T::read(item, cx) {
                        let span = head(item);
                        read.push(Spanned { value, span });
                    }
                }
                Some(read)
            }
            Value::Scalar(_) if node.is_null() => Some(Self::new()),
            Value::Scalar(_) | Value::Map(_) => {
                let wanted = format!("a list of {}", T::shape().plural());
                cx.wrong_kind(node, &wanted, "start each entry with `- `, or put them in `[` and `]`");
                None
            }
        }
    }

    fn shape() -> Shape {
        Shape::List(Box::new(T::shape()))
    }

    fn tree(&self) -> Tree {
        Tree::List(self.iter().map(|item| (item.value.tree(), Some(item.span))).collect())
    }
}

/// A map whose keys the user chooses.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dict<K, V> {
    pub(crate) entries: BTreeMap<K, DictEntry<V>>,
}

/// One value of a [`Dict`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DictEntry<V> {
    pub(crate) key_span: Span,
    pub(crate) value: V,
    pub(crate) span: Span,
}

impl<K, V> Default for Dict<K, V> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
        }
    }
}

/// What a key of a [`Dict`] may be.
pub(crate) trait DictKey: Ord + Sized {
    /// For messages and the schema: "a port".
    const WANTED: &'static str;
    /// None after something was reported.
    fn read_key(text: &str, span: Span, cx: &mut Cx<'_>) -> Option<Self>;
    /// As one would write it.
    fn write(&self) -> String;
}

impl<K: DictKey, V: Field> Field for Dict<K, V> {
    fn read(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let map = match &node.value {
            Value::Map(map) => map,
            Value::Scalar(_) if node.is_null() => return Some(Self::default()),
            Value::Scalar(_) | Value::List(_) => {
                cx.wrong_kind(
                    node,
                    &format!("a map of {}", K::WANTED),
                    "write `key: value`, one a line",
                );
                return None;
            }
        };
        let mut entries = BTreeMap::new();
        for entry in &map.entries {
            let key = K::read_key(&entry.key, entry.key_span, cx);
            let value = V::read(&entry.value, cx);
            if let (Some(key), Some(value)) = (key, value) {
                let (key_span, span) = (entry.key_span, entry.value.span);
                entries.insert(key, DictEntry { key_span, value, span });
            }
        }
        Some(Self { entries })
    }

    fn shape() -> Shape {
        Shape::Dict {
            key: K::WANTED,
            value: Box::new(V::shape()),
        }
    }

    fn tree(&self) -> Tree {
        let branches = self.entries.iter().map(|(key, entry)| crate::shape::Branch {
            key: key.write(),
            value: entry.value.tree(),
            span: Some(entry.key_span),
        });
        Tree::Map(branches.collect())
    }
}
