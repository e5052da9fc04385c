//! What Traefik says of its own routes (Traefik's manual, "API & Dashboard": `GET /api/http/routers`).
//!
//! A 404 is a workload's answer or Traefik's, which does not know its route yet: only Traefik can tell.

use std::collections::BTreeSet;

use serde::Deserialize;

/// Answered by a Traefik that knows the route to it, and so has read what the API server has.
pub const VERSION_PATH: &str = "/api/version";
/// Every route of HTTP.
pub const ROUTERS_PATH: &str = "/api/http/routers";
/// The query of [`ROUTERS_PATH`] for all of them: without it, there are a hundred on a page.
pub const ALL: &str = "per_page=100000";

/// A route, as far as it is read.
#[derive(Deserialize)]
struct Router {
    #[serde(default)]
    rule: String,
    /// `enabled`, `warning` or `disabled`; the last one leads nowhere.
    #[serde(default)]
    status: String,
}

/// The hosts of `hosts` that no route in `answer` is for: the body of [`ROUTERS_PATH`]. A rule is what a
/// user wrote, with backticks as a rule, or what Traefik makes of an Ingress: `Host("a.dev.me") && PathPrefix("/")` as of v3.7, with
/// backticks before.
pub fn unknown<'a>(answer: &str, hosts: &BTreeSet<&'a str>) -> Result<BTreeSet<&'a str>, serde_json::Error> {
    let routers: Vec<Router> = serde_json::from_str(answer)?;
    let is_known = |host: &str| {
        let wanted = [format!("Host(`{host}`)"), format!("Host(\"{host}\")")];
        let mut enabled = routers.iter().filter(|router| router.status != "disabled");
        enabled.any(|router| wanted.iter().any(|host| router.rule.contains(host)))
    };
    Ok(hosts.iter().copied().filter(|host| !is_known(host)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_known_by_a_rule_that_is_enabled() {
        let answer = r#"[
            {"entryPoints": ["websecure"], "service": "a", "rule": "Host(`a.dev.me`) && PathPrefix(`/`)", "status": "enabled"},
            {"entryPoints": ["websecure"], "service": "b", "rule": "Host(`b.dev.me`)", "status": "disabled"},
            {"provider": "kubernetes", "rule": "Host(\"c.dev.me\") && PathPrefix(\"/\")", "status": "enabled"},
            {"entryPoints": ["ping"], "service": "ping@internal", "rule": "PathPrefix(`/ping`)", "priority": 9223372036854775807}
        ]"#;
        let hosts = BTreeSet::from(["a.dev.me", "b.dev.me", "c.dev.me", "dev.me"]);
        assert_eq!(unknown(answer, &hosts).unwrap(), BTreeSet::from(["b.dev.me", "dev.me"]));
        assert_eq!(unknown("[]", &hosts).unwrap(), hosts);
        assert!(unknown("404 page not found\n", &hosts).is_err());
    }
}
