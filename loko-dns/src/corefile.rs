//! The cluster's whole Corefile: the same names for pods as for the host.
//!
//! A name of the domain leads to Traefik inside the cluster, so that a pod's request does not go through the host.

use std::collections::BTreeSet;
use std::net::IpAddr;

use askama::Template;
use loko_config::names::{Domain, HostName};

use crate::render::TTL;
use crate::zone::is_within;

#[derive(Template)]
#[template(path = "Corefile", escape = "none")]
struct Corefile<'a> {
    domain: &'a Domain,
    record: &'a str,
    address: IpAddr,
    /// A regular expression of the known names; `None`: every name.
    names: Option<&'a str>,
    ttl: u32,
}

/// Renders the Corefile. Every name under `domain` leads to `traefik` where `wildcard`, else only `hosts` do and the rest
/// is NXDOMAIN; types other than the address's are empty answers; nothing of the domain is ever forwarded.
#[must_use]
pub fn corefile(domain: &Domain, wildcard: bool, hosts: &BTreeSet<HostName>, traefik: IpAddr) -> String {
    let names: Vec<String> = hosts
        .iter()
        .filter(|host| is_within(host.as_str(), domain.as_str()))
        .map(|host| host.as_str().replace('.', "[.]"))
        .collect();
    // An empty alternation would match the root; `a^` matches nothing.
    let pattern = if names.is_empty() {
        "a^".to_owned()
    } else {
        format!("(?i)^({})[.]$", names.join("|"))
    };
    let template = Corefile {
        domain,
        record: if traefik.is_ipv4() { "A" } else { "AAAA" },
        address: traefik,
        names: (!wildcard).then_some(pattern.as_str()),
        ttl: TTL,
    };
    // Writing to a String cannot fail, and the template has no fallible filter.
    template.render().unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests;
