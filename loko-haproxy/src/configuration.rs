//! What haproxy.cfg says, as a value, and how the routes of all environments become it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::str::FromStr;

use loko_config::names::{Domain, EnvName, HostName, WorkloadName};
use loko_config::slots::{PING_NODE_PORT, WEB_NODE_PORT, WEBSECURE_NODE_PORT};
use loko_engine::{EdgeMode, PublishedPort};
use serde::Serialize;

use crate::routes::{Routes, Upstream, covers};

/// Path at which the statistics answer with the revision of the configuration that is served.
pub const REVISION_PATH: &str = "/loko/configuration";
/// Path of the metrics.
pub const METRICS_PATH: &str = "/metrics";
/// Where the statistics listen, on 127.0.0.1 of the host, unless told otherwise.
pub const STATISTICS_PORT: u16 = 18404;

/// What haproxy.cfg says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Configuration {
    /// How much it may use.
    pub limits: Limits,
    /// What the statistics are bound to.
    pub statistics: SocketAddr,
    /// Whether this build of HAProxy has the Prometheus exporter.
    pub prometheus: bool,
    /// By the address on the host, sorted.
    pub frontends: Vec<Frontend>,
    /// By environment, then [`Target`], sorted.
    pub backends: Vec<Backend>,
}

/// What the machine and the build of HAProxy give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Settings {
    /// How much it may use.
    pub limits: Limits,
    /// Whether this build has the Prometheus exporter.
    pub prometheus: bool,
    /// Port of the statistics on 127.0.0.1.
    pub statistics: u16,
    /// Whether HAProxy binds the host's addresses itself.
    pub mode: EdgeMode,
    /// Where ports are published: what the container publishes already. A port keeps its number inside, so that one that
    /// goes does not make the container anew.
    pub published: Vec<PublishedPort>,
}

/// How much HAProxy may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Connections at once, of one worker.
    pub connections: u32,
    /// File descriptors of one worker.
    pub files: u32,
    /// Threads of one worker.
    pub threads: u16,
}

/// One socket that clients connect to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Frontend {
    /// What is spoken there.
    pub kind: FrontendKind,
    /// Where clients connect to, on the host.
    pub listen: SocketAddr,
    /// What HAProxy binds: the same on the host's network, a port of the container where ports are published.
    pub bind: SocketAddr,
    /// First match wins.
    pub rules: Vec<Rule>,
    /// Where the rest goes; `None`: it is refused.
    pub default: Option<BackendId>,
}

/// What is spoken at a frontend, and how it is told whose a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FrontendKind {
    /// HTTP, by `Host`.
    Http,
    /// HTTPS, passed on as it is, by the server name of the `ClientHello`.
    Https,
    /// TLS on a port of a workload, as HTTPS.
    Sni,
    /// Anything over TCP; one workload.
    Tcp,
}

/// Which names lead where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Which names.
    pub names: NamePattern,
    /// Where to.
    pub backend: BackendId,
}

/// A name, or all names of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NamePattern {
    /// This one.
    Host(HostName),
    /// The domain itself and all below it.
    Domain(Domain),
}

/// The nodes of one environment, for one purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Backend {
    /// Whose and what for.
    pub id: BackendId,
    /// Port of each node.
    pub port: NonZeroU16,
    /// The nodes.
    pub nodes: Vec<Upstream>,
}

/// Whose backend, and what for. Its text is the name in haproxy.cfg: `dev:nodes`, `dev:http`, `dev:https`, `dev:tcp:postgres:5432`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct BackendId {
    /// Whose.
    pub environment: EnvName,
    /// What for.
    pub target: Target,
}

/// What a backend is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// The one health check of each node, which all others follow. No traffic goes there.
    Nodes,
    /// Traefik's `web`.
    Http,
    /// Traefik's `websecure`.
    Https,
    /// A slot of Traefik.
    Tcp {
        /// Whose port it is.
        workload: WorkloadName,
        /// The port on the host.
        listen: NonZeroU16,
    },
}

/// A text that is no backend's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no backend of ours")]
pub struct InvalidBackendId {
    /// The text.
    pub text: String,
}

impl Limits {
    /// Files beyond which more make no sense on a developer's machine: each is a slot of a table in every worker.
    const MOST_FILES: u32 = 65_536;
    /// Kept for listeners, checks, logs, statistics, and the event loop of each thread.
    const RESERVED_FILES: u32 = 512;

    /// From the number of files that a process in the container may open, and the number of CPUs. A proxied connection is
    /// two files. Nothing is raised, because that may not be allowed.
    #[must_use]
    pub fn new(open_files: u64, cpus: u32) -> Self {
        let files = u32::try_from(open_files)
            .unwrap_or(u32::MAX)
            .clamp(256, Self::MOST_FILES);
        // Below the reserve half of the rest is still a working proxy.
        let free = files.saturating_sub(Self::RESERVED_FILES).max(files / 4);
        Self {
            connections: free / 2,
            files,
            threads: u16::try_from(cpus.clamp(1, 4)).unwrap_or(1),
        }
    }
}

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
        if !served {
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

impl Configuration {
    /// Ports that the engine must publish, where it publishes them.
    #[must_use]
    pub fn published(&self) -> Vec<PublishedPort> {
        let statistics = PublishedPort {
            host_ip: Ipv4Addr::LOCALHOST.into(),
            host_port: self.statistics.port(),
            container_port: self.statistics.port(),
            udp: false,
        };
        let frontends = self.frontends.iter().map(|frontend| PublishedPort {
            host_ip: frontend.listen.ip(),
            host_port: frontend.listen.port(),
            container_port: frontend.bind.port(),
            udp: false,
        });
        let mut ports: Vec<PublishedPort> = frontends.chain([statistics]).collect();
        ports.sort();
        ports
    }

    /// Addresses that clients connect to.
    #[must_use]
    pub fn listeners(&self) -> BTreeSet<SocketAddr> {
        self.frontends.iter().map(|frontend| frontend.listen).collect()
    }

    /// Where a connection to `listen` goes that names `name` in its `ClientHello` or `Host`.
    #[must_use]
    pub fn route(&self, listen: SocketAddr, name: Option<&str>) -> Option<&Backend> {
        let frontend = self.frontends.iter().find(|frontend| frontend.listen == listen)?;
        let host: Option<HostName> = name.and_then(|name| name.to_ascii_lowercase().parse().ok());
        let matching = host.and_then(|host| frontend.rules.iter().find(|rule| rule.names.matches(&host)));
        let id = matching.map(|rule| &rule.backend).or(frontend.default.as_ref())?;
        self.backends.iter().find(|backend| backend.id == *id)
    }
}

impl NamePattern {
    /// Whether it is one of the names.
    #[must_use]
    pub fn matches(&self, host: &HostName) -> bool {
        match self {
            Self::Host(name) => name == host,
            Self::Domain(domain) => covers(domain, host),
        }
    }
}

impl fmt::Display for BackendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let environment = &self.environment;
        match &self.target {
            Target::Nodes => write!(f, "{environment}:nodes"),
            Target::Http => write!(f, "{environment}:http"),
            Target::Https => write!(f, "{environment}:https"),
            Target::Tcp { workload, listen } => write!(f, "{environment}:tcp:{workload}:{listen}"),
        }
    }
}

impl FromStr for BackendId {
    type Err = InvalidBackendId;
    fn from_str(text: &str) -> Result<Self, InvalidBackendId> {
        let invalid = || InvalidBackendId { text: text.to_owned() };
        let (environment, target) = text.split_once(':').ok_or_else(invalid)?;
        let target = match target {
            "nodes" => Target::Nodes,
            "http" => Target::Http,
            "https" => Target::Https,
            other => {
                let tcp = other.strip_prefix("tcp:").ok_or_else(invalid)?;
                let (workload, listen) = tcp.split_once(':').ok_or_else(invalid)?;
                Target::Tcp {
                    workload: workload.parse().map_err(|_| invalid())?,
                    listen: listen.parse().map_err(|_| invalid())?,
                }
            }
        };
        let id = Self {
            environment: environment.parse().map_err(|_| invalid())?,
            target,
        };
        // `+5432` is a number to Rust, but nothing that we write.
        if id.to_string() == text { Ok(id) } else { Err(invalid()) }
    }
}

impl From<BackendId> for String {
    fn from(id: BackendId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for FrontendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Sni => "sni",
            Self::Tcp => "tcp",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn limits_fit_what_is_there() {
        for files in [0, 300, 1024, 20_000, 524_288, u64::MAX] {
            let limits = Limits::new(files, 64);
            assert!(limits.connections >= 32, "{files}");
            assert!(u64::from(limits.connections) * 2 <= files.max(256), "{files}");
            assert!(limits.files <= 65_536 && limits.threads == 4);
        }
        assert_eq!(Limits::new(20_000, 2).connections, 9744);
    }

    #[test]
    fn a_backends_name_is_read_back() {
        for text in ["dev:nodes", "a:http", "dev:https", "dev:tcp:postgres:5432"] {
            assert_eq!(text.parse::<BackendId>().unwrap().to_string(), text);
        }
        for text in [
            "dev",
            "dev:",
            "dev:tcp:postgres",
            "dev:tcp:p:+1",
            "dev:tcp:p:0",
            "D:http",
            "loko:unknown-host",
        ] {
            assert!(text.parse::<BackendId>().is_err(), "{text}");
        }
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
