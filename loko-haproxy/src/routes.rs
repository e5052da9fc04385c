//! The ways into one environment, and what two environments cannot both have.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use loko_config::Environment;
use loko_config::model::{Protocol, Workload};
use loko_config::names::{Domain, EnvName, HostName, NodeName, WorkloadName};
use loko_config::slots::{PortKey, Slot};
use serde::{Deserialize, Serialize};

/// All ways into one environment: what `routes/<env>.yaml` holds. Versions of LoKO read each other's: a key that one does not know
/// it passes over, and a key that comes later has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Routes {
    /// Whose they are.
    pub environment: EnvName,
    /// Where the edge listens.
    pub address: IpAddr,
    /// Port of plain HTTP.
    pub http: NonZeroU16,
    /// Port of HTTPS.
    pub https: NonZeroU16,
    /// All names under it, and itself, are this environment's.
    pub domain: Domain,
    /// Host names in use, under the domain or not.
    pub hosts: BTreeSet<HostName>,
    /// The nodes that run Traefik.
    pub nodes: Vec<Upstream>,
    /// TCP ports on the host.
    pub tcp: Vec<TcpRoute>,
    /// UDP ports on the host. HAProxy forwards none; they are here because two environments cannot have the same.
    pub udp: Vec<UdpRoute>,
}

/// A node that runs Traefik.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Upstream {
    /// Its container's name.
    pub name: NodeName,
    /// Its address on the engine's network.
    pub address: IpAddr,
}

/// A TCP port on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TcpRoute {
    /// Where it leads.
    pub workload: WorkloadName,
    /// On the host.
    pub listen: NonZeroU16,
    /// On the nodes.
    pub node_port: NonZeroU16,
    /// Server names by which the port is shared; empty: it is not shared.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub sni: BTreeSet<HostName>,
}

/// A UDP port on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct UdpRoute {
    /// Where it leads.
    pub workload: WorkloadName,
    /// On the host.
    pub listen: NonZeroU16,
    /// On the nodes.
    pub node_port: NonZeroU16,
}

/// Something that an environment asks for and another one has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum Conflict {
    /// Two want the same port.
    #[error("{protocol} port {address} of {wanted} is taken by {had} of the environment {environment}")]
    #[diagnostic(
        code(loko::haproxy::port),
        help(
            "give it another port with `network.port-overrides` or `network.lb-ports`, or give this environment an address of its own (`network.ip: 127.0.0.2`); a port whose clients begin with TLS is shared by `{{port: …, tls: sni}}` on both sides, which the handshakes of PostgreSQL and MySQL are not"
        )
    )]
    Port {
        /// TCP or UDP.
        protocol: Protocol,
        /// Address and port.
        address: SocketAddr,
        /// What wants it: `the workload postgres`, `HTTPS`.
        wanted: String,
        /// What has it.
        had: String,
        /// Who has it.
        environment: EnvName,
    },
    /// HAProxy's own statistics listen there.
    #[error("tcp port {address} of {wanted} is that of HAProxy's statistics")]
    #[diagnostic(
        code(loko::haproxy::reserved),
        help("give it another port with `network.port-overrides` or `network.lb-ports`")
    )]
    Reserved {
        /// Address and port.
        address: SocketAddr,
        /// What wants it.
        wanted: String,
    },
    /// Two have the same domain.
    #[error("the domain {domain} is already that of the environment {environment}")]
    #[diagnostic(
        code(loko::haproxy::domain),
        help("choose another `network.domain`; one below it is fine: `{environment}.{domain}`")
    )]
    Domain {
        /// The domain.
        domain: Domain,
        /// Who has it.
        environment: EnvName,
    },
    /// A host name belongs to another.
    #[error("the host name {host} already belongs to the environment {environment}")]
    #[diagnostic(
        code(loko::haproxy::host),
        help("choose another name in `http.hosts`, or rename the workload")
    )]
    Host {
        /// The host name.
        host: HostName,
        /// Who has it.
        environment: EnvName,
    },
}

impl Routes {
    /// The routes of `environment`, reached at `address`. A port that has no slot has no route.
    #[must_use]
    pub fn new(
        environment: &Environment,
        address: IpAddr,
        nodes: Vec<Upstream>,
        slots: &BTreeMap<PortKey, Slot>,
    ) -> Self {
        let mut routes = Self {
            environment: environment.name.clone(),
            address,
            http: environment.network.lb_ports.http,
            https: environment.network.lb_ports.https,
            domain: environment.network.domain.clone(),
            hosts: BTreeSet::new(),
            nodes,
            tcp: Vec::new(),
            udp: Vec::new(),
        };
        routes.nodes.sort();
        for workload in environment.enabled_workloads() {
            if workload.http.is_some() {
                routes.hosts.extend(host_names(workload, &routes.domain));
            }
            for port in &workload.ports {
                let key = PortKey {
                    workload: workload.name.clone(),
                    port: port.port,
                    protocol: port.protocol,
                };
                let Some(slot) = slots.get(&key) else { continue };
                match port.protocol {
                    Protocol::Tcp => routes.tcp.push(TcpRoute {
                        workload: key.workload,
                        listen: port.host_port,
                        node_port: slot.node_port(),
                        sni: if port.sni {
                            BTreeSet::from_iter(own_name(workload, &routes.domain))
                        } else {
                            BTreeSet::new()
                        },
                    }),
                    Protocol::Udp => routes.udp.push(UdpRoute {
                        workload: key.workload,
                        listen: port.host_port,
                        node_port: slot.node_port(),
                    }),
                }
            }
        }
        routes
            .tcp
            .sort_by(|a, b| (a.listen, &a.workload).cmp(&(b.listen, &b.workload)));
        routes
            .udp
            .sort_by(|a, b| (a.listen, &a.workload).cmp(&(b.listen, &b.workload)));
        routes
    }

    /// Whether `host`, a name of `other`, is under this domain rather than under that of `other`.
    fn draws(&self, host: &HostName, other: &Self) -> bool {
        covers(&self.domain, host)
            && (!covers(&other.domain, host) || self.domain.as_str().len() > other.domain.as_str().len())
    }

    /// Everything on the host that these routes occupy, with what it is for.
    fn claims(&self) -> Vec<Claim> {
        let claim = |port: NonZeroU16, protocol, kind, what: String| Claim {
            address: SocketAddr::new(self.address, port.get()),
            protocol,
            kind,
            what,
        };
        let mut claims = vec![
            claim(self.http, Protocol::Tcp, Kind::Http, "HTTP".to_owned()),
            claim(self.https, Protocol::Tcp, Kind::Https, "HTTPS".to_owned()),
        ];
        claims.extend(self.tcp.iter().map(|route| {
            let kind = if route.sni.is_empty() {
                Kind::Plain
            } else {
                Kind::Sni(route.sni.clone())
            };
            claim(
                route.listen,
                Protocol::Tcp,
                kind,
                format!("the workload {}", route.workload),
            )
        }));
        claims.extend(self.udp.iter().map(|route| {
            claim(
                route.listen,
                Protocol::Udp,
                Kind::Plain,
                format!("the workload {}", route.workload),
            )
        }));
        claims
    }
}

/// What `wanted` asks for and another environment of `there` has. Its own entry in `there` does not count.
#[must_use]
pub fn conflicts(there: &BTreeMap<EnvName, Routes>, wanted: &Routes) -> Vec<Conflict> {
    let mut found = Vec::new();
    let others = || there.values().filter(|other| other.environment != wanted.environment);
    for other in others() {
        if other.domain == wanted.domain {
            found.push(Conflict::Domain {
                domain: wanted.domain.clone(),
                environment: other.environment.clone(),
            });
        }
        // A name in use is found by the longest suffix, or as a single name; neither may be two environments'.
        let taken = wanted
            .hosts
            .iter()
            .filter(|host| other.hosts.contains(host) || other.draws(host, wanted));
        let lost = other.hosts.iter().filter(|host| wanted.draws(host, other));
        for host in taken.chain(lost) {
            found.push(Conflict::Host {
                host: host.clone(),
                environment: other.environment.clone(),
            });
        }
        for (mine, theirs) in pairs(&wanted.claims(), &other.claims()) {
            found.push(Conflict::Port {
                protocol: mine.protocol,
                address: mine.address,
                wanted: mine.what.clone(),
                had: theirs.what.clone(),
                environment: other.environment.clone(),
            });
        }
    }
    found
}

/// What `wanted` asks for and HAProxy's own statistics have.
#[must_use]
pub fn reserved(statistics: SocketAddr, wanted: &Routes) -> Vec<Conflict> {
    let own = Claim {
        address: statistics,
        protocol: Protocol::Tcp,
        kind: Kind::Plain,
        what: String::new(),
    };
    let claims = wanted.claims().into_iter().filter(|claim| claim.collides_with(&own));
    claims
        .map(|claim| Conflict::Reserved {
            address: claim.address,
            wanted: claim.what,
        })
        .collect()
}

/// Whether `host` is `domain` or under it.
#[must_use]
pub fn covers(domain: &Domain, host: &HostName) -> bool {
    let (domain, host) = (domain.as_str(), host.as_str());
    host.strip_suffix(domain)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Host names of a workload: those written, else `<workload>.<domain>`.
fn host_names(workload: &Workload, domain: &Domain) -> BTreeSet<HostName> {
    let written = workload.http.iter().flat_map(|http| http.hosts.iter().cloned());
    let mut names: BTreeSet<HostName> = written.collect();
    if names.is_empty() {
        names.extend(own_name(workload, domain));
    }
    names
}

/// `<workload>.<domain>`, which is always a host name: [`Domain`] leaves room for it.
fn own_name(workload: &Workload, domain: &Domain) -> Option<HostName> {
    format!("{}.{domain}", workload.name).parse().ok()
}

struct Claim {
    address: SocketAddr,
    protocol: Protocol,
    kind: Kind,
    what: String,
}

#[derive(PartialEq, Eq)]
enum Kind {
    Http,
    Https,
    Sni(BTreeSet<HostName>),
    Plain,
}

fn pairs<'a>(mine: &'a [Claim], theirs: &'a [Claim]) -> Vec<(&'a Claim, &'a Claim)> {
    let all = mine.iter().flat_map(|m| theirs.iter().map(move |t| (m, t)));
    all.filter(|(mine, theirs)| mine.collides_with(theirs)).collect()
}

impl Claim {
    fn collides_with(&self, other: &Self) -> bool {
        let same_place = self.protocol == other.protocol
            && self.address.port() == other.address.port()
            && (self.address.ip() == other.address.ip()
                || self.address.ip().is_unspecified()
                || other.address.ip().is_unspecified());
        let shared = self.address == other.address
            && match (&self.kind, &other.kind) {
                (Kind::Http, Kind::Http) | (Kind::Https, Kind::Https) => true,
                (Kind::Sni(mine), Kind::Sni(theirs)) => mine.is_disjoint(theirs),
                (Kind::Http | Kind::Https | Kind::Sni(_) | Kind::Plain, _) => false,
            };
        same_place && !shared
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn port(number: u16) -> NonZeroU16 {
        NonZeroU16::new(number).unwrap()
    }

    /// Routes with two nodes and one TCP port, 5432.
    pub(crate) fn routes(name: &str, address: &str, domain: &str) -> Routes {
        Routes {
            environment: name.parse().unwrap(),
            address: address.parse().unwrap(),
            http: port(80),
            https: port(443),
            domain: domain.parse().unwrap(),
            hosts: BTreeSet::new(),
            nodes: vec![
                Upstream {
                    name: format!("loko-{name}-control-plane").parse().unwrap(),
                    address: "172.30.128.2".parse().unwrap(),
                },
                Upstream {
                    name: format!("loko-{name}-worker").parse().unwrap(),
                    address: "172.30.128.3".parse().unwrap(),
                },
            ],
            tcp: vec![TcpRoute {
                workload: "postgres".parse().unwrap(),
                listen: port(5432),
                node_port: port(30001),
                sni: BTreeSet::new(),
            }],
            udp: Vec::new(),
        }
    }

    fn there(list: &[&Routes]) -> BTreeMap<EnvName, Routes> {
        list.iter().map(|r| (r.environment.clone(), (*r).clone())).collect()
    }

    #[test]
    fn a_plain_port_that_two_ask_for_names_the_first() {
        let dev = routes("dev", "127.0.0.1", "dev.me");
        let shop = routes("shop", "127.0.0.1", "shop.me");
        let found = conflicts(&there(&[&dev]), &shop);
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].to_string(),
            "tcp port 127.0.0.1:5432 of the workload postgres is taken by the workload postgres of the environment dev"
        );
        let elsewhere = Routes {
            address: "127.0.0.2".parse().unwrap(),
            ..shop
        };
        assert_eq!(conflicts(&there(&[&dev]), &elsewhere), []);
        assert_eq!(
            conflicts(&there(&[&dev]), &dev),
            [],
            "an environment does not collide with itself"
        );
    }

    #[test]
    fn http_and_https_are_shared_but_not_with_each_other() {
        let mut dev = routes("dev", "127.0.0.1", "dev.me");
        dev.tcp.clear();
        let mut shop = routes("shop", "127.0.0.1", "shop.me");
        shop.tcp.clear();
        assert_eq!(conflicts(&there(&[&dev]), &shop), []);
        shop.http = port(443);
        shop.https = port(80);
        assert_eq!(conflicts(&there(&[&dev]), &shop).len(), 2);
    }

    #[test]
    fn a_port_is_shared_by_server_name_where_both_ask_for_it() {
        let mut dev = routes("dev", "127.0.0.1", "dev.me");
        dev.tcp[0].sni.insert("redis.dev.me".parse().unwrap());
        let mut shop = routes("shop", "127.0.0.1", "shop.me");
        assert_eq!(
            conflicts(&there(&[&dev]), &shop).len(),
            1,
            "one asks, the other does not"
        );
        shop.tcp[0].sni.insert("redis.shop.me".parse().unwrap());
        assert_eq!(conflicts(&there(&[&dev]), &shop), []);
    }

    #[test]
    fn a_domain_is_one_environments_and_the_longer_suffix_owns_a_name() {
        let dev = routes("dev", "127.0.0.1", "dev.me");
        let mut same = routes("shop", "127.0.0.2", "dev.me");
        assert!(matches!(
            conflicts(&there(&[&dev]), &same)[..],
            [Conflict::Domain { .. }]
        ));
        same.domain = "shop.dev.me".parse().unwrap();
        assert_eq!(conflicts(&there(&[&dev]), &same), [], "nested is fine");
        same.hosts.insert("api.shop.dev.me".parse().unwrap());
        assert_eq!(conflicts(&there(&[&dev]), &same), []);
        same.hosts.insert("api.dev.me".parse().unwrap());
        assert!(matches!(conflicts(&there(&[&dev]), &same)[..], [Conflict::Host { .. }]));
        let mut outer = routes("dev", "127.0.0.1", "dev.me");
        outer.hosts.insert("deep.shop.dev.me".parse().unwrap());
        same.hosts.clear();
        assert!(
            matches!(conflicts(&there(&[&outer]), &same)[..], [Conflict::Host { .. }]),
            "it would draw a name in use"
        );
        assert!(covers(&dev.domain, &"dev.me".parse().unwrap()));
        assert!(!covers(&dev.domain, &"mydev.me".parse().unwrap()));
    }

    #[test]
    fn any_address_collides_with_each() {
        let dev = routes("dev", "0.0.0.0", "dev.me");
        let shop = routes("shop", "127.0.0.2", "shop.me");
        assert_eq!(conflicts(&there(&[&dev]), &shop).len(), 3, "80, 443 and 5432");
    }

    #[test]
    fn the_port_of_the_statistics_is_not_given_away() {
        let statistics = "127.0.0.1:5432".parse().unwrap();
        let dev = routes("dev", "127.0.0.1", "dev.me");
        assert_eq!(reserved(statistics, &dev).len(), 1);
        assert_eq!(reserved(statistics, &routes("dev", "127.0.0.2", "dev.me")), []);
    }

    #[test]
    fn routes_survive_their_file() {
        let mut dev = routes("dev", "::1", "dev.me");
        dev.tcp[0].sni.insert("redis.dev.me".parse().unwrap());
        let text = serde_yaml::to_string(&dev).unwrap();
        insta::assert_snapshot!(text);
        assert_eq!(serde_yaml::from_str::<Routes>(&text).unwrap(), dev);
    }
}
