//! The file with every default filled in, and where each value comes from.

use serde::Serialize;
use serde_json::Value as Json;

use crate::problem::{LineIndex, Position};
use crate::read::push_key;
use crate::shape::Tree;

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
    pub(crate) fn new(tree: &Tree, text: &str) -> Self {
        let mut lines = Vec::new();
        let index = LineIndex::new(text);
        walk(tree, String::new(), Origin::Default, &index, &mut lines);
        Self {
            lines,
            tree: tree.clone(),
        }
    }

    /// The whole as one value, for JSON.
    #[must_use]
    pub fn to_json(&self) -> Json {
        self.tree.to_json()
    }

    /// The value at a path such as `network.domain`.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.path == path)
    }
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
