//! Whatever a registry sends as `WWW-Authenticate` or `Link` is read or refused, and sends nobody elsewhere.

use loko_registry::Credentials;
use loko_registry::oci::auth::{Answer, Authorization, answer};
use loko_registry::oci::{Challenge, Scope, link};

/// Reads `bytes` as both headers.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(next) = link::next(text) {
        assert!(next.starts_with('/'), "the next page is elsewhere: {next}");
        assert!(text.contains(&next));
    }
    for found in link::parse(text).into_iter().flatten() {
        assert!(!found.target.contains(['<', '>']));
        assert!(found.parameters.iter().all(|(name, _)| !name.is_empty()));
    }
    let Some(challenges) = Challenge::parse_all(text) else {
        return;
    };
    for challenge in &challenges {
        assert_eq!(challenge.scheme, challenge.scheme.to_ascii_lowercase());
        assert!(!challenge.scheme.is_empty());
    }
    let who = Credentials {
        username: "me".to_owned(),
        password: "pw".to_owned(),
    };
    match answer(&challenges, Some(&who), &Scope::Catalog, true) {
        Answer::FetchToken(request) => assert!(request.target.starts_with("https://"), "{}", request.target),
        Answer::Repeat(authorization) => assert_eq!(authorization, Authorization::Basic(who)),
        Answer::Give => {}
    }
}
