//! A template's parts are the template, and a text without variables stays as it is.

use std::collections::BTreeMap;

use loko_config::edit::parse_path;
use loko_config::variables::{expand, parse};

/// Parses and expands `bytes` as a template; reads them as a path as well.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let joined: String = parse(text).into_iter().map(|(_, range)| &text[range]).collect();
    assert_eq!(joined, text, "parts do not cover the template");
    let nothing = (BTreeMap::new(), BTreeMap::new());
    match expand(text, &nothing.0, &nothing.1) {
        Ok(expanded) => assert!(text.contains('$') || expanded == text),
        Err(mistakes) => assert!(mistakes.iter().all(|mistake| text.get(mistake.range.clone()).is_some())),
    }
    let doubled = text.replace('$', "$$");
    assert_eq!(expand(&doubled, &nothing.0, &nothing.1).as_deref(), Ok(text));
    let _ = parse_path(text);
}
