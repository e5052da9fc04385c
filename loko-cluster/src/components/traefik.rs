//! Traefik: a DaemonSet on the nodes that run components, a NodePort service in front of the pool of entry points, and a
//! service with a fixed address for clients inside the cluster.
//!
//! ```text
//! HAProxy ─→ node:30082 ─→ service traefik ──────────┐
//!                                                    ├─→ Traefik :30082 `websecure` ─→ Ingress, IngressRoute → pods
//! pod ─→ 10.96.0.13:443 ─→ service traefik-internal ─┘
//! ```
//!
//! Static configuration is arguments alone ([`arguments()`]); a changed one restarts the pods, one after another and without a
//! gap. Everything else (routes, certificates, host ports) is objects, and live.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;

use ipnet::Ipv4Net;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::networking::v1::{IngressClass, IngressClassSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use loko_config::model::{Acme, LbPorts};
use loko_config::slots::Slot;

use super::{NAMESPACE, Objects, cluster_wide, named, rbac, text_map};
use crate::certificates::Leaf;
use crate::manifest::{Manifest, NotAnObject};
use crate::scheduling::Placement;

mod arguments;
pub mod crds;
mod daemon_set;
pub mod routes;
mod services;

pub use arguments::arguments;

/// The part of these objects.
pub const PART: &str = "traefik";
/// Name of the DaemonSet, of its pods' label and of the NodePort service.
pub const NAME: &str = "traefik";
/// Name of the service for clients inside the cluster.
pub const INTERNAL_SERVICE: &str = "traefik-internal";
/// The ingress class, which is also the default one.
pub const INGRESS_CLASS: &str = "traefik";
/// The entry point of HTTPS, and of routes that name none.
pub const WEBSECURE: &str = "websecure";
/// The entry point of plain HTTP, which only redirects.
pub const WEB: &str = "web";
/// Name of the certificate resolver where `components.ingress-controller.acme` is set.
pub const ACME_RESOLVER: &str = "acme";
/// The entry point for Prometheus, and for what Traefik says of its routes ([`routes`]); of pods alone, no node has it.
pub const METRICS: &str = "metrics";
/// Its port.
pub const METRICS_PORT: u16 = 9100;
const CERTIFICATE_SECRET: &str = "loko-default-certificate";
const ACME_CA: &str = "loko-acme-ca";
const ROLE: &str = "loko-traefik";

/// Everything that Traefik's objects depend on.
#[derive(Debug, Clone)]
pub struct TraefikInput<'a> {
    /// With tag.
    pub image: &'a str,
    /// The user's own arguments, after ours.
    pub arguments: &'a [String],
    /// Ports of HTTP and HTTPS on the host.
    pub lb_ports: LbPorts,
    /// `network.domain`.
    pub domain: &'a str,
    /// What Ingress status shows: where names resolve to on the host.
    pub ip: IpAddr,
    /// Address inside the cluster ([`crate::addresses::ServiceAddresses::traefik`]).
    pub cluster_ip: Ipv4Addr,
    /// The default certificate.
    pub certificate: &'a Leaf,
    /// From where a PROXY header is believed: the subnet of the network `loko`.
    pub trusted_proxies: Ipv4Net,
    /// Where it runs ([`crate::scheduling::components`]).
    pub placement: Placement,
    /// Whether `traefik.<domain>` shows the dashboard.
    pub dashboard: bool,
    /// Certificates for real names.
    pub acme: Option<&'a Acme>,
    /// Host ports that are in use, which pods shall reach as well.
    pub ports: &'a [ExposedPort],
}

/// A port on the host and the slot behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExposedPort {
    /// On the host, and so inside the cluster.
    pub host_port: NonZeroU16,
    /// Its entry point; says TCP or UDP.
    pub slot: Slot,
}

/// Every object of Traefik in an order in which they can be applied. The custom resource definitions come first; objects of
/// their kinds, which come last, are refused until the API server has taken the definitions up.
pub fn manifests(input: &TraefikInput<'_>) -> Result<Vec<Manifest>, NotAnObject> {
    let account = (NAME, NAMESPACE);
    let mut objects = Objects::of(PART);
    for definition in crds::all() {
        objects.add(&definition)?;
    }
    objects.add(&rbac::service_account(NAME, NAMESPACE))?;
    objects.add(&rbac::cluster_role(ROLE, rules()))?;
    objects.add(&rbac::cluster_binding(ROLE, ROLE, account))?;
    objects.add(&ingress_class())?;
    objects.add(&certificate(input.certificate))?;
    if let Some(ca) = input.acme.and_then(|acme| acme.ca.as_deref()) {
        objects.add(&ConfigMap {
            metadata: named(ACME_CA, NAMESPACE),
            data: Some(text_map([("ca.crt", ca)])),
            ..ConfigMap::default()
        })?;
    }
    objects.add(&services::node_ports())?;
    objects.add(&services::internal(input))?;
    objects.add(&daemon_set::daemon_set(input))?;
    objects.add(&crds::default_store(CERTIFICATE_SECRET))?;
    objects.add(&crds::routes())?;
    if input.dashboard {
        objects.add(&crds::dashboard(&dashboard_host(input.domain)))?;
    }
    Ok(objects.into_list())
}

/// Where the dashboard is: `traefik.<domain>`.
#[must_use]
pub fn dashboard_host(domain: &str) -> String {
    format!("{NAME}.{domain}")
}

/// Upstream's list for the providers kubernetesCRD and kubernetesIngress
/// (`docs/content/reference/dynamic-configuration/kubernetes-crd-rbac.yml`).
fn rules() -> Vec<k8s_openapi::api::rbac::v1::PolicyRule> {
    let kinds = "ingressroutes ingressroutetcps ingressrouteudps middlewares middlewaretcps serverstransports \
                 serverstransporttcps tlsoptions tlsstores traefikservices";
    vec![
        rbac::rule("core", "services secrets nodes configmaps", "get list watch"),
        rbac::rule("core", "pods", "get"),
        rbac::rule("discovery.k8s.io", "endpointslices", "list watch"),
        rbac::rule("networking.k8s.io", "ingresses ingressclasses", "get list watch"),
        rbac::rule("networking.k8s.io", "ingresses/status", "update"),
        rbac::rule(crds::GROUP, kinds, "get list watch"),
    ]
}

/// The default one, so that an Ingress without a class is served as well.
fn ingress_class() -> IngressClass {
    IngressClass {
        metadata: ObjectMeta {
            annotations: Some(text_map([("ingressclass.kubernetes.io/is-default-class", "true")])),
            ..cluster_wide(INGRESS_CLASS)
        },
        spec: Some(IngressClassSpec {
            controller: Some("traefik.io/ingress-controller".to_owned()),
            ..IngressClassSpec::default()
        }),
    }
}

fn certificate(leaf: &Leaf) -> Secret {
    let data = [("tls.crt", &leaf.certificate_pem), ("tls.key", &leaf.key_pem)];
    let data = data.map(|(key, pem)| (key.to_owned(), ByteString(pem.clone().into_bytes())));
    Secret {
        metadata: named(CERTIFICATE_SECRET, NAMESPACE),
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(data.into()),
        ..Secret::default()
    }
}

#[cfg(test)]
mod tests;
