//! Routes of all environments → [`Configuration`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;

use loko_config::names::EnvName;
use loko_config::slots::{PING_NODE_PORT, WEB_NODE_PORT, WEBSECURE_NODE_PORT};
use loko_engine::EdgeMode;

use super::{Backend, BackendId, Configuration, Frontend, FrontendKind, NamePattern, Rule, Settings, Target};
use crate::relay;
use crate::routes::{Routes, covers};

/// The configuration that serves all `routes`. Where two environments collide (see [`crate::routes::conflicts`]) the
/// first by name keeps what it has.
#[must_use]
pub fn decide(routes: &BTreeMap<EnvName, Routes>, settings: &Settings) -> Configuration {
    let mut frontends = BTreeMap::<SocketAddr, Frontend>::new();
    let mut backends = Vec::new();
    for routes in routes.values() {
        add_environment(&mut frontends, &mut backends, routes);
    }
    let mut frontends: Vec<Frontend> = frontends.into_values().collect();
    for frontend in &mut frontends {
        finish(frontend);
    }
    let localhost = match settings.mode {
        EdgeMode::HostNetwork => Ipv4Addr::LOCALHOST,
        EdgeMode::Published => {
            bind_inside(&mut frontends, settings);
            Ipv4Addr::UNSPECIFIED
        }
    };
    backends.sort_by(|a: &Backend, b| a.id.cmp(&b.id));
    Configuration {
        limits: settings.limits,
        statistics: SocketAddr::new(localhost.into(), settings.statistics),
        prometheus: settings.prometheus,
        frontends,
        backends,
        relays: routes.values().filter_map(relay::document).collect(),
    }
}

fn add_environment(frontends: &mut BTreeMap<SocketAddr, Frontend>, backends: &mut Vec<Backend>, routes: &Routes) {
    let mut add = |port: NonZeroU16, kind, rules: Vec<NamePattern>, target: Target, node_port| {
        let id = BackendId {
            environment: routes.environment.clone(),
            target,
        };
        let listen = SocketAddr::new(routes.address, port.get());
        let frontend = frontends.entry(listen).or_insert_with(|| Frontend {
            kind,
            listen,
            bind: listen,
            rules: Vec::new(),
            default: (kind == FrontendKind::Tcp).then(|| id.clone()),
        });
        let served = match kind {
            FrontendKind::Tcp => frontend.default.as_ref() == Some(&id),
            FrontendKind::Http | FrontendKind::Https | FrontendKind::Sni => frontend.kind == kind,
        };
        // A port that is there twice leads where the first one does.
        if !served || backends.iter().any(|backend| backend.id == id) {
            return;
        }
        frontend.rules.extend(rules.into_iter().map(|names| Rule {
            names,
            backend: id.clone(),
        }));
        backends.push(Backend {
            id,
            port: node_port,
            nodes: routes.nodes.clone(),
        });
    };
    let outside = routes
        .hosts
        .iter()
        .filter(|host| !covers(&routes.domain, host))
        .cloned();
    let mut web: Vec<NamePattern> = outside.map(NamePattern::Host).collect();
    web.push(NamePattern::Domain(routes.domain.clone()));
    add(
        routes.http,
        FrontendKind::Http,
        web.clone(),
        Target::Http,
        at(WEB_NODE_PORT),
    );
    add(
        routes.https,
        FrontendKind::Https,
        web,
        Target::Https,
        at(WEBSECURE_NODE_PORT),
    );
    for route in &routes.tcp {
        let kind = if route.sni.is_empty() {
            FrontendKind::Tcp
        } else {
            FrontendKind::Sni
        };
        let target = Target::Tcp {
            workload: route.workload.clone(),
            listen: route.listen,
        };
        let names = route.sni.iter().cloned().map(NamePattern::Host).collect();
        add(route.listen, kind, names, target, route.node_port);
    }
    backends.push(Backend {
        id: BackendId {
            environment: routes.environment.clone(),
            target: Target::Nodes,
        },
        port: at(PING_NODE_PORT),
        nodes: routes.nodes.clone(),
    });
}

/// Orders the rules, takes out what an earlier one has answered, and sends the rest to the one environment there is.
fn finish(frontend: &mut Frontend) {
    frontend.rules.sort_by(|a, b| rank(&a.names).cmp(&rank(&b.names)));
    frontend.rules.dedup_by(|later, earlier| later.names == earlier.names);
    let mut environments = frontend.rules.iter().map(|rule| &rule.backend);
    if let FrontendKind::Http | FrontendKind::Https = frontend.kind
        && let Some(first) = environments.next()
        && environments.all(|other| other == first)
    {
        frontend.default = Some(first.clone());
    }
}

/// Single names first, then domains, the longest first; so a domain below another's is found before it.
fn rank(names: &NamePattern) -> (bool, usize, &str) {
    match names {
        NamePattern::Host(host) => (false, 0, host.as_str()),
        NamePattern::Domain(domain) => (true, usize::MAX - domain.as_str().len(), domain.as_str()),
    }
}

/// In a network namespace of its own HAProxy binds any address; a port that two addresses of the host have needs a second
/// number there.
fn bind_inside(frontends: &mut [Frontend], settings: &Settings) {
    let had: BTreeMap<SocketAddr, u16> = settings
        .published
        .iter()
        .map(|port| (SocketAddr::new(port.host_ip, port.host_port), port.container_port))
        .collect();
    let mut used: BTreeSet<u16> = had.values().copied().chain([settings.statistics]).collect();
    let wanted: BTreeSet<u16> = frontends.iter().map(|frontend| frontend.listen.port()).collect();
    let mut spare = (20_000..=u16::MAX)
        .filter(|port| !used.contains(port) && !wanted.contains(port))
        .collect::<Vec<_>>()
        .into_iter();
    for frontend in frontends {
        let port = frontend.listen.port();
        let inner = had.get(&frontend.listen).copied().unwrap_or_else(|| {
            if used.insert(port) {
                port
            } else {
                spare.next().unwrap_or(port)
            }
        });
        frontend.bind = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), inner);
    }
}

fn at(port: u16) -> NonZeroU16 {
    NonZeroU16::new(port).unwrap_or(NonZeroU16::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::{Limits, STATISTICS_PORT};
    use crate::routes::tests::{port, routes};

    pub(crate) fn settings(mode: EdgeMode) -> Settings {
        Settings {
            limits: Limits::new(20_000, 2),
            prometheus: true,
            statistics: STATISTICS_PORT,
            mode,
            published: Vec::new(),
        }
    }

    fn all(list: Vec<Routes>) -> BTreeMap<EnvName, Routes> {
        list.into_iter()
            .map(|routes| (routes.environment.clone(), routes))
            .collect()
    }

    fn goes_to(configuration: &Configuration, listen: &str, name: Option<&str>) -> Option<String> {
        configuration
            .route(listen.parse().unwrap(), name)
            .map(|backend| backend.id.to_string())
    }

    #[test]
    fn the_longest_suffix_wins_and_single_names_come_first() {
        let mut dev = routes("dev", "127.0.0.1", "dev.me");
        dev.hosts.insert("www.example.org".parse().unwrap());
        let mut shop = routes("shop", "127.0.0.1", "shop.dev.me");
        shop.tcp.clear();
        let configuration = decide(&all(vec![dev, shop]), &settings(EdgeMode::HostNetwork));
        let https = |name| goes_to(&configuration, "127.0.0.1:443", name);
        assert_eq!(https(Some("dev.me")).as_deref(), Some("dev:https"));
        assert_eq!(https(Some("a.b.dev.me")).as_deref(), Some("dev:https"));
        assert_eq!(https(Some("Shop.Dev.Me")).as_deref(), Some("shop:https"));
        assert_eq!(https(Some("api.shop.dev.me")).as_deref(), Some("shop:https"));
        assert_eq!(https(Some("www.example.org")).as_deref(), Some("dev:https"));
        assert_eq!(https(Some("other.example.org")), None, "nobody's");
        assert_eq!(https(None), None, "no name, two environments");
        assert_eq!(
            goes_to(&configuration, "127.0.0.1:5432", None).as_deref(),
            Some("dev:tcp:postgres:5432")
        );
    }

    #[test]
    fn one_environment_alone_gets_every_name() {
        let configuration = decide(
            &all(vec![routes("dev", "127.0.0.1", "dev.me")]),
            &settings(EdgeMode::HostNetwork),
        );
        assert_eq!(
            goes_to(&configuration, "127.0.0.1:443", None).as_deref(),
            Some("dev:https")
        );
        assert_eq!(
            goes_to(&configuration, "127.0.0.1:80", Some("x.y")).as_deref(),
            Some("dev:http")
        );
    }

    #[test]
    fn published_ports_are_unique_inside() {
        let dev = routes("dev", "127.0.0.1", "dev.me");
        let shop = routes("shop", "127.0.0.2", "shop.me");
        let configuration = decide(&all(vec![dev, shop]), &settings(EdgeMode::Published));
        let inner: BTreeSet<u16> = configuration.published().iter().map(|p| p.container_port).collect();
        assert_eq!(inner.len(), 7, "three each and the statistics");
        assert!(inner.contains(&5432) && inner.contains(&20_000));
        assert!(configuration.frontends.iter().all(|f| f.bind.ip().is_unspecified()));
        let after = Settings {
            published: configuration.published(),
            ..settings(EdgeMode::Published)
        };
        let alone = decide(&all(vec![routes("shop", "127.0.0.2", "shop.me")]), &after).published();
        assert!(
            alone.iter().all(|port| after.published.contains(port)),
            "what stays keeps its number inside"
        );
    }

    #[test]
    fn two_environments_that_collide_leave_the_first_as_it_was() {
        let dev = routes("dev", "127.0.0.1", "dev.me");
        let mut shop = routes("shop", "127.0.0.1", "shop.me");
        shop.http = port(443);
        let configuration = decide(&all(vec![dev, shop]), &settings(EdgeMode::HostNetwork));
        assert_eq!(
            goes_to(&configuration, "127.0.0.1:5432", None).as_deref(),
            Some("dev:tcp:postgres:5432")
        );
        assert_eq!(
            goes_to(&configuration, "127.0.0.1:443", Some("dev.me")).as_deref(),
            Some("dev:https")
        );
    }
}
