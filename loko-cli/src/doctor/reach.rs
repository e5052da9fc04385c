//! Verdicts on the ways in and out: subnets, ports, names, trust, proxies.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use loko_dns::resolver::Kind;
use loko_engine::subnet;

use super::{Finding, Level, ResolverView, Route, Trust, Wanted};

/// Routes of others that meet a subnet of ours.
pub(super) fn subnets(routes: &[Route], network: Option<&(String, Vec<Ipv4Net>)>, wanted: &Wanted) -> Vec<Finding> {
    let (bridge, own) = match network {
        // As Docker names the bridge of a network that gave it no name.
        Some((id, nets)) => (format!("br-{}", id.get(..12).unwrap_or(id)), nets.clone()),
        None => (String::new(), Vec::new()),
    };
    let others: Vec<&Route> = routes.iter().filter(|route| route.interface != bridge).collect();
    let mut all = Vec::new();
    for net in &own {
        let Some(other) = others.iter().find(|route| subnet::overlap(route.net, *net)) else {
            continue;
        };
        let found = format!(
            "the network `loko` ({net}) meets the route {} of {}",
            other.net, other.interface
        );
        let remedy = "loko destroy in each environment, then `docker network rm loko`: the next create takes a subnet that is free";
        // The narrower route wins; of two that are as narrow, nobody knows.
        all.push(if other.net.prefix_len() >= net.prefix_len() {
            let why = "this host and HAProxy reach the nodes at those addresses, and packets to them go elsewhere";
            Finding::failure("subnets", found, why, remedy)
        } else {
            let why = "hosts of that range whose addresses are in the network are not reached from here";
            Finding::warning("subnets", found, why, remedy)
        });
    }
    if own.is_empty() {
        let taken: Vec<Ipv4Net> = others
            .iter()
            .map(|route| route.net)
            .chain([wanted.pods, wanted.services])
            .collect();
        if subnet::choose(&taken).is_none() {
            all.push(Finding::failure(
                "subnets",
                "no subnet is free for the network of the nodes: routes of this host cover 172.28.0.0/14 and 10.89.0.0/16",
                "nodes need addresses that lead nowhere else",
                "make one in a range that is free, before the VPN: docker network create loko --subnet … --label dev.loko.role=network",
            ));
        }
    }
    for (key, net) in [("pod-subnet", wanted.pods), ("service-subnet", wanted.services)] {
        if let Some(other) = others.iter().find(|route| subnet::overlap(route.net, net)) {
            let example = free(&others).map_or(String::new(), |net| format!(", for example {net}"));
            all.push(Finding::warning(
                "subnets",
                format!(
                    "`cluster.{key}` ({net}) meets the route {} of {}",
                    other.net, other.interface
                ),
                "pods do not reach hosts in that range: their packets stay in the cluster",
                format!("another `cluster.{key}` in loko.yaml{example}; it takes a new cluster"),
            ));
        }
    }
    if all.is_empty() {
        all.push(Finding::ok(
            "subnets",
            format!("none of {} routes meets a subnet of ours", others.len()),
        ));
    }
    all
}

/// A /16 of the ranges for private use (RFC 1918, RFC 6598) that no route meets.
fn free(routes: &[&Route]) -> Option<Ipv4Net> {
    let first_16 =
        |a: u8, bits: [u8; 2]| (bits[0]..=bits[1]).filter_map(move |b| Ipv4Net::new([a, b, 0, 0].into(), 16).ok());
    first_16(10, [200, 250])
        .chain(first_16(172, [20, 27]))
        .chain(first_16(100, [64, 127]))
        .find(|net| !routes.iter().any(|route| subnet::overlap(route.net, *net)))
}

pub(super) fn ports(conflicts: &[String]) -> Finding {
    if conflicts.is_empty() {
        return Finding::ok("ports", "every port that is wanted is free, or LoKO's own");
    }
    Finding::failure(
        "ports",
        conflicts.join("; "),
        "two programs cannot listen at one address",
        "stop what listens there, or choose others in loko.yaml: `network.lb-ports`, `network.port-overrides`, `network.ip`",
    )
}

pub(super) fn resolver(view: &ResolverView, wanted: &Wanted) -> Finding {
    let domain = &wanted.domain;
    if view.resolves == Some(true) {
        return Finding::ok("resolver", format!("names under {domain} resolve on this host"));
    }
    let refused: Vec<String> = view
        .refused
        .iter()
        .map(|r| format!("{}: {}", r.backend, r.reason))
        .collect();
    let Some(backend) = view.backend else {
        return Finding::warning(
            "resolver",
            format!(
                "no way is known to tell this host's resolver of {domain} ({})",
                refused.join("; ")
            ),
            "names resolve in pods, and for whoever asks dnsmasq, but not in browsers",
            "loko dns status",
        );
    };
    if view.resolves == Some(false) {
        return Finding::warning(
            "resolver",
            format!("names under {domain} do not resolve on this host"),
            "browsers and command-line programs find no address",
            "sudo loko dns set; loko config dns-check",
        );
    }
    let found = format!("{backend} will be told of {domain}");
    if backend == Kind::Hosts {
        return Finding::warning(
            "resolver",
            found,
            "/etc/hosts knows no wildcard: only names that loko.yaml has resolve there",
            "sudo apt-get install systemd-resolved, or another resolver that splits by domain; `loko dns status` says why each was refused",
        );
    }
    if !view.root {
        return Finding::warning(
            "resolver",
            found,
            "writing there needs root; nothing else does",
            "sudo loko dns set",
        );
    }
    Finding::ok("resolver", found)
}

pub(super) fn trust(trust: &Trust) -> Finding {
    let why = "browsers and programs of this host refuse the certificates of every environment";
    match (&trust.certificate, &trust.bundle) {
        (None, _) => Finding::ok("trust", "there is no authority yet; the first create makes it"),
        (Some(_), Some((bundle, true))) => Finding::ok("trust", format!("{bundle} has this machine's authority")),
        (Some(path), Some((bundle, false))) => Finding::warning(
            "trust",
            format!("{bundle} does not have this machine's authority"),
            why,
            remedy(path, bundle),
        ),
        (Some(path), None) => Finding::warning(
            "trust",
            "it is not known which authorities this system trusts",
            why,
            format!(
                "macOS: sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain {path}"
            ),
        ),
    }
}

/// The command that makes a system trust a certificate, by the bundle that it has.
fn remedy(path: &str, bundle: &str) -> String {
    match bundle {
        "/etc/ssl/certs/ca-certificates.crt" => {
            format!("sudo cp {path} /usr/local/share/ca-certificates/loko.crt && sudo update-ca-certificates")
        }
        "/etc/pki/tls/certs/ca-bundle.crt" => {
            format!("sudo cp {path} /etc/pki/ca-trust/source/anchors/loko.crt && sudo update-ca-trust")
        }
        "/etc/ssl/ca-bundle.pem" => {
            format!("sudo cp {path} /etc/pki/trust/anchors/loko.crt && sudo update-ca-certificates")
        }
        _ => format!("add {path} to {bundle}"),
    }
}

/// Proxies are passed on to the nodes, so what is wrong with them is wrong there as well.
pub(super) fn proxies(proxies: &BTreeMap<String, String>, wanted: &Wanted) -> Vec<Finding> {
    let used: Vec<(&String, &String)> = proxies.iter().filter(|(name, _)| *name != "NO_PROXY").collect();
    if used.is_empty() {
        return vec![Finding::ok("proxies", "none")];
    }
    let mut all = Vec::new();
    for (name, value) in &used {
        let address = value.rsplit_once('@').map_or(value.as_str(), |(_, address)| address);
        let host = address.trim_start_matches("http://").trim_start_matches("https://");
        if ["127.", "localhost", "[::1]"]
            .iter()
            .any(|local| host.starts_with(local))
        {
            all.push(Finding::warning(
                "proxies",
                format!("{name} is {host}, which is this host alone"),
                "in a node that address is the node itself, so it pulls no image",
                format!("export {name}=http://<an address of this host that containers reach>:<port>"),
            ));
        }
    }
    let domain = &wanted.domain;
    let without = proxies.get("NO_PROXY").map(String::as_str).unwrap_or_default();
    let spared = without
        .split(',')
        .map(|entry| entry.trim().trim_start_matches(['*', '.']))
        .any(|entry| !entry.is_empty() && (entry == domain || domain.ends_with(&format!(".{entry}"))));
    if !spared && without.trim() != "*" {
        let list = if without.is_empty() {
            String::new()
        } else {
            format!("{without},")
        };
        all.push(Finding::warning(
            "proxies",
            format!("NO_PROXY does not have .{domain}"),
            "curl and browsers ask the proxy for names of the environment, and it knows none of them",
            format!("export NO_PROXY={list}.{domain} no_proxy={list}.{domain}"),
        ));
    }
    if all.iter().all(|finding| finding.level == Level::Ok) {
        let names: Vec<&str> = used.iter().map(|(name, _)| name.as_str()).collect();
        all.push(Finding::ok(
            "proxies",
            format!("{} reach the nodes, and spare .{domain}", names.join(", ")),
        ));
    }
    all
}
