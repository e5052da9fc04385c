//! The DNS view of one environment.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;

use loko_config::Environment;
use loko_config::names::{Domain, EnvName, HostName};
use serde::Serialize;

/// What names there are, where they lead, and where queries about them are heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Zone {
    /// Whose zone it is.
    pub environment: EnvName,
    /// Every name of the zone is this domain or ends with it.
    pub domain: Domain,
    /// What names resolve to, and where queries are heard. IPv4 is answered to A queries, IPv6 to AAAA queries; the
    /// other type is an empty answer.
    pub address: IpAddr,
    /// Whether any name under the domain resolves, or [`Self::hosts`] alone.
    pub wildcard: bool,
    /// Names that are known to be in use. Where [`Self::wildcard`] is false, no others exist.
    pub hosts: BTreeSet<HostName>,
    /// UDP and TCP port.
    pub port: NonZeroU16,
}

impl Zone {
    /// The zone of an environment: hosts of enabled workloads (their HTTP hosts, and `<workload>.<domain>` where they
    /// have ports or HTTP without hosts), the registry, the dashboard, and `extra`, for example hosts of Ingress objects.
    ///
    /// A host outside the domain is left out: no query for it may come here ([`Self::holds`]).
    #[must_use]
    pub fn of(
        environment: &Environment,
        address: IpAddr,
        port: NonZeroU16,
        extra: impl IntoIterator<Item = HostName>,
    ) -> Self {
        let domain = &environment.network.domain;
        let below = |label: &str| format!("{label}.{domain}").parse::<HostName>().ok();
        let mut zone = Self {
            environment: environment.name.clone(),
            domain: domain.clone(),
            address,
            wildcard: environment.network.wildcard,
            hosts: BTreeSet::new(),
            port,
        };
        let mut hosts: BTreeSet<HostName> = extra.into_iter().collect();
        for workload in environment.enabled_workloads() {
            if let Some(http) = &workload.http {
                hosts.extend(http.hosts.iter().cloned());
            }
            let unnamed = workload.http.as_ref().is_some_and(|http| http.hosts.is_empty());
            if unnamed || !workload.ports.is_empty() {
                hosts.extend(below(workload.name.as_str()));
            }
        }
        if environment.registry.enabled {
            hosts.extend(below(environment.registry.name.as_str()));
        }
        if environment.components.ingress_controller.dashboard {
            hosts.extend(below("traefik"));
        }
        zone.hosts = hosts.into_iter().filter(|host| zone.holds(host.as_str())).collect();
        zone
    }

    /// The same zone with more names, for who must know them all: `/etc/hosts`, the Corefile, checks. dnsmasq keeps names found
    /// in the cluster apart, so its driver takes the zone without them. Names outside the domain are left out.
    #[must_use]
    pub fn with_names(&self, names: impl IntoIterator<Item = HostName>) -> Self {
        let mut zone = self.clone();
        zone.hosts
            .extend(names.into_iter().filter(|name| self.holds(name.as_str())));
        zone
    }

    /// Whether a name belongs to this zone: the domain itself, or below it. Case does not count, nor does a last dot.
    #[must_use]
    pub fn holds(&self, name: &str) -> bool {
        is_within(name, self.domain.as_str())
    }

    /// Where queries are heard: [`Self::address`], and loopback beside it. A resolver of this host reaches loopback
    /// whatever network it is in (systemd-resolved binds a query to its link unless it goes to loopback).
    #[must_use]
    pub fn listen(&self) -> Vec<IpAddr> {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        if self.address.is_loopback() {
            vec![self.address]
        } else {
            vec![self.address, loopback]
        }
    }

    /// Where this host asks: the loopback address of [`Self::listen`].
    #[must_use]
    pub fn server(&self) -> SocketAddr {
        let address = self.listen().into_iter().next_back().unwrap_or(self.address);
        SocketAddr::new(address, self.port.get())
    }

    /// Whether a name resolves, by the rules of this zone.
    #[must_use]
    pub fn resolves(&self, name: &HostName) -> bool {
        self.holds(name.as_str()) && (self.wildcard || self.hosts.contains(name))
    }
}

/// Whether `name` is `domain` or below it, by whole labels. Case does not count, nor does a last dot.
#[must_use]
pub fn is_within(name: &str, domain: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name.strip_suffix(domain)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests;
