//! New keys and new entries of lists.

use serde_json::Value as Json;

use super::super::Change;
use super::super::place::{Layout, is_copy, is_flow, key_column};
use super::scalar::Written;
use crate::problem::Span;
use crate::write;
use crate::yaml::{Map, Node, Value};

/// Adds `keys[0]: {keys[1]: …: value}` to a map, or to an empty value, whose key ends at `key_end`.
pub(super) fn keys(
    layout: Layout<'_>,
    node: &Node,
    key_end: Option<usize>,
    keys: &[&str],
    value: &Written,
) -> Option<Vec<Change>> {
    match &node.value {
        Value::Map(map) if map.flow => {
            let json_like = quotes_keys(layout, map);
            let value = if json_like {
                value.json.to_string()
            } else {
                value.text.clone()
            };
            Some(vec![into_flow(
                layout,
                node,
                map.entries.is_empty(),
                &nested_flow(keys, &value, json_like),
            )])
        }
        Value::Map(map) => {
            let column = key_column(layout, map)?;
            Some(vec![after_line(
                layout,
                node.span.end,
                &nested_block(keys, &value.text, column, layout),
            )])
        }
        Value::Scalar(_) if node.is_null() => under_key(layout, node, key_end, |column| {
            nested_block(keys, &value.text, column, layout)
        }),
        Value::Scalar(_) | Value::List(_) => None,
    }
}

/// Adds `key: value` behind another entry of a map.
pub(super) fn after_entry(
    layout: Layout<'_>,
    node: &Node,
    entry: &str,
    key: &str,
    value: &Written,
) -> Option<Vec<Change>> {
    let Value::Map(map) = &node.value else { return None };
    let entry = map.entries.iter().find(|own| own.key == entry && !own.merged);
    let Some(entry) = entry.filter(|entry| !is_copy(node, &entry.value)) else {
        return keys(layout, node, None, &[key], value);
    };
    let end = entry.value.span.end;
    if map.flow {
        let key = if quotes_keys(layout, map) {
            write::quoted(key)
        } else {
            key.to_owned()
        };
        let at = Span::new(end, end);
        return Some(vec![Change {
            span: at,
            new: format!(", {key}: {}", value.text),
        }]);
    }
    let column = key_column(layout, map)?;
    let line = format!("{}{key}: {}", " ".repeat(column), value.text);
    Some(vec![after_line(layout, end, &line)])
}

/// Appends an entry to the list under keys, which are made where they are missing.
pub(super) fn item(layout: Layout<'_>, root: &Node, keys: &[&str], fields: &[(String, Json)]) -> Option<Vec<Change>> {
    let mut node = root;
    let mut key_end = None;
    for (at, key) in keys.iter().enumerate() {
        let Some(entry) = node.get(key).filter(|entry| !entry.merged) else {
            return missing(layout, node, key_end, &keys[at..], fields);
        };
        if is_copy(node, &entry.value) && !entry.value.is_null() {
            return None;
        }
        key_end = Some(entry.key_span.end);
        node = &entry.value;
    }
    match &node.value {
        Value::List(list)
            if list.flow && list.items.is_empty() && key_end.is_some_and(|end| in_block(layout, root, end)) =>
        {
            // `user: []` becomes a block.
            let key_end = key_end?;
            let column = layout.indent(key_end) + 2;
            let colon = layout.colon(key_end)?;
            let comment_free = Span::new(colon + 1, node.span.end);
            let line_end = layout.line_end(node.span.end);
            let block = block_item(fields, column, layout);
            Some(vec![
                Change {
                    span: comment_free,
                    new: String::new(),
                },
                Change {
                    span: Span::new(line_end, line_end),
                    new: format!("{}{block}", layout.newline),
                },
            ])
        }
        Value::List(list) if list.flow => {
            let json_like = list.items.first().is_some_and(|item| match &item.value {
                Value::Map(map) => quotes_keys(layout, map),
                Value::Scalar(_) | Value::List(_) => false,
            });
            let entry = flow_item(fields, json_like);
            Some(vec![into_flow(layout, node, list.items.is_empty(), &entry)])
        }
        Value::List(list) => {
            let dash = layout.dash(list.items.first()?)?;
            let column = layout.column(dash);
            Some(vec![after_line(
                layout,
                node.span.end,
                &block_item(fields, column, layout),
            )])
        }
        Value::Scalar(_) if node.is_null() => {
            under_key(layout, node, key_end, |column| block_item(fields, column, layout))
        }
        Value::Scalar(_) | Value::Map(_) => None,
    }
}

/// The keys down to the list are not there, or not all.
fn missing(
    layout: Layout<'_>,
    node: &Node,
    key_end: Option<usize>,
    keys: &[&str],
    fields: &[(String, Json)],
) -> Option<Vec<Change>> {
    let block = |column: usize| {
        let mut lines = Vec::new();
        for (depth, key) in keys.iter().enumerate() {
            lines.push(format!("{}{key}:", " ".repeat(column + 2 * depth)));
        }
        lines.push(block_item(fields, column + 2 * keys.len(), layout));
        lines.join(layout.newline)
    };
    match &node.value {
        Value::Map(map) if map.flow => {
            let json_like = quotes_keys(layout, map);
            let list = format!("[{}]", flow_item(fields, json_like));
            let entry = nested_flow(keys, &list, json_like);
            Some(vec![into_flow(layout, node, map.entries.is_empty(), &entry)])
        }
        Value::Map(map) => {
            let column = key_column(layout, map)?;
            Some(vec![after_line(layout, node.span.end, &block(column))])
        }
        Value::Scalar(_) if node.is_null() => under_key(layout, node, key_end, block),
        Value::Scalar(_) | Value::List(_) => None,
    }
}

/// Lines below a key that has no value; at the top of the file where there is no key either.
fn under_key(
    layout: Layout<'_>,
    node: &Node,
    key_end: Option<usize>,
    lines: impl FnOnce(usize) -> String,
) -> Option<Vec<Change>> {
    let Some(key_end) = key_end else {
        // An empty file, perhaps with comments.
        let end = layout.text.len();
        let lead = if layout.text.is_empty() || layout.text.ends_with('\n') {
            ""
        } else {
            layout.newline
        };
        return Some(vec![Change {
            span: Span::new(end, end),
            new: format!("{lead}{}{}", lines(0), layout.newline),
        }]);
    };
    let colon = layout.colon(key_end)?;
    let mut changes = Vec::new();
    if !node.span.is_empty() {
        // `~` or `null` makes room.
        changes.push(Change {
            span: Span::new(colon + 1, node.span.end),
            new: String::new(),
        });
    }
    let line_end = layout.line_end(node.span.end.max(colon + 1));
    let column = layout.column(key_start(layout, key_end)) + 2;
    changes.push(Change {
        span: Span::new(line_end, line_end),
        new: format!("{}{}", layout.newline, lines(column)),
    });
    Some(changes)
}

/// Where the key that ends here starts, in block style: after the indentation and the dashes of its line.
fn key_start(layout: Layout<'_>, key_end: usize) -> usize {
    let start = layout.line_start(key_end);
    let lead = layout.text[start..key_end]
        .bytes()
        .take_while(|byte| matches!(byte, b' ' | b'-'))
        .count();
    start + lead
}

/// Whether a key stands in block style: nothing but indentation and dashes before it on its line.
fn in_block(layout: Layout<'_>, root: &Node, key_end: usize) -> bool {
    !is_flow(root) && {
        let start = key_start(layout, key_end);
        !layout.text[start..key_end].contains(['{', '[', ','])
    }
}

/// Lines behind the line in which `offset` lies.
fn after_line(layout: Layout<'_>, offset: usize, lines: &str) -> Change {
    let end = layout.line_end(offset);
    Change {
        span: Span::new(end, end),
        new: format!("{}{lines}", layout.newline),
    }
}

/// An entry before the closing bracket of a flow collection.
fn into_flow(layout: Layout<'_>, node: &Node, empty: bool, entry: &str) -> Change {
    let close = node.span.end.saturating_sub(1);
    let inner = layout.text.get(node.span.start..close).unwrap_or_default();
    let body = inner.trim_end();
    let at = node.span.start + body.len();
    let separator = match body.chars().last() {
        Some('{' | '[') if empty => "",
        Some(',') => " ",
        _ => ", ",
    };
    Change {
        span: Span::new(at, at),
        new: format!("{separator}{entry}"),
    }
}

/// Whether the keys of a flow map are quoted, as in JSON; for an empty one, whether the file looks like JSON.
fn quotes_keys(layout: Layout<'_>, map: &Map) -> bool {
    match map.entries.first() {
        Some(entry) => layout.text[entry.key_span.start..].starts_with('"'),
        None => layout
            .text
            .trim_start()
            .strip_prefix('{')
            .is_some_and(|rest| rest.trim_start().starts_with('"')),
    }
}

fn nested_flow(keys: &[&str], value: &str, json_like: bool) -> String {
    let key = |key: &str| {
        if json_like {
            write::quoted(key)
        } else {
            write::text(key)
        }
    };
    let mut out = value.to_owned();
    for (depth, own) in keys.iter().enumerate().rev() {
        out = format!("{}: {out}", key(own));
        if depth > 0 {
            out = format!("{{{out}}}");
        }
    }
    out
}

fn nested_block(keys: &[&str], value: &str, column: usize, layout: Layout<'_>) -> String {
    let lines: Vec<_> = keys
        .iter()
        .enumerate()
        .map(|(depth, key)| {
            let end = if depth + 1 == keys.len() {
                format!(" {value}")
            } else {
                String::new()
            };
            format!("{}{}:{end}", " ".repeat(column + 2 * depth), write::text(key))
        })
        .collect();
    lines.join(layout.newline)
}

fn flow_item(fields: &[(String, Json)], json_like: bool) -> String {
    let entries: Vec<_> = fields
        .iter()
        .map(|(key, value)| {
            if json_like {
                format!("{}: {value}", write::quoted(key))
            } else {
                format!("{}: {}", write::text(key), write::flow(value))
            }
        })
        .collect();
    format!("{{{}}}", entries.join(", "))
}

/// `- name: x` and the other fields under it, without a line break at the end.
fn block_item(fields: &[(String, Json)], column: usize, layout: Layout<'_>) -> String {
    let lines: Vec<_> = fields
        .iter()
        .enumerate()
        .map(|(at, (key, value))| {
            let lead = if at == 0 { "- " } else { "  " };
            format!(
                "{}{lead}{}: {}",
                " ".repeat(column),
                write::text(key),
                write::flow(value)
            )
        })
        .collect();
    lines.join(layout.newline)
}
