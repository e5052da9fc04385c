//! Where the engine is: the rules of the `docker` command, over values.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::container::hex;

/// Where it is when nothing says otherwise.
pub const DEFAULT: &str = "unix:///var/run/docker.sock";

/// The context that is in force: `$DOCKER_CONTEXT`, else `currentContext` of `~/.docker/config.json`; `None` is the default one.
/// `$DOCKER_HOST` overrides both (docker: `cli/command/cli.go`).
#[must_use]
pub fn current_context(env: &BTreeMap<String, String>, config_json: Option<&str>) -> Option<String> {
    if env.get("DOCKER_HOST").is_some_and(|host| !host.is_empty()) {
        return None;
    }
    let named = env
        .get("DOCKER_CONTEXT")
        .filter(|name| !name.is_empty())
        .cloned()
        .or_else(|| {
            let config: Value = serde_json::from_str(config_json?).ok()?;
            config.get("currentContext")?.as_str().map(str::to_owned)
        });
    named.filter(|name| name != "default" && !name.is_empty())
}

/// The file that describes a context, below `~/.docker`: `contexts/meta/<sha256 of its name>/meta.json`.
#[must_use]
pub fn context_file(context: &str) -> String {
    format!("contexts/meta/{}/meta.json", hex(&Sha256::digest(context.as_bytes())))
}

/// The endpoint: `$DOCKER_HOST`, else the context's, else [`DEFAULT`].
#[must_use]
pub fn resolve(env: &BTreeMap<String, String>, context_meta: Option<&str>) -> String {
    if let Some(host) = env.get("DOCKER_HOST").filter(|host| !host.is_empty()) {
        return host.clone();
    }
    context_meta
        .and_then(|text| serde_json::from_str::<Value>(text).ok())
        .and_then(|meta| meta.pointer("/Endpoints/docker/Host")?.as_str().map(str::to_owned))
        .unwrap_or_else(|| DEFAULT.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn docker_host_wins_over_context_over_config() {
        let config = Some(r#"{"currentContext":"colima"}"#);
        assert_eq!(current_context(&env(&[]), config).as_deref(), Some("colima"));
        assert_eq!(
            current_context(&env(&[("DOCKER_CONTEXT", "orbstack")]), config).as_deref(),
            Some("orbstack")
        );
        assert_eq!(
            current_context(&env(&[("DOCKER_HOST", "tcp://127.0.0.1:1")]), config),
            None
        );
        assert_eq!(current_context(&env(&[("DOCKER_CONTEXT", "default")]), config), None);
        assert_eq!(current_context(&env(&[]), Some("not json")), None);
    }

    #[test]
    fn the_endpoint_comes_from_the_contexts_own_file() {
        let meta = r#"{"Name":"colima","Endpoints":{"docker":{"Host":"unix:///home/u/.colima/docker.sock"}}}"#;
        assert_eq!(resolve(&env(&[]), Some(meta)), "unix:///home/u/.colima/docker.sock");
        assert_eq!(resolve(&env(&[]), None), DEFAULT);
        assert_eq!(resolve(&env(&[("DOCKER_HOST", "unix:///x")]), Some(meta)), "unix:///x");
        // The digest of `colima`, as `docker context` writes it.
        assert!(context_file("colima").starts_with("contexts/meta/"));
        assert_eq!(
            context_file("colima").len(),
            "contexts/meta/".len() + 64 + "/meta.json".len()
        );
    }
}
