//! The domain and the address.

use std::net::IpAddr;

use crate::load::LoadOptions;
use crate::model::NetworkIp;
use crate::problem::{Cause, Span};
use crate::raw::RawFile;
use crate::read::Cx;
use crate::resolve::Resolved;

pub(super) fn check(raw: &RawFile, resolved: &Resolved, options: &LoadOptions, cx: &mut Cx<'_>) {
    let network = &raw.network.value;
    if !network.domain.broken {
        let domain = network.domain.value.as_str();
        domain_taken(resolved, domain, network.domain.span.or(raw.network.span), options, cx);
        if let Some(span) = network.domain.span {
            domain_kind(domain, span, cx);
        }
    }
    if let (Some(span), NetworkIp::Address(address)) = (network.ip.span, network.ip.value) {
        address_kind(address, span, options, cx);
    }
}

fn domain_taken(resolved: &Resolved, domain: &str, span: Option<Span>, options: &LoadOptions, cx: &mut Cx<'_>) {
    let own = &resolved.environment().name;
    let taken = options
        .other_domains
        .iter()
        .find(|(name, other)| *name != own && other.as_str() == domain);
    if let Some((environment, _)) = taken {
        let cause = Cause::DomainTaken {
            domain: domain.to_owned(),
            environment: environment.to_string(),
        };
        cx.error(span.unwrap_or_default(), cause);
    }
}

/// Top-level domains that are nobody's: RFC 2606 and 6761 (`test`, `example`), RFC 8375 (`home.arpa`), ICANN's
/// resolution of 2024-07-29 (`internal`), and names that ICANN will not delegate (`home`, `corp`, `lan`).
const PRIVATE: &[&str] = &[
    "test",
    "example",
    "internal",
    "home",
    "corp",
    "lan",
    "intranet",
    "private",
    "localdomain",
];

/// Top-level domains that resolvers answer themselves, whatever a DNS server says.
const SPECIAL: &[(&str, &str)] = &[
    (
        "local",
        "`.local` belongs to multicast DNS (RFC 6762), which never asks a DNS server",
    ),
    ("localhost", "resolvers answer `.localhost` themselves (RFC 6761)"),
    ("invalid", "resolvers answer `.invalid` themselves (RFC 6761)"),
    ("onion", "`.onion` belongs to Tor (RFC 7686)"),
    ("arpa", "`.arpa` belongs to the DNS itself; only `home.arpa` is free"),
];

fn domain_kind(domain: &str, span: Span, cx: &mut Cx<'_>) {
    let labels: Vec<_> = domain.split('.').collect();
    let tld = labels.last().copied().unwrap_or_default();
    let under_home_arpa = domain == "home.arpa" || domain.ends_with(".home.arpa");
    let mut bad = |reason: String| {
        let domain = domain.to_owned();
        cx.error(span, Cause::BadDomain { domain, reason });
    };
    if let Some((_, reason)) = SPECIAL.iter().find(|(special, _)| *special == tld)
        && !under_home_arpa
    {
        bad((*reason).to_owned());
        return;
    }
    // The default has been weighed already.
    let default = domain == "dev.me" || domain.ends_with(".dev.me");
    if is_public_suffix(domain) && !under_home_arpa && !default {
        bad(
            "it is a public suffix, under which anyone registers names, and browsers refuse certificates for all of it"
                .to_owned(),
        );
        return;
    }
    if tld.chars().all(|c| c.is_ascii_digit()) {
        bad("it ends in a number, so programs take it for an address".to_owned());
        return;
    }
    if !PRIVATE.contains(&tld) && !under_home_arpa && !default {
        let cause = Cause::RealDomain {
            domain: domain.to_owned(),
            tld: tld.to_owned(),
        };
        cx.warning(span, cause);
    }
}

/// Whether Mozilla's list of public suffixes names the whole domain, by a rule of its own or by a wildcard. What no rule
/// speaks of, such as `shop.test`, is none.
fn is_public_suffix(domain: &str) -> bool {
    psl::suffix(domain.as_bytes()).is_some_and(|suffix| suffix.is_known() && suffix == domain)
}

fn address_kind(address: IpAddr, span: Span, options: &LoadOptions, cx: &mut Cx<'_>) {
    let link_local = match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let reason = if address.is_unspecified() {
        Some("names must resolve to one address, and this means all of them")
    } else if address.is_multicast() || address == IpAddr::from([255, 255, 255, 255]) {
        Some("nothing can listen on a group's address")
    } else if link_local {
        Some("a link-local address needs the name of its interface, which DNS cannot carry")
    } else {
        None
    };
    if let Some(reason) = reason {
        let address = address.to_string();
        cx.error(span, Cause::BadAddress { address, reason });
        return;
    }
    if let Some(own) = &options.host_addresses
        && !own.contains(&address)
        && !address.is_loopback()
    {
        let own: Vec<_> = own
            .iter()
            .filter(|own| !own.is_loopback())
            .map(ToString::to_string)
            .collect();
        let remedy = format!(
            "this host has {}; `lan` finds the right one at each run",
            own.join(", ")
        );
        let address = address.to_string();
        cx.warning(span, Cause::ForeignAddress { address, remedy });
    }
}

#[cfg(test)]
mod tests {
    use super::is_public_suffix;

    #[test]
    fn public_suffixes_are_those_of_the_list() {
        for suffix in [
            "co.uk",
            "com.au",
            "co.jp",
            "k12.ca.us",
            "github.io",
            "pages.dev",
            "s3.amazonaws.com",
            "anything.ck",
        ] {
            assert!(is_public_suffix(suffix), "{suffix}");
        }
        // `www.ck` is the exception of `*.ck`.
        for domain in [
            "dev.me",
            "shop.test",
            "example.co.uk",
            "me.github.io",
            "www.ck",
            "a.internal",
        ] {
            assert!(!is_public_suffix(domain), "{domain}");
        }
    }
}
