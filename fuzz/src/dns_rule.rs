//! Names in Traefik's rules: what is found is in the text, and a rule of our own is read whole.

use loko_dns::rule::hosts;

/// Reads `bytes` as a rule; its names make a rule that has the same names, and one that has none.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let names = hosts(text);
    let lower = text.to_ascii_lowercase();
    assert!(names.iter().all(|name| lower.contains(name.as_str())));
    let matchers: Vec<String> = names.iter().map(|name| format!("Host(`{name}`)")).collect();
    let rule = matchers.join(" || ");
    assert_eq!(hosts(&rule), names);
    assert!(hosts(&format!("!({rule})")).is_empty());
    assert_eq!(hosts(&format!("!(!({rule}) && PathPrefix(`/`))")), names);
}
