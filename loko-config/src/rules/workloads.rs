//! Names, hosts and ports of workloads, against each other and against what loko itself takes.

use std::collections::BTreeMap;

use crate::load::LoadOptions;
use crate::model::{AutoPort, Protocol, WorkloadPort};
use crate::names::WorkloadName;
use crate::problem::{Cause, Severity, Span};
use crate::raw::RawFile;
use crate::read::{Cx, near};
use crate::resolve::{Placed, Resolved};
use crate::slots::{TCP_SLOTS, UDP_SLOTS};

pub(super) fn check(raw: &RawFile, resolved: &Resolved, options: &LoadOptions, cx: &mut Cx<'_>) {
    names(resolved, options, cx);
    hosts(raw, resolved, cx);
    ports(raw, resolved, options, cx);
    overrides(raw, resolved, cx);
    registry_switch(raw, resolved, cx);
    namespace(raw, cx);
    for user in &raw.workloads.value.user.value {
        super::nodes::each_label(&user.value.labels.value, cx);
    }
}

/// Namespaces whose objects are not the user's: removing a workload there could take more than it.
fn namespace(raw: &RawFile, cx: &mut Cx<'_>) {
    let namespace = &raw.workloads.value.namespace;
    let name = namespace.value.as_str();
    let owner = if name.starts_with("kube-") {
        "Kubernetes"
    } else if name == "loko-system" {
        "loko's components"
    } else {
        return;
    };
    if let Some(span) = namespace.span {
        let cause = Cause::BadValue {
            found: name.to_owned(),
            reason: format!("belongs to {owner}"),
            wanted: "a namespace of your own".to_owned(),
        };
        cx.error(span, cause);
    }
}

fn names(resolved: &Resolved, options: &LoadOptions, cx: &mut Cx<'_>) {
    let mut first: BTreeMap<&WorkloadName, Span> = BTreeMap::new();
    for placed in &resolved.placed {
        let name = &placed.workload.name;
        if let Some(also) = first.get(name) {
            let cause = Cause::DuplicateName {
                name: name.to_string(),
                what: "workloads",
            };
            cx.report(Severity::Error, placed.name, Some(*also), cause);
        } else {
            first.insert(name, placed.name);
        }
        if let (true, Some(catalogue)) = (placed.system, &options.catalogue)
            && !catalogue.contains_key(name)
        {
            let near = near(name.as_str(), catalogue.keys().map(WorkloadName::as_str)).map(str::to_owned);
            let remedy = match &near {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    "`loko catalog list` prints them; an image of your own stands under `workloads.user`".to_owned()
                }
            };
            let cause = Cause::UnknownReference {
                what: "catalogue entry",
                name: name.to_string(),
                near,
                remedy,
            };
            cx.error(placed.name, cause);
        }
    }
}

fn hosts(raw: &RawFile, resolved: &Resolved, cx: &mut Cx<'_>) {
    let environment = resolved.environment();
    let domain = environment.network.domain.as_str();
    let mut owners: BTreeMap<String, (String, Option<Span>)> = BTreeMap::new();
    if environment.registry.enabled {
        let owner = "the registry".to_owned();
        owners.insert(environment.registry_host(), (owner, raw.registry.value.name.span));
    }
    if environment.components.ingress_controller.dashboard {
        let owner = "Traefik's dashboard".to_owned();
        let span = raw.components.value.ingress_controller.value.dashboard.span;
        let host = format!("traefik.{domain}");
        if let Some((other, _)) = owners.get(&host) {
            let cause = Cause::DuplicateHost {
                host,
                one: owner,
                other: other.clone(),
            };
            cx.error(span.unwrap_or_default(), cause);
        } else {
            owners.insert(host, (owner, span));
        }
    }
    for placed in resolved.placed.iter().filter(|placed| placed.workload.enabled) {
        let Some(http) = &placed.workload.http else { continue };
        let owner = format!("the workload `{}`", placed.workload.name);
        for (host, span) in http.hosts.iter().zip(&placed.hosts) {
            if let Some((other, also)) = owners.get(host.as_str()) {
                let cause = if *other == owner {
                    Cause::DuplicateEntry {
                        found: host.to_string(),
                    }
                } else {
                    Cause::DuplicateHost {
                        host: host.to_string(),
                        one: owner.clone(),
                        other: other.clone(),
                    }
                };
                cx.report(Severity::Error, *span, *also, cause);
                continue;
            }
            owners.insert(host.to_string(), (owner.clone(), Some(*span)));
            let inside = host.as_str() == domain
                || host
                    .as_str()
                    .strip_suffix(domain)
                    .is_some_and(|rest| rest.ends_with('.'));
            if !inside {
                let cause = Cause::HostOutsideDomain {
                    host: host.to_string(),
                    domain: domain.to_owned(),
                };
                cx.warning(*span, cause);
            }
        }
    }
}

/// Who wants a port of the host.
struct Claim {
    owner: String,
    span: Option<Span>,
    sni: bool,
    /// The workload's index, so that its own ports are told from others'.
    workload: Option<usize>,
}

fn ports(raw: &RawFile, resolved: &Resolved, options: &LoadOptions, cx: &mut Cx<'_>) {
    let mut claims: BTreeMap<(Protocol, u16), Claim> = BTreeMap::new();
    loko_claims(raw, &mut claims, cx);
    // Each port of each workload takes a slot of Traefik's pool, also where several share one port of the host.
    let mut wanted: BTreeMap<Protocol, (usize, Span)> = BTreeMap::new();
    for (index, placed) in resolved.placed.iter().enumerate() {
        if !placed.workload.enabled {
            continue;
        }
        let written = placed.workload.ports.iter().enumerate();
        let written = written.map(|(at, port)| (*port, placed.ports.get(at).copied().unwrap_or(placed.name)));
        let own = catalogue_ports(placed, resolved, options);
        for (port, span) in written.chain(own.into_iter().map(|port| (port, placed.name))) {
            claim(index, placed, port, span, &mut claims, cx);
            let slot = wanted.entry(port.protocol).or_insert((0, span));
            *slot = (slot.0 + 1, span);
        }
    }
    for (protocol, (count, span)) in wanted {
        let max = match protocol {
            Protocol::Tcp => TCP_SLOTS,
            Protocol::Udp => UDP_SLOTS,
        };
        if count > usize::from(max) {
            let cause = Cause::TooManyPorts {
                count,
                protocol: word(protocol),
                max: usize::from(max),
            };
            cx.error(span, cause);
        }
    }
}

fn word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
    }
}

/// The ports that loko takes for itself.
fn loko_claims(raw: &RawFile, claims: &mut BTreeMap<(Protocol, u16), Claim>, cx: &mut Cx<'_>) {
    let network = &raw.network.value;
    let lb = &network.lb_ports.value;
    let mut own = vec![
        (
            Protocol::Tcp,
            lb.http.value.get(),
            "network.lb-ports.http",
            lb.http.span,
        ),
        (
            Protocol::Tcp,
            lb.https.value.get(),
            "network.lb-ports.https",
            lb.https.span,
        ),
    ];
    if let AutoPort::Fixed(port) = network.dns_port.value {
        let span = network.dns_port.span;
        own.push((Protocol::Udp, port.get(), "network.dns-port", span));
        own.push((Protocol::Tcp, port.get(), "network.dns-port", span));
    }
    let api = &raw.cluster.value.kubernetes.value.api_port;
    if let AutoPort::Fixed(port) = api.value {
        own.push((Protocol::Tcp, port.get(), "cluster.kubernetes.api-port", api.span));
    }
    for (protocol, port, key, span) in own {
        let owner = format!("`{key}`");
        if let Some(other) = claims.get(&(protocol, port)) {
            let cause = Cause::PortClash {
                port,
                protocol: word(protocol),
                one: owner,
                other: other.owner.clone(),
                remedy: "give one of them another port".to_owned(),
            };
            let here = span.or(other.span).unwrap_or_default();
            let also = other.span.filter(|other| *other != here);
            cx.report(Severity::Error, here, also, cause);
            continue;
        }
        let claim = Claim {
            owner,
            span,
            sni: false,
            workload: None,
        };
        claims.insert((protocol, port), claim);
    }
}

fn claim(
    index: usize,
    placed: &Placed,
    port: WorkloadPort,
    span: Span,
    claims: &mut BTreeMap<(Protocol, u16), Claim>,
    cx: &mut Cx<'_>,
) {
    let key = (port.protocol, port.host_port.get());
    let owner = format!("the workload `{}`", placed.workload.name);
    let Some(other) = claims.get(&key) else {
        let claim = Claim {
            owner,
            span: Some(span),
            sni: port.sni,
            workload: Some(index),
        };
        claims.insert(key, claim);
        return;
    };
    if other.workload == Some(index) {
        let found = match port.protocol {
            Protocol::Tcp => port.port.to_string(),
            Protocol::Udp => format!("{}/udp", port.port),
        };
        cx.report(Severity::Error, span, other.span, Cause::DuplicateEntry { found });
        return;
    }
    if other.sni && port.sni {
        return;
    }
    let name = &placed.workload.name;
    let inner = port.port;
    let mut remedy =
        format!("give `{name}` another one on the host: `network.port-overrides: {{{name}: {{{inner}: …}}}}`");
    if other.workload.is_some() && port.protocol == Protocol::Tcp {
        remedy.push_str("\nor, where clients of both begin with TLS, `{port: …, tls: sni}` on both; those of PostgreSQL and MySQL begin with a handshake of their own");
    }
    let cause = Cause::PortClash {
        port: port.host_port.get(),
        protocol: word(port.protocol),
        one: owner,
        other: other.owner.clone(),
        remedy,
    };
    cx.report(Severity::Error, span, other.span, cause);
}

/// The ports of a catalogue entry that writes none.
fn catalogue_ports(placed: &Placed, resolved: &Resolved, options: &LoadOptions) -> Vec<WorkloadPort> {
    let catalogue = options
        .catalogue
        .as_ref()
        .filter(|_| placed.system && !placed.own_ports);
    let ports = catalogue.and_then(|catalogue| catalogue.get(&placed.workload.name));
    let overrides = &resolved.environment().network.port_overrides;
    let overrides = overrides.get(&placed.workload.name);
    let ports = ports.into_iter().flatten().map(|(port, protocol)| WorkloadPort {
        port: *port,
        host_port: overrides.and_then(|ports| ports.get(port)).copied().unwrap_or(*port),
        protocol: *protocol,
        sni: false,
    });
    ports.collect()
}

fn overrides(raw: &RawFile, resolved: &Resolved, cx: &mut Cx<'_>) {
    let mut known: BTreeMap<&WorkloadName, &Placed> = BTreeMap::new();
    for placed in &resolved.placed {
        known.entry(&placed.workload.name).or_insert(placed);
    }
    for (name, entry) in &raw.network.value.port_overrides.value.entries {
        let Some(placed) = known.get(name) else {
            let near = near(name.as_str(), known.keys().map(|name| name.as_str())).map(str::to_owned);
            let remedy = match &near {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`port-overrides` maps names of workloads".to_owned(),
            };
            let cause = Cause::UnknownReference {
                what: "workload",
                name: name.to_string(),
                near,
                remedy,
            };
            cx.error(entry.key_span, cause);
            continue;
        };
        if !placed.own_ports {
            continue;
        }
        for (port, host) in &entry.value.entries {
            if placed.workload.ports.iter().all(|own| own.port != *port) {
                let ports: Vec<_> = placed.workload.ports.iter().map(|own| own.port.to_string()).collect();
                let remedy = if ports.is_empty() {
                    format!("add {port} to its `ports`")
                } else {
                    format!("its ports are {}", ports.join(", "))
                };
                let reason = format!("`{name}` has no port {port}");
                cx.warning(host.key_span, Cause::NoEffect { reason, remedy });
            }
        }
    }
}

fn registry_switch(raw: &RawFile, resolved: &Resolved, cx: &mut Cx<'_>) {
    if resolved.environment().registry.enabled {
        return;
    }
    let registry = &raw.registry.value;
    let switches = [
        (&registry.mirroring.value.enabled, "mirroring"),
        (&registry.scanning.value.enabled, "scanning"),
    ];
    for (switch, what) in switches {
        if let (Some(span), true) = (switch.span, switch.value) {
            let reason = format!("the registry is disabled, and {what} with it");
            let remedy = format!("enable the registry, or set `registry.{what}.enabled: false`");
            cx.warning(span, Cause::NoEffect { reason, remedy });
        }
    }
}
