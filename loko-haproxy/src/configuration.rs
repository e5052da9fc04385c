//! What haproxy.cfg says, as a value, and how the routes of all environments become it ([`decide`]).

mod decide;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::str::FromStr;

use loko_config::names::{Domain, EnvName, HostName, WorkloadName};
use loko_engine::{EdgeMode, PublishedPort};
use serde::Serialize;

pub use decide::decide;

use crate::routes::{Upstream, covers};

/// Path at which the statistics answer with the revision of the configuration that is served.
pub const REVISION_PATH: &str = "/loko/configuration";
/// Path below which the UDP relay of each environment asks where its ports lead.
pub const RELAY_PATH: &str = "/loko/udp";
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
    /// For each environment with UDP ports what its relay is told; by environment, sorted.
    pub relays: Vec<RelayDocument>,
}

/// What the UDP relay of an environment is told when it asks, see [`crate::relay::document`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RelayDocument {
    /// Whose.
    pub environment: EnvName,
    /// A log-format string of HAProxy that becomes JSON.
    pub body: String,
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
    /// New connections a second at the port of a workload, for each node; more wait for their turn. HTTP and HTTPS are not held back.
    pub rate: u32,
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
    /// How many ports Linux gives to connections by itself: 32768 to 60999.
    pub(crate) const LOCAL_PORTS: u32 = 28_232;
    /// What a port takes however few those are.
    const LEAST_RATE: u32 = 50;

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
            rate: Self::rate(Self::LOCAL_PORTS),
        }
    }

    /// With the number of ports that connections of the host's own take (`ip_local_port_range` of ip(7)).
    #[must_use]
    pub fn with_local_ports(self, ports: u32) -> Self {
        Self {
            rate: Self::rate(ports),
            ..self
        }
    }

    /// A client that closes first leaves HAProxy's connection to the node in TIME-WAIT, where Linux holds its port for a minute,
    /// and one for which no port is left fails. Well before that Linux looks through thousands of ports for a free one, and
    /// HAProxy does nothing else. So no port of a workload takes more than three quarters of what comes free.
    fn rate(ports: u32) -> u32 {
        (ports / 60 * 3 / 4).max(Self::LEAST_RATE)
    }
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
    fn connections_of_a_minute_never_take_the_last_port() {
        let rate = |ports| Limits::new(20_000, 2).with_local_ports(ports).rate;
        assert_eq!(Limits::new(20_000, 2).rate, rate(28_232));
        for ports in [5000, 28_232, 64_512] {
            assert!(rate(ports) * 60 <= ports * 3 / 4, "{ports}");
            assert!(rate(ports) * 60 > ports * 2 / 3, "{ports}");
        }
        assert_eq!(rate(0), 50);
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
}
