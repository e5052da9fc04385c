//! The two ways to Traefik.

use std::num::NonZeroU16;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use loko_config::model::Protocol;
use loko_config::slots::{PING_NODE_PORT, Slot, WEB_NODE_PORT, WEBSECURE_NODE_PORT};

use super::{INTERNAL_SERVICE, NAME, NAMESPACE, TraefikInput, WEB, WEBSECURE};
use crate::components::{app, named};

/// From outside: a NodePort for every entry point. Each node answers for its own pod alone, which keeps the client's address,
/// and makes a node without Traefik fail HAProxy's check.
pub(super) fn node_ports() -> Service {
    let fixed = [
        (WEB, WEB_NODE_PORT),
        (WEBSECURE, WEBSECURE_NODE_PORT),
        ("ping", PING_NODE_PORT),
    ];
    let fixed = fixed.map(|(name, port)| node_port(name, port, "TCP"));
    let slots = [Protocol::Tcp, Protocol::Udp].into_iter().flat_map(Slot::all);
    let slots = slots.map(|slot| node_port(&slot.to_string(), slot.node_port().get(), upper(slot.protocol())));
    Service {
        metadata: named(NAME, NAMESPACE),
        spec: Some(ServiceSpec {
            type_: Some("NodePort".to_owned()),
            external_traffic_policy: Some("Local".to_owned()),
            selector: Some(app(NAME)),
            ports: Some(fixed.into_iter().chain(slots).collect()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// From pods: a fixed address with the host's ports, so that a URL means the same in both places.
pub(super) fn internal(input: &TraefikInput<'_>) -> Service {
    let tcp = |name: &str, port: NonZeroU16, target: u16| service_port(name, port.get(), target, "TCP");
    let mut ports = vec![
        tcp(WEB, input.lb_ports.http, WEB_NODE_PORT),
        tcp(WEBSECURE, input.lb_ports.https, WEBSECURE_NODE_PORT),
    ];
    for exposed in input.ports {
        let slot = exposed.slot;
        let protocol = upper(slot.protocol());
        // Several workloads may share a host port by SNI; the first of them has it here.
        let port = i32::from(exposed.host_port.get());
        if ports
            .iter()
            .any(|other| other.port == port && other.protocol.as_deref() == Some(protocol))
        {
            continue;
        }
        ports.push(service_port(
            &slot.to_string(),
            exposed.host_port.get(),
            slot.node_port().get(),
            protocol,
        ));
    }
    Service {
        metadata: named(INTERNAL_SERVICE, NAMESPACE),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            cluster_ip: Some(input.cluster_ip.to_string()),
            selector: Some(app(NAME)),
            ports: Some(ports),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn node_port(name: &str, port: u16, protocol: &str) -> ServicePort {
    ServicePort {
        node_port: Some(port.into()),
        ..service_port(name, port, port, protocol)
    }
}

fn service_port(name: &str, port: u16, target: u16, protocol: &str) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: port.into(),
        target_port: Some(IntOrString::Int(target.into())),
        protocol: Some(protocol.to_owned()),
        ..ServicePort::default()
    }
}

fn upper(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
    }
}
