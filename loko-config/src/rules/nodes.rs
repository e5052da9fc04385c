//! Nodes: labels, scheduling, subnets, and the Kubernetes version.

use ipnet::Ipv4Net;

use crate::problem::{Cause, Severity, Span};
use crate::raw::{RawCluster, RawFile};
use crate::read::{Annotations, Cx, Read};
use crate::resolve::Resolved;

pub(super) fn check(raw: &RawFile, resolved: &Resolved, cx: &mut Cx<'_>) {
    let cluster = &raw.cluster.value;
    version(cluster, cx);
    scheduling(cluster, cx);
    subnets(cluster, resolved, cx);
    labels(cluster, cx);
}

/// The tag as `major.minor`, where it is one.
fn version(cluster: &RawCluster, cx: &mut Cx<'_>) {
    let tag = &cluster.kubernetes.value.tag;
    let Some(span) = tag.span.filter(|_| !tag.broken) else {
        return;
    };
    let text = tag.value.as_str();
    let mut numbers = text
        .strip_prefix('v')
        .unwrap_or(text)
        .split(['.', '-', '_'])
        .map(str::parse::<u32>);
    if let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next())
        && (major, minor) < (1, 31)
    {
        let found = text.to_owned();
        cx.error(span, Cause::OldKubernetes { found });
    }
}

fn scheduling(cluster: &RawCluster, cx: &mut Cx<'_>) {
    let nodes = &cluster.nodes.value;
    let allow = &nodes.scheduling.value.control_plane.value.allow_workloads;
    if let (Some(span), false, 0) = (allow.span, allow.value, nodes.workers.value.0)
        && !nodes.workers.broken
    {
        let reason = "there are no workers, and control planes refuse them".to_owned();
        cx.report(
            Severity::Error,
            span,
            nodes.workers.span,
            Cause::NowhereToSchedule { reason },
        );
    }
}

fn subnets(cluster: &RawCluster, resolved: &Resolved, cx: &mut Cx<'_>) {
    let (pods, services) = (&cluster.pod_subnet, &cluster.service_subnet);
    // kubeadm: a node takes a /24 of the pods' network, and Kubernetes allows at most 65,536 nodes' worth
    // (pkg/controller/nodeipam); services need ten addresses and at most 20 bits (cmd/kubeadm/app/apis/kubeadm/validation).
    let nodes = &cluster.nodes.value;
    let wanted_nodes = u32::from(nodes.control_planes.value.0) + u32::from(nodes.workers.value.0);
    let fits =
        |net: &Ipv4Net| (8..=24).contains(&net.prefix_len()) && (1u32 << (24 - net.prefix_len())) >= wanted_nodes;
    subnet(
        pods,
        fits,
        &format!("a network of /8 to /24 with a /24 for each of the {wanted_nodes} nodes"),
        cx,
    );
    let fits = |net: &Ipv4Net| (12..=28).contains(&net.prefix_len());
    subnet(services, fits, "a network of /12 to /28", cx);
    if let Some(span) = services.span.or(pods.span)
        && (pods.value.contains(&services.value) || services.value.contains(&pods.value))
        && !(pods.broken || services.broken)
    {
        let cause = Cause::SubnetOverlap {
            one: "pod-subnet",
            one_net: pods.value.to_string(),
            other: "service-subnet",
            other_net: services.value.to_string(),
        };
        let also = pods.span.filter(|other| *other != span);
        cx.report(Severity::Error, span, also, cause);
    }
    let network = &resolved.environment().network;
    if let crate::model::NetworkIp::Address(std::net::IpAddr::V4(address)) = network.ip {
        for (net, reason) in [
            (pods, "it lies in `cluster.pod-subnet`"),
            (services, "it lies in `cluster.service-subnet`"),
        ] {
            if net.value.contains(&address) {
                let span = net.span.unwrap_or_default();
                let address = address.to_string();
                cx.error(span, Cause::BadAddress { address, reason });
            }
        }
    }
}

fn subnet(net: &Read<Ipv4Net>, fits: impl Fn(&Ipv4Net) -> bool, wanted: &str, cx: &mut Cx<'_>) {
    let Some(span) = net.span.filter(|_| !net.broken) else {
        return;
    };
    let reason = if net.value != net.value.trunc() {
        format!("has bits set after its prefix; the network is {}", net.value.trunc())
    } else if !fits(&net.value) {
        "has the wrong size".to_owned()
    } else {
        return;
    };
    let cause = Cause::BadValue {
        found: net.value.to_string(),
        reason,
        wanted: wanted.to_owned(),
    };
    cx.error(span, cause);
}

fn labels(cluster: &RawCluster, cx: &mut Cx<'_>) {
    let nodes = &cluster.nodes.value;
    let labels = &nodes.labels.value;
    each_label(&labels.control_plane.value, cx);
    each_label(&labels.worker.value, cx);
    for (node, entry) in &labels.individual.value.entries {
        each_label(&entry.value, cx);
        let sound = !nodes.workers.broken && !nodes.control_planes.broken;
        if sound && !node_exists(node, nodes.control_planes.value.0, nodes.workers.value.0) {
            unknown_node(
                node,
                entry.key_span,
                nodes.control_planes.value.0,
                nodes.workers.value.0,
                cx,
            );
        }
    }
}

/// `worker`, `worker-2` or `worker2`; the first of a kind has no number (`worker-1` is taken as well).
fn node_exists(node: &str, control_planes: u8, workers: u8) -> bool {
    let counted = |rest: &str, count: u8| match rest {
        "" => count >= 1,
        rest => {
            let number = rest.strip_prefix('-').unwrap_or(rest);
            !number.starts_with('0') && number.parse::<u8>().is_ok_and(|number| (1..=count).contains(&number))
        }
    };
    if let Some(rest) = node.strip_prefix("control-plane") {
        return counted(rest, control_planes);
    }
    node.strip_prefix("worker").is_some_and(|rest| counted(rest, workers))
}

fn unknown_node(node: &str, span: Span, control_planes: u8, workers: u8, cx: &mut Cx<'_>) {
    let numbered = |kind: &str, count: u8| {
        (1..=count)
            .map(|number| {
                if number == 1 {
                    kind.to_owned()
                } else {
                    format!("{kind}-{number}")
                }
            })
            .collect::<Vec<_>>()
    };
    let mut names = numbered("control-plane", control_planes);
    names.extend(numbered("worker", workers));
    let near = crate::read::near(node, names.iter().map(String::as_str)).map(str::to_owned);
    let cause = Cause::UnknownReference {
        what: "node",
        name: node.to_owned(),
        near,
        remedy: format!("with these numbers of nodes there are {}", names.join(", ")),
    };
    cx.error(span, cause);
}

/// Kubernetes' rule for labels (apimachinery, `IsQualifiedName` and `IsValidLabelValue`).
pub(super) fn each_label(labels: &Annotations, cx: &mut Cx<'_>) {
    for (key, value) in &labels.entries {
        let (prefix, name) = key.split_once('/').unwrap_or(("", key));
        let prefix_ok = !key.contains('/')
            || (prefix.len() <= 253
                && !prefix.is_empty()
                && prefix
                    .split('.')
                    .all(|part| !part.is_empty() && part.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-'))));
        if !prefix_ok || name.is_empty() || !label_text(name) {
            label_problem(key, value.span, "is no name of a label", cx);
        }
        // A variable's value is checked by nobody before it is known.
        if !value.value.contains("${") && !label_text(&value.value) {
            label_problem(&value.value, value.span, "is no value of a label", cx);
        }
    }
}

fn label_text(text: &str) -> bool {
    text.len() <= 63
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && !text.starts_with(['-', '_', '.'])
        && !text.ends_with(['-', '_', '.'])
}

fn label_problem(found: &str, span: Span, reason: &str, cx: &mut Cx<'_>) {
    let cause = Cause::BadValue {
        found: crate::yaml::shorten(found),
        reason: reason.to_owned(),
        wanted: "at most 63 of letters, digits, `-`, `_` and `.`, a letter or digit at both ends".to_owned(),
    };
    cx.error(span, cause);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_nodes() {
        for node in [
            "control-plane",
            "control-plane-1",
            "control-plane3",
            "worker",
            "worker2",
            "worker-2",
        ] {
            assert!(node_exists(node, 3, 2), "{node}");
        }
        for node in [
            "control-plane4",
            "worker3",
            "worker-0",
            "worker02",
            "workers",
            "node",
            "worker--2",
        ] {
            assert!(!node_exists(node, 3, 2), "{node}");
        }
        assert!(!node_exists("worker", 1, 0));
    }
}
