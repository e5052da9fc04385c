//! One scalar in the place of another.

use serde_json::{Value as Json, json};

use super::super::Change;
use super::super::place::Layout;
use super::super::wanted;
use crate::problem::Span;
use crate::shape::Shape;
use crate::write;
use crate::yaml::{Node, Scalar};

/// A new scalar as it stands in YAML, and what it means.
pub(in super::super) struct Written {
    pub(in super::super) text: String,
    pub(in super::super) json: Json,
    /// Whether it is a text, so that the quotes of an old one can stay.
    pub(in super::super) string: bool,
}

/// Decides between a text and what YAML reads, by what the key takes.
pub(in super::super) fn written(shape: &Shape, value: &str) -> Written {
    let typed = wanted::scalar(value).filter(|json| !json.is_array() && !json.is_object() && !value.contains('\n'));
    let takes_text = match shape {
        Shape::Scalar { schema, .. } => takes(schema, "string"),
        Shape::Map { .. } | Shape::Dict { .. } | Shape::List(_) | Shape::Either(..) | Shape::Free { .. } => false,
    };
    let takes_typed = match (shape, &typed) {
        (Shape::Scalar { schema, .. }, Some(Json::Number(_))) => takes(schema, "integer") || takes(schema, "number"),
        (Shape::Scalar { schema, .. }, Some(Json::Bool(_))) => takes(schema, "boolean"),
        (Shape::Scalar { .. }, Some(Json::String(_))) => false,
        (_, typed) => typed.is_some(),
    };
    match typed {
        Some(json) if takes_typed && !json.is_string() => Written {
            text: value.trim().to_owned(),
            json,
            string: false,
        },
        // What fits nowhere stays as it was typed, so that loading names the problem.
        Some(json) if !takes_text && !json.is_string() => Written {
            text: value.trim().to_owned(),
            json,
            string: false,
        },
        // A text that was typed with quotes of its own means what is in them.
        Some(Json::String(inner)) if value.trim().starts_with(['"', '\'']) => text(&inner),
        Some(_) | None => text(value),
    }
}

fn text(value: &str) -> Written {
    Written {
        text: write::text(value),
        json: json!(value),
        string: true,
    }
}

/// Whether a schema of ours has this type among its alternatives.
fn takes(schema: &Json, kind: &str) -> bool {
    let own = match &schema["type"] {
        Json::String(own) => own == kind,
        Json::Array(kinds) => kinds.iter().any(|own| own == kind),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Object(_) => false,
    };
    let of_value = |value: &Json| match kind {
        "string" => value.is_string(),
        "integer" => value.is_i64(),
        _ => false,
    };
    let listed = schema["enum"]
        .as_array()
        .is_some_and(|values| values.iter().any(of_value))
        || schema.get("const").is_some_and(of_value);
    let inner = ["anyOf", "oneOf"].iter().any(|key| {
        schema[*key]
            .as_array()
            .is_some_and(|schemas| schemas.iter().any(|schema| takes(schema, kind)))
    });
    own || listed || inner
}

/// The bytes to replace, and the value that comes out. `key_end` is the end of the scalar's key.
pub(super) fn replace(
    layout: Layout<'_>,
    node: &Node,
    old: &Scalar,
    key_end: Option<usize>,
    new: &Written,
) -> (Vec<Change>, Json) {
    let span = node.span;
    let source = layout.text.get(span.start..span.end).unwrap_or_default();
    let quote = source.chars().next().filter(|c| matches!(c, '"' | '\''));
    let (span, text) = match (old.plain, quote) {
        // Empty: after the colon.
        (true, _) if span.is_empty() => {
            let at = key_end
                .and_then(|end| layout.colon(end))
                .map_or(span.end, |colon| colon + 1);
            (Span::new(at, at), format!(" {}", new.text))
        }
        (false, Some('\'')) if new.string && single_quotable(&new.json) => {
            let inner = new.json.as_str().unwrap_or_default().replace('\'', "''");
            (span, format!("'{inner}'"))
        }
        (false, Some('"')) if new.string => (span, write::quoted(new.json.as_str().unwrap_or_default())),
        (true, _) | (false, Some(_)) => (span, new.text.clone()),
        // A block: from its `|` or `>`, which stands before the span.
        (false, None) => {
            let start = key_end
                .and_then(|end| layout.colon(end))
                .map_or(span.start, |colon| colon + 1);
            (Span::new(start, span.end), format!(" {}", new.text))
        }
    };
    (vec![Change { span, new: text }], new.json.clone())
}

fn single_quotable(json: &Json) -> bool {
    json.as_str().is_some_and(|text| {
        !text
            .chars()
            .any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{FEFF}'))
    })
}
