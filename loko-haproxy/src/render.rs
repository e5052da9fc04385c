//! [`Configuration`] → haproxy.cfg, for HAProxy 3.0 and newer.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use askama::Template;
use loko_config::names::EnvName;
use loko_engine::container::short_hash;

use crate::configuration::{
    Backend, Configuration, Frontend, FrontendKind, Limits, METRICS_PATH, NamePattern, RELAY_PATH, REVISION_PATH,
    RelayDocument, Rule, Target,
};

/// How many changes a worker of before survives while it has connections. Each such worker was measured at 7 MB of its
/// own memory; so they never take more than a machine with a Kubernetes on it has.
pub const MAX_RELOADS: u16 = 256;

pub(crate) const CHECKS_OF_ONE: &str = "check inter 1s downinter 500ms fall 3 rise 1";
pub(crate) const CHECKS_OF_SEVERAL: &str = "check inter 1s downinter 500ms fall 3 rise 6";

/// A configuration as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// haproxy.cfg.
    pub text: String,
    /// 16 hexadecimal digits that change with anything in it; HAProxy answers with them at [`REVISION_PATH`].
    pub revision: String,
}

/// haproxy.cfg, and its revision, which is in it.
#[must_use]
pub fn render(configuration: &Configuration) -> Rendered {
    let revision = short_hash(text(configuration, "").as_bytes());
    Rendered {
        text: text(configuration, &revision),
        revision,
    }
}

#[derive(Template)]
#[template(path = "haproxy.cfg", escape = "none")]
struct File<'a> {
    version: &'static str,
    revision: &'a str,
    revision_path: &'static str,
    metrics_path: &'static str,
    max_reloads: u16,
    limits: Limits,
    statistics: SocketAddr,
    prometheus: bool,
    relay_path: &'static str,
    relays: &'a [RelayDocument],
    frontends: Vec<FrontendSection>,
    backends: Vec<BackendSection>,
}

struct FrontendSection {
    owners: String,
    name: String,
    mode: &'static str,
    bind: String,
    rate: u32,
    inspect: bool,
    rules: Vec<RuleLine>,
    default: Option<String>,
}

struct RuleLine {
    backend: String,
    condition: String,
}

struct BackendSection {
    owner: String,
    name: String,
    mode: &'static str,
    check: bool,
    balance: &'static str,
    servers: Vec<String>,
}

fn text(configuration: &Configuration, revision: &str) -> String {
    let file = File {
        version: env!("CARGO_PKG_VERSION"),
        revision,
        revision_path: REVISION_PATH,
        metrics_path: METRICS_PATH,
        max_reloads: MAX_RELOADS,
        limits: configuration.limits,
        statistics: configuration.statistics,
        prometheus: configuration.prometheus,
        relay_path: RELAY_PATH,
        relays: &configuration.relays,
        frontends: configuration
            .frontends
            .iter()
            .map(|frontend| frontend_section(configuration, frontend))
            .collect(),
        backends: configuration.backends.iter().map(backend_section).collect(),
    };
    // Writing to a string does not fail, and no filter of the template does.
    let mut text = file.render().unwrap_or_default();
    text.push('\n');
    text
}

/// New connections a second; 0: any number. Of HTTP HAProxy keeps connections to the nodes for the next request, and browsers and
/// load generators that ask over HTTPS come in bursts, which must not wait for what only a minute of them would use up.
fn rate(configuration: &Configuration, frontend: &Frontend) -> u32 {
    match frontend.kind {
        FrontendKind::Http | FrontendKind::Https => 0,
        FrontendKind::Sni | FrontendKind::Tcp => {
            let ids = frontend.rules.iter().map(|rule| &rule.backend).chain(&frontend.default);
            let nodes = ids.filter_map(|id| configuration.backends.iter().find(|backend| backend.id == *id));
            let least = nodes.map(|backend| backend.nodes.len()).min().unwrap_or(1).max(1);
            let least = u32::try_from(least).unwrap_or(u32::MAX);
            configuration.limits.rate.saturating_mul(least)
        }
    }
}

fn frontend_section(configuration: &Configuration, frontend: &Frontend) -> FrontendSection {
    let owners: BTreeSet<&EnvName> = frontend
        .rules
        .iter()
        .map(|rule| &rule.backend)
        .chain(&frontend.default)
        .map(|backend| &backend.environment)
        .collect();
    let owners: Vec<&str> = owners.into_iter().map(EnvName::as_str).collect();
    let unknown_host = (frontend.kind == FrontendKind::Http).then(|| "loko:unknown-host".to_owned());
    FrontendSection {
        owners: format!("{}: {} at {}", owners.join(", "), what(frontend), frontend.listen),
        name: frontend_name(frontend.kind, frontend.listen),
        mode: if frontend.kind == FrontendKind::Http {
            "http"
        } else {
            "tcp"
        },
        // An address that the host does not have at the moment (a laptop that changed its network) is bound all the same,
        // so that it does not take everybody else's ports with it; this needs no privilege (ip(7), IP_FREEBIND).
        bind: if frontend.bind == frontend.listen {
            format!("{} transparent", frontend.bind)
        } else {
            frontend.bind.to_string()
        },
        rate: rate(configuration, frontend),
        inspect: matches!(frontend.kind, FrontendKind::Https | FrontendKind::Sni),
        rules: frontend
            .rules
            .iter()
            .map(|rule| rule_line(frontend.kind, rule))
            .collect(),
        default: frontend.default.as_ref().map(ToString::to_string).or(unknown_host),
    }
}

/// The name of a frontend in haproxy.cfg and in the statistics: `https:127.0.0.1:443`, `tcp:::1:5432`.
#[must_use]
pub fn frontend_name(kind: FrontendKind, listen: SocketAddr) -> String {
    // No brackets around an IPv6 address: HAProxy takes none in a name.
    format!("{kind}:{}:{}", listen.ip(), listen.port())
}

fn what(frontend: &Frontend) -> String {
    match (frontend.kind, frontend.default.as_ref().map(|id| &id.target)) {
        (FrontendKind::Http, _) => "HTTP".to_owned(),
        (FrontendKind::Https, _) => "HTTPS".to_owned(),
        (FrontendKind::Tcp, Some(Target::Tcp { workload, .. })) => format!("workload {workload}"),
        (FrontendKind::Sni | FrontendKind::Tcp, _) => "workloads by server name".to_owned(),
    }
}

fn rule_line(kind: FrontendKind, rule: &Rule) -> RuleLine {
    let sample = if kind == FrontendKind::Http {
        "req.hdr(host),host_only"
    } else {
        "req.ssl_sni"
    };
    RuleLine {
        backend: rule.backend.to_string(),
        condition: match &rule.names {
            NamePattern::Host(host) => format!("{{ {sample} -i {host} }}"),
            NamePattern::Domain(domain) => {
                format!("{{ {sample} -i {domain} }} || {{ {sample} -i -m end .{domain} }}")
            }
        },
    }
}

fn backend_section(backend: &Backend) -> BackendSection {
    let environment = &backend.id.environment;
    let (purpose, suffix) = match &backend.id.target {
        Target::Nodes => (
            "health of the nodes that run Traefik".to_owned(),
            checks(backend.nodes.len()).to_owned(),
        ),
        // Traefik trusts the header from the engine's network only, and learns the client's address from it.
        Target::Http => ("HTTP".to_owned(), "send-proxy-v2".to_owned()),
        Target::Https => ("HTTPS".to_owned(), "send-proxy-v2".to_owned()),
        Target::Tcp { workload, .. } => (format!("workload {workload}"), String::new()),
    };
    let servers = backend.nodes.iter().map(|node| {
        let address = SocketAddr::new(node.address, backend.port.get());
        let track = if backend.id.target == Target::Nodes {
            String::new()
        } else {
            format!("track {environment}:nodes/{} ", node.name)
        };
        format!("{} {address} {track}{suffix}", node.name).trim_end().to_owned()
    });
    BackendSection {
        owner: format!("{environment}: {purpose}"),
        name: backend.id.to_string(),
        mode: if matches!(backend.id.target, Target::Nodes | Target::Http) {
            "http"
        } else {
            "tcp"
        },
        check: backend.id.target == Target::Nodes,
        balance: if matches!(backend.id.target, Target::Tcp { .. }) {
            "leastconn"
        } else {
            "roundrobin"
        },
        servers: servers.collect(),
    }
}

/// How nodes are checked. One that comes back answers before its own paths into the cluster are there, which was seen to take
/// some seconds; where others serve meanwhile it is waited for.
fn checks(nodes: usize) -> &'static str {
    if nodes > 1 { CHECKS_OF_SEVERAL } else { CHECKS_OF_ONE }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use loko_engine::EdgeMode;

    use super::*;
    use crate::configuration::{STATISTICS_PORT, Settings, decide};
    use crate::routes::Routes;
    use crate::routes::tests::routes;

    /// The text without what changes with each release.
    fn shown(list: Vec<Routes>, mode: EdgeMode) -> String {
        let Rendered { text, revision } = rendered(list, mode);
        let first = format!("LoKO {} for", env!("CARGO_PKG_VERSION"));
        text.replace(&first, "LoKO <version> for")
            .replace(&revision, "<revision>")
    }

    fn rendered(list: Vec<Routes>, mode: EdgeMode) -> Rendered {
        let settings = Settings {
            limits: Limits::new(20_000, 2),
            prometheus: true,
            statistics: STATISTICS_PORT,
            mode,
            published: Vec::new(),
        };
        let all: BTreeMap<EnvName, Routes> = list.into_iter().map(|r| (r.environment.clone(), r)).collect();
        render(&decide(&all, &settings))
    }

    #[test]
    fn no_environment() {
        insta::assert_snapshot!(shown(Vec::new(), EdgeMode::HostNetwork));
    }

    #[test]
    fn two_environments_on_one_address() {
        let mut dev = routes("dev", "127.0.0.1", "dev.me");
        dev.hosts.insert("www.example.org".parse().unwrap());
        dev.tcp[0].sni.insert("postgres.dev.me".parse().unwrap());
        let mut shop = routes("shop", "127.0.0.1", "shop.dev.me");
        shop.tcp[0].sni.insert("postgres.shop.dev.me".parse().unwrap());
        insta::assert_snapshot!(shown(vec![dev, shop], EdgeMode::HostNetwork));
    }

    #[test]
    fn one_environment_where_ports_are_published() {
        let mut dev = routes("dev", "::1", "dev.me");
        dev.udp = crate::relay::tests::udp();
        insta::assert_snapshot!(shown(vec![dev], EdgeMode::Published));
    }

    #[test]
    fn the_revision_is_in_the_text_and_changes_with_it() {
        let one = rendered(vec![routes("dev", "127.0.0.1", "dev.me")], EdgeMode::HostNetwork);
        assert_eq!(one.text.matches(&one.revision).count(), 2);
        let other = rendered(vec![routes("dev", "127.0.0.2", "dev.me")], EdgeMode::HostNetwork);
        assert_ne!(one.revision, other.revision);
    }
}
