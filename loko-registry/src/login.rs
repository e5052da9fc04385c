//! Names and passwords as `docker login` keeps them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::spec::Credentials;

/// The name and the password for a registry's host in a `~/.docker/config.json` (docs.docker.com, "docker login"). None where
/// there are none, or where a credential store of the system keeps them, which is a program of its own.
///
/// ```
/// use loko_registry::login::credentials;
///
/// let config = r#"{"auths": {"https://index.docker.io/v1/": {"auth": "bWU6cHc6MQ=="}, "ghcr.io": {}}}"#;
/// let found = credentials(config, "registry-1.docker.io").unwrap();
/// assert_eq!((found.username.as_str(), found.password.as_str()), ("me", "pw:1"));
/// assert_eq!(credentials(config, "ghcr.io"), None);
/// ```
#[must_use]
pub fn credentials(config: &str, host: &str) -> Option<Credentials> {
    #[derive(Deserialize)]
    struct Config {
        #[serde(default)]
        auths: BTreeMap<String, Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        auth: Option<String>,
    }
    let config: Config = serde_json::from_str(config).ok()?;
    let hub = |host: &str| matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io");
    let is = |key: &str| {
        let key = key.split_once("://").map_or(key, |(_, rest)| rest);
        let key = key.split('/').next().unwrap_or(key);
        key == host || (hub(key) && hub(host))
    };
    let auth = config.auths.iter().find(|(key, _)| is(key))?.1.auth.as_deref()?;
    let text = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    Some(Credentials {
        username: username.to_owned(),
        password: password.trim_end_matches('\0').to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_login_is_none() {
        for config in [
            "",
            "[]",
            "{}",
            r#"{"auths": {"r.example": {"auth": "%"}}}"#,
            r#"{"auths": {"r.example": {"auth": "bWU="}}}"#,
            r#"{"auths": {"r.example:5000": {"auth": "bWU6cHc="}}, "credsStore": "pass"}"#,
        ] {
            assert_eq!(credentials(config, "r.example"), None, "{config}");
        }
        let config = r#"{"auths": {"r.example:5000": {"auth": "bWU6cHc="}}}"#;
        assert!(credentials(config, "r.example:5000").is_some());
    }
}
