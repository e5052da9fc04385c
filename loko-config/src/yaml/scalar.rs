//! What a plain scalar means under YAML 1.2's core schema (<https://yaml.org/spec/1.2.2/#103-core-schema>).

/// The type of a plain scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plain {
    Null,
    Bool(bool),
    Integer,
    Float,
    Text,
}

/// Resolves a plain scalar's text.
pub(crate) fn plain(text: &str) -> Plain {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Plain::Null,
        "true" | "True" | "TRUE" => return Plain::Bool(true),
        "false" | "False" | "FALSE" => return Plain::Bool(false),
        _ => {}
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = |text: &str, radix: u32| !text.is_empty() && text.chars().all(|c| c.is_digit(radix));
    let prefixed = |prefix: &str, radix| text.strip_prefix(prefix).is_some_and(|rest| digits(rest, radix));
    if digits(unsigned, 10) || prefixed("0o", 8) || prefixed("0x", 16) {
        return Plain::Integer;
    }
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Plain::Float;
    }
    let numeric = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'))
        && unsigned.chars().any(|c| c.is_ascii_digit());
    if numeric && unsigned.parse::<f64>().is_ok() {
        Plain::Float
    } else {
        Plain::Text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_schema() {
        let table = [
            ("", Plain::Null),
            ("~", Plain::Null),
            ("true", Plain::Bool(true)),
            ("False", Plain::Bool(false)),
            ("no", Plain::Text),
            ("on", Plain::Text),
            ("0", Plain::Integer),
            ("-12", Plain::Integer),
            ("0o17", Plain::Integer),
            ("0x1F", Plain::Integer),
            ("010", Plain::Integer),
            ("2.10", Plain::Float),
            ("1e3", Plain::Float),
            (".5", Plain::Float),
            (".inf", Plain::Float),
            ("3.3.6", Plain::Text),
            ("v1.2", Plain::Text),
            ("1_000", Plain::Text),
            ("-", Plain::Text),
            (".", Plain::Text),
            ("e5", Plain::Text),
            ("infinity", Plain::Text),
        ];
        for (text, wanted) in table {
            assert_eq!(plain(text), wanted, "{text:?}");
        }
    }
}
