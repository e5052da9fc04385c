//! Values → YAML text that reads back as the same values, under YAML 1.2 and 1.1 alike.

use serde_json::Value as Json;

use crate::yaml::{Plain, plain};

mod block;

pub use block::to_yaml;

/// One value on one line: `{a: 1, b: [x, "2"]}`.
pub(crate) fn flow(json: &Json) -> String {
    match json {
        Json::Array(items) => {
            let items: Vec<_> = items.iter().map(flow).collect();
            format!("[{}]", items.join(", "))
        }
        Json::Object(map) => {
            let entries = map.iter().map(|(key, value)| format!("{}: {}", text(key), flow(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        Json::String(value) => text(value),
        Json::Null | Json::Bool(_) | Json::Number(_) => json.to_string(),
    }
}

/// A text, quoted where it would otherwise be read as something else. Never more than one line.
pub(crate) fn text(value: &str) -> String {
    if stands_plain(value) {
        value.to_owned()
    } else {
        quoted(value)
    }
}

/// In double quotes. JSON's escapes are YAML's, and what JSON leaves alone is printable here.
pub(crate) fn quoted(value: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_escaped(c) => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Controls, and the characters that YAML 1.1 takes for line breaks.
fn is_escaped(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{FEFF}' | '\u{FFFE}' | '\u{FFFF}')
}

/// Whether a text can go without quotes, also inside `[` and `{`.
fn stands_plain(value: &str) -> bool {
    let boolean_1_1 = ["yes", "no", "on", "off", "y", "n"]
        .iter()
        .any(|word| word.eq_ignore_ascii_case(value));
    let first = value.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '/' | '_' | '.' | '$'));
    let inner = value.chars().all(|c| {
        c.is_alphanumeric()
            || matches!(
                c,
                ' ' | '-' | '_' | '.' | '/' | '+' | '@' | ':' | '$' | '(' | ')' | '=' | '~'
            )
    });
    // `12:30` is a number in base 60 to YAML 1.1, `2024-01-01` a date; a merge key and document ends are not texts.
    let numeric_1_1 = value.starts_with(|c: char| c.is_ascii_digit()) && !value.contains(|c: char| c.is_alphabetic());
    let octets = value.split(['.', '/']).count() >= 4;
    first
        && inner
        && !boolean_1_1
        && (!numeric_1_1 || octets)
        && plain(value) == Plain::Text
        && !value.contains(": ")
        && !value.ends_with([':', ' '])
        && !value.starts_with("...")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;
    use proptest::prelude::*;

    #[test]
    fn quotes_where_they_are_needed() {
        for plain in [
            "dev.me",
            "ghcr.io/me/x:1.2",
            "v1.2.3",
            "10.244.0.0/16",
            "a b",
            "shop.${X}x/",
        ] {
            let wanted = if plain.contains('{') {
                quoted(plain)
            } else {
                plain.to_owned()
            };
            assert_eq!(text(plain), wanted);
        }
        for odd in [
            "",
            "2.91",
            "no",
            "Yes",
            "null",
            "~",
            "0x1",
            "12:30",
            "- a",
            "a: b",
            "a #b",
            "*x",
            "&x",
            "!x",
            "@x",
            "9001/udp ",
            "2024-01-01",
            "{",
            "a,b",
        ] {
            assert_eq!(text(odd), quoted(odd), "{odd}");
        }
    }

    proptest! {
        #[test]
        fn every_text_reads_back(value in any::<String>()) {
            prop_assume!(value.chars().all(|c| c == '\t' || c == '\n' || !c.is_control()));
            for yaml_text in [format!("a: {}\n", text(&value)), format!("[{}]", text(&value)), format!("{{a: {}}}", text(&value))] {
                let parsed = yaml::parse(&yaml_text);
                prop_assert!(parsed.issues.is_empty(), "{:?} {:?}", yaml_text, parsed.issues);
                let root = parsed.root.unwrap();
                let node = match &root.value {
                    yaml::Value::Map(map) => &map.entries[0].value,
                    yaml::Value::List(list) => &list.items[0],
                    yaml::Value::Scalar(_) => &root,
                };
                let yaml::Value::Scalar(scalar) = &node.value else { panic!("{yaml_text}") };
                prop_assert_eq!(&scalar.text, &value);
                prop_assert!(!scalar.plain || yaml::plain(&scalar.text) == yaml::Plain::Text);
            }
        }
    }
}
