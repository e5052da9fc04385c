//! Values over several lines, as people and `kubectl` read them.

use serde_json::Value as Json;

use super::{is_escaped, text};

/// A value as YAML in block style, with a line end. Texts that YAML 1.1 (which `kubectl` reads) or 1.2 takes for something
/// else are quoted: `yes`, `12:30`, `1.0`. Maps keep their order.
///
/// ```
/// let value = serde_json::json!({"args": ["--appendonly", "yes"], "conf": "a\nb\n"});
/// assert_eq!(loko_config::to_yaml(&value), "args:\n  - \"--appendonly\"\n  - \"yes\"\nconf: |\n  a\n  b\n");
/// ```
#[must_use]
pub fn to_yaml(value: &Json) -> String {
    let mut out = String::new();
    match value {
        Json::Object(map) if !map.is_empty() => entries(&mut out, map, 0),
        Json::Array(list) if !list.is_empty() => items(&mut out, list, 0),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) | Json::Object(_) => {
            out.push_str(&scalar(value, 0));
            out.push('\n');
        }
    }
    out
}

fn entries(out: &mut String, map: &serde_json::Map<String, Json>, depth: usize) {
    for (index, (key, value)) in map.iter().enumerate() {
        // The first entry of a map in a list stands behind the dash.
        if index > 0 || !out.ends_with("- ") {
            indent(out, depth);
        }
        out.push_str(&text(key));
        out.push(':');
        match value {
            Json::Object(inner) if !inner.is_empty() => {
                out.push('\n');
                entries(out, inner, depth + 1);
            }
            Json::Array(inner) if !inner.is_empty() => {
                out.push('\n');
                items(out, inner, depth + 1);
            }
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) | Json::Object(_) => {
                out.push(' ');
                out.push_str(&scalar(value, depth + 1));
                out.push('\n');
            }
        }
    }
}

fn items(out: &mut String, list: &[Json], depth: usize) {
    for (index, value) in list.iter().enumerate() {
        if index > 0 || !out.ends_with("- ") {
            indent(out, depth);
        }
        out.push_str("- ");
        match value {
            Json::Object(inner) if !inner.is_empty() => entries(out, inner, depth + 1),
            Json::Array(inner) if !inner.is_empty() => items(out, inner, depth + 1),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) | Json::Object(_) => {
                out.push_str(&scalar(value, depth + 1));
                out.push('\n');
            }
        }
    }
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n("  ", depth));
}

/// What stands on one line, or a literal block whose lines are indented to `depth`.
fn scalar(value: &Json, depth: usize) -> String {
    match value {
        Json::String(value) if is_literal(value) => literal(value, depth),
        Json::String(value) => text(value),
        // Only empty ones come here.
        Json::Object(_) => "{}".to_owned(),
        Json::Array(_) => "[]".to_owned(),
        Json::Null | Json::Bool(_) | Json::Number(_) => value.to_string(),
    }
}

/// Whether a text of several lines may go as it is: every line break is one, and the first line shows the indentation.
fn is_literal(value: &str) -> bool {
    value.trim_end_matches('\n').contains('\n')
        && !value.starts_with([' ', '\t', '\n'])
        && value.chars().all(|c| matches!(c, '\n' | '\t') || !is_escaped(c))
}

fn literal(value: &str, depth: usize) -> String {
    let body = value.trim_end_matches('\n');
    let ends = value.len() - body.len();
    let mut out = String::from(match ends {
        0 => "|-",
        1 => "|",
        _ => "|+",
    });
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            indent(&mut out, depth);
            out.push_str(line);
        }
    }
    out.extend(std::iter::repeat_n('\n', ends.saturating_sub(1)));
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_laid_out_as_people_write_it() {
        let value = json!({
            "kind": "X",
            "empty": {}, "none": [], "nothing": null, "number": 3, "on": true,
            "list": [{"name": "a", "value": "no"}, {"list": ["x", ["y", "z"]]}, []],
            "text": "a: b\n\n  c\n", "open": "a\nb", "more": "a\nb\n\n", "odd": " a\nb",
        });
        insta::assert_snapshot!(to_yaml(&value));
    }

    fn values() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::Bool),
            any::<i32>().prop_map(Json::from),
            "[ -~\n\t]{0,12}".prop_map(Json::String),
            "(yes|No|on|12:30|1e3|0x1f|~|null|a\nb\n|\n\n|x\n\n\ny)".prop_map(Json::String),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Json::Array),
                prop::collection::btree_map("[ -~]{0,8}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in values()) {
            let yaml = to_yaml(&value);
            let read: Json = serde_saphyr::from_str(&yaml).map_err(|error| TestCaseError::fail(format!("{error}\n{yaml}")))?;
            prop_assert_eq!(read, value, "{}", yaml);
        }
    }
}
