//! The placeholders of entries: `%{name}`.

use serde_json::Value;

use crate::secrets::Secrets;

/// What stands where a secret is not shown.
pub(super) const HIDDEN: &str = "••••";

/// Replaces every `%{…}` by what `value_of` gives for its inside; `Err` is the inside of the first one that it does not know.
/// What has no closing brace stays as it is.
pub(super) fn fill(template: &str, value_of: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("%{") {
        let Some((inside, behind)) = after.split_once('}') else {
            break;
        };
        filled.push_str(before);
        filled.push_str(&value_of(inside).ok_or_else(|| inside.to_owned())?);
        rest = behind;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// The same in every text of a JSON value, but for the keys of maps.
pub(super) fn fill_all(value: &mut Value, value_of: &dyn Fn(&str) -> Option<String>) -> Result<(), String> {
    match value {
        Value::String(text) => *text = fill(text, value_of)?,
        Value::Array(list) => list.iter_mut().try_for_each(|item| fill_all(item, value_of))?,
        Value::Object(map) => map.values_mut().try_for_each(|item| fill_all(item, value_of))?,
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    Ok(())
}

/// Replaces `%{secret.<field>}`, which is all that is left once a workload is resolved.
pub(super) fn with_secrets(template: &str, workload: &str, secrets: &Secrets, reveal: bool) -> String {
    let value_of = |inside: &str| {
        let field = inside.strip_prefix("secret.")?;
        let secret = secrets.get(workload, field).filter(|_| reveal);
        Some(secret.map_or_else(|| HIDDEN.to_owned(), |secret| secret.reveal().to_owned()))
    };
    fill(template, &value_of).unwrap_or_else(|_| template.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn placeholders_are_filled_and_everything_else_stays() {
        let value_of = |name: &str| (name == "a").then(|| "%{a}$".to_owned());
        assert_eq!(
            fill("x%{a}y%{a}", &value_of),
            Ok("x%{a}$y%{a}$".to_owned()),
            "what is filled in is not filled again"
        );
        assert_eq!(fill("100% %{ a", &value_of), Ok("100% %{ a".to_owned()));
        assert_eq!(fill("%{b}", &value_of), Err("b".to_owned()));
    }

    proptest! {
        #[test]
        fn a_text_without_placeholders_is_itself(text in "[^%]*") {
            prop_assert_eq!(fill(&text, &|_| None), Ok(text));
        }

        #[test]
        fn any_text_is_taken(text in any::<String>()) {
            let _ = fill(&text, &|_| Some(String::new()));
        }
    }
}
