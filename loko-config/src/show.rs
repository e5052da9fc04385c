//! The file with every default filled in, and where each value comes from.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value as Json;

use crate::problem::{LineIndex, Position};
use crate::read::push_key;
use crate::shape::Tree;
use crate::write;

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Nobody wrote it.
    Default,
    /// Written in the file, at this place.
    File(Position),
}

/// One value of the file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// Keys and indices: `workloads.user[0].image`.
    pub path: String,
    /// A scalar, an empty list or map, or what is passed through whole.
    pub value: Json,
    /// Where it comes from.
    pub origin: Origin,
}

/// Every value of a file, in the order of the schema.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shown {
    /// One for each value.
    pub lines: Vec<Line>,
    #[serde(skip)]
    pub(crate) tree: Tree,
}

impl Shown {
    pub(crate) fn new(tree: Tree, text: &str) -> Self {
        let mut lines = Vec::new();
        let index = LineIndex::new(text);
        walk(&tree, String::new(), Origin::Default, &index, &mut lines);
        Self { lines, tree }
    }

    /// The whole as one value, for JSON.
    #[must_use]
    pub fn to_json(&self) -> Json {
        self.tree.to_json()
    }

    /// For machines: under `values` the whole, as [`Self::to_json`] gives it, and under `from` where each value comes from, by its
    /// path: `"default"`, or `{"file": {"line": 2, "column": 11}}`.
    #[must_use]
    pub fn with_origins(&self) -> Json {
        let from = self.lines.iter().map(|line| {
            let origin = serde_json::to_value(line.origin).unwrap_or_default();
            (line.path.clone(), origin)
        });
        serde_json::json!({"values": self.to_json(), "from": from.collect::<serde_json::Map<_, _>>()})
    }

    /// The whole as YAML, each value with a comment that says where it comes from. Loads to the same environment.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut out = String::new();
        let mut lines = self.lines.iter();
        block(&self.tree, 0, "", &mut lines, &mut out);
        out
    }

    /// The value at a path such as `network.domain`.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.path == path)
    }
}

/// Writes a tree in block style. `lines` has the origin of each leaf, in the same order.
fn block(tree: &Tree, level: usize, first: &str, lines: &mut std::slice::Iter<'_, Line>, out: &mut String) {
    let indent = "  ".repeat(level);
    let mut lead = Some(first).filter(|first| !first.is_empty());
    match tree {
        Tree::Map(branches) if !branches.is_empty() => {
            for branch in branches {
                let _ = write!(out, "{}{}:", lead.take().unwrap_or(&indent), write::text(&branch.key));
                if is_leaf(&branch.value) {
                    leaf(&branch.value, level, lines.next(), out);
                } else {
                    out.push('\n');
                    block(&branch.value, level + 1, "", lines, out);
                }
            }
        }
        Tree::List(items) if !items.is_empty() => {
            for (item, _) in items {
                let lead = format!("{}- ", lead.take().unwrap_or(&indent));
                if is_leaf(item) {
                    out.push_str(lead.trim_end());
                    leaf(item, level, lines.next(), out);
                } else {
                    block(item, level + 1, &lead, lines, out);
                }
            }
        }
        Tree::Json(_) | Tree::List(_) | Tree::Map(_) => leaf(tree, level, lines.next(), out),
    }
}

fn is_leaf(tree: &Tree) -> bool {
    match tree {
        Tree::Json(_) => true,
        Tree::List(items) => items.is_empty(),
        Tree::Map(branches) => branches.is_empty(),
    }
}

fn leaf(tree: &Tree, level: usize, line: Option<&Line>, out: &mut String) {
    let origin = match line.map(|line| line.origin) {
        Some(Origin::File(position)) => format!("line {}", position.line),
        Some(Origin::Default) | None => "default".to_owned(),
    };
    let json = tree.to_json();
    let Some(text) = json.as_str().filter(|text| text.contains('\n') && literal(text)) else {
        let _ = writeln!(out, " {} # {origin}", write::flow(&json));
        return;
    };
    let keep = if text.ends_with('\n') { "|" } else { "|-" };
    let _ = writeln!(out, " {keep} # {origin}");
    let indent = "  ".repeat(level + 1);
    for line in text.lines() {
        let _ = writeln!(out, "{indent}{line}");
    }
}

/// Whether a text of several lines survives a literal block: no line with spaces at its ends, one line feed at most at
/// the end, nothing that needs an escape.
fn literal(text: &str) -> bool {
    let lines_ok = text
        .trim_end_matches('\n')
        .split('\n')
        .all(|line| line == line.trim() && !line.is_empty() && !line.chars().any(char::is_control));
    lines_ok && !text.ends_with("\n\n")
}

fn walk(tree: &Tree, path: String, origin: Origin, index: &LineIndex<'_>, lines: &mut Vec<Line>) {
    let of = |span: Option<crate::problem::Span>| span.map(|span| Origin::File(index.position(span.start)));
    match tree {
        Tree::List(items) if !items.is_empty() => {
            for (at, (item, span)) in items.iter().enumerate() {
                let origin = if origin == Origin::Default {
                    origin
                } else {
                    of(*span).unwrap_or(origin)
                };
                walk(item, format!("{path}[{at}]"), origin, index, lines);
            }
        }
        Tree::Map(branches) if !branches.is_empty() => {
            for branch in branches {
                let mut path = path.clone();
                push_key(&mut path, &branch.key);
                walk(
                    &branch.value,
                    path,
                    of(branch.span).unwrap_or(Origin::Default),
                    index,
                    lines,
                );
            }
        }
        Tree::Json(_) | Tree::List(_) | Tree::Map(_) => lines.push(Line {
            path,
            value: tree.to_json(),
            origin,
        }),
    }
}
