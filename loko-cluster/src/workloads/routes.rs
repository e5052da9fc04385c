//! The ways in: HTTP hosts and ports of the host.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec,
    IngressTLS, ServiceBackendPort,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use loko_config::model::{Environment, Http, Protocol, Workload, WorkloadPort};
use loko_config::slots::{PortKey, Slot};

use super::{WorkloadContext, WorkloadError};
use crate::certificates::is_under;
use crate::components::traefik::crds::{
    IngressRouteTCP, IngressRouteTCPSpec, IngressRouteUDP, IngressRouteUDPSpec, Route, RouteService, Tls,
};
use crate::components::traefik::{ACME_RESOLVER, ExposedPort, INGRESS_CLASS, WEBSECURE};
use crate::components::{Objects, named};
use crate::manifest::Manifest;

/// The host ports of all enabled workloads with the slots behind them, sorted: what Traefik's service inside the cluster
/// shows. Ports without a slot are left out.
#[must_use]
pub fn exposed_ports(environment: &Environment, slots: &BTreeMap<PortKey, Slot>) -> Vec<ExposedPort> {
    let mut list: Vec<ExposedPort> = environment
        .enabled_workloads()
        .flat_map(|workload| {
            workload.ports.iter().filter_map(|port| {
                let slot = *slots.get(&key(workload, *port))?;
                Some(ExposedPort {
                    host_port: port.host_port,
                    slot,
                })
            })
        })
        .collect();
    list.sort_unstable();
    list
}

/// How the annotations start that Traefik reads of a Service (Traefik: `pkg/provider/kubernetes/ingress/annotations.go`).
pub(super) const SERVICE_ANNOTATION: &str = "traefik.ingress.kubernetes.io/service.";

pub(super) fn add(
    objects: &mut Objects,
    environment: &Environment,
    workload: &Workload,
    context: WorkloadContext<'_>,
) -> Result<(), WorkloadError> {
    if let Some(http) = &workload.http {
        add_http(objects, environment, workload, http)?;
    }
    let namespace = environment.workloads.namespace.as_str();
    for port in &workload.ports {
        let name = &workload.name;
        let slot = context
            .slots
            .get(&key(workload, *port))
            .ok_or_else(|| WorkloadError::NoSlot {
                workload: name.to_string(),
                port: port.port.get(),
                protocol: port.protocol,
            })?;
        let metadata = route_metadata(workload, *port, namespace);
        let entry_points = if port.sni {
            shared_entry_points(environment, port.host_port, context)
        } else {
            vec![slot.to_string()]
        };
        let host = format!("{name}.{}", environment.network.domain);
        match port.protocol {
            Protocol::Tcp => objects.add(&IngressRouteTCP {
                metadata,
                spec: IngressRouteTCPSpec {
                    entry_points,
                    routes: vec![Route {
                        // Without TLS there is no name to tell connections apart by, and this is the only rule.
                        rule: Some(format!("HostSNI(`{}`)", if port.sni { &host } else { "*" })),
                        ..route(workload, *port)
                    }],
                    tls: port.sni.then(Tls::default),
                },
            })?,
            Protocol::Udp => objects.add(&IngressRouteUDP {
                metadata,
                spec: IngressRouteUDPSpec {
                    entry_points,
                    routes: vec![route(workload, *port)],
                },
            })?,
        }
    }
    Ok(())
}

/// The entry points of all ports that share a host port by SNI: each of them knows every name, so that it does not matter
/// which of them a connection to that host port comes to.
fn shared_entry_points(environment: &Environment, host_port: NonZeroU16, context: WorkloadContext<'_>) -> Vec<String> {
    let slots = environment.enabled_workloads().flat_map(|workload| {
        let shared = workload
            .ports
            .iter()
            .filter(|port| port.sni && port.host_port == host_port);
        shared.filter_map(|port| context.slots.get(&key(workload, *port)))
    });
    let slots: BTreeSet<&Slot> = slots.collect();
    slots.into_iter().map(ToString::to_string).collect()
}

fn key(workload: &Workload, port: WorkloadPort) -> PortKey {
    PortKey {
        workload: workload.name.clone(),
        port: port.port,
        protocol: port.protocol,
    }
}

fn route_metadata(workload: &Workload, port: WorkloadPort, namespace: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(format!("{}-{}-{}", workload.name, port.protocol, port.port)),
        ..named(workload.name.as_str(), namespace)
    }
}

fn route(workload: &Workload, port: WorkloadPort) -> Route {
    Route {
        services: vec![RouteService {
            name: super::service_of(workload).to_owned(),
            port: Some(port.port.get()),
            kind: None,
        }],
        ..Route::default()
    }
}

/// One Ingress for the hosts under the domain, which the default certificate is for, and where there is an ACME resolver a
/// second one for the others, which it gets certificates for.
fn add_http(
    objects: &mut Objects,
    environment: &Environment,
    workload: &Workload,
    http: &Http,
) -> Result<(), WorkloadError> {
    let domain = environment.network.domain.as_str();
    let acme = environment.components.ingress_controller.acme.is_some();
    let own = |host: &str| !acme || is_under(domain, host);
    let (own, foreign): (Vec<&str>, Vec<&str>) = http.hosts.iter().map(AsRef::as_ref).partition(|host| own(host));
    let namespace = environment.workloads.namespace.as_str();
    for (suffix, hosts, resolver) in [("", own, None), ("-acme", foreign, Some(ACME_RESOLVER))] {
        if !hosts.is_empty() {
            objects.add(&ingress(workload, http, suffix, namespace, &hosts, resolver))?;
        }
    }
    Ok(())
}

/// The annotation by which a router asks for its certificate.
const CERTIFICATE_RESOLVER: &str = "traefik.ingress.kubernetes.io/router.tls.certresolver";

/// The hosts of an Ingress whose certificates an ACME server signs; none for every other object.
#[must_use]
pub fn acme_hosts(manifest: &Manifest) -> Vec<String> {
    if manifest.annotation(CERTIFICATE_RESOLVER).is_none() {
        return Vec::new();
    }
    let rules = manifest.value()["spec"]["rules"].as_array().into_iter().flatten();
    rules
        .filter_map(|rule| rule["host"].as_str().map(str::to_owned))
        .collect()
}

fn ingress(
    workload: &Workload,
    http: &Http,
    suffix: &str,
    namespace: &str,
    hosts: &[&str],
    resolver: Option<&str>,
) -> Ingress {
    const ROUTER: &str = "traefik.ingress.kubernetes.io/router";
    let mut annotations = BTreeMap::from([
        (format!("{ROUTER}.entrypoints"), WEBSECURE.to_owned()),
        (format!("{ROUTER}.tls"), "true".to_owned()),
    ]);
    if let Some(resolver) = resolver {
        annotations.insert(CERTIFICATE_RESOLVER.to_owned(), resolver.to_owned());
    }
    let of_service = |key: &String| key.starts_with(SERVICE_ANNOTATION);
    annotations.extend(http.annotations.clone().into_iter().filter(|(key, _)| !of_service(key)));
    let service = http.service.as_deref().unwrap_or(workload.name.as_str());
    let backend = IngressBackend {
        service: Some(IngressServiceBackend {
            name: service.to_owned(),
            port: Some(ServiceBackendPort {
                number: Some(http.port.get().into()),
                ..ServiceBackendPort::default()
            }),
        }),
        ..IngressBackend::default()
    };
    let rules = hosts.iter().map(|host| IngressRule {
        host: Some((*host).to_owned()),
        http: Some(HTTPIngressRuleValue {
            paths: vec![HTTPIngressPath {
                path: Some("/".to_owned()),
                path_type: "Prefix".to_owned(),
                backend: backend.clone(),
            }],
        }),
    });
    Ingress {
        metadata: ObjectMeta {
            name: Some(format!("{}{suffix}", workload.name)),
            annotations: Some(annotations),
            ..named(workload.name.as_str(), namespace)
        },
        spec: Some(IngressSpec {
            ingress_class_name: Some(INGRESS_CLASS.to_owned()),
            rules: Some(rules.collect()),
            // No secret: the certificate is the default one, or the resolver's.
            tls: Some(vec![IngressTLS {
                hosts: Some(hosts.iter().map(|host| (*host).to_owned()).collect()),
                ..IngressTLS::default()
            }]),
            ..IngressSpec::default()
        }),
        ..Ingress::default()
    }
}
