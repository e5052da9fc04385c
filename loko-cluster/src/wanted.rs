//! Every object that an environment wants in its cluster, from values alone: what `create` applies and `--dry-run` prints.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::Ipv4Net;
use loko_config::Environment;
use loko_config::slots::{PortKey, Slot};

use crate::certificates::Leaf;
use crate::components::traefik::TraefikInput;
use crate::components::{coredns, metrics_server, namespaces, traefik};
use crate::error::ClusterError;
use crate::manifest::{Manifest, NotAnObject};
use crate::workloads::{self, WorkloadContext};
use crate::{addresses, scheduling};

/// What the objects depend on besides loko.yaml.
#[derive(Debug, Clone)]
pub struct WantedInput<'a> {
    /// What names resolve to on the host.
    pub address: IpAddr,
    /// The certificate of the domain.
    pub leaf: &'a Leaf,
    /// The authority's certificate, PEM.
    pub authority_pem: &'a str,
    /// The subnet of the network `loko`, from which HAProxy comes.
    pub network: Ipv4Net,
    /// The entry point of each port.
    pub slots: &'a BTreeMap<PortKey, Slot>,
    /// CoreDNS' configuration, whole.
    pub corefile: &'a str,
    /// CoreDNS' image: the one that the node image holds.
    pub coredns_image: &'a str,
}

/// What the rest stands on: names inside the cluster. The pod network and the storage class come with the node image.
pub fn foundation(environment: &Environment, input: &WantedInput<'_>) -> Result<Vec<Manifest>, ClusterError> {
    let addresses = addresses::of(environment.cluster.service_subnet)?;
    let replicas = if environment.cluster.nodes.control_planes + environment.cluster.nodes.workers > 1 {
        2
    } else {
        1
    };
    coredns::manifests(input.coredns_image, input.corefile, addresses.dns, replicas).map_err(object("CoreDNS"))
}

/// Components and workloads.
pub fn platform(environment: &Environment, input: &WantedInput<'_>) -> Result<Vec<Manifest>, ClusterError> {
    let addresses = addresses::of(environment.cluster.service_subnet)?;
    let components = &environment.components;
    let mut all: Vec<Manifest> = namespaces::manifests(environment.workloads.namespace.as_str(), input.authority_pem)
        .map_err(object("the namespaces"))?
        .into_iter()
        .map(|manifest| manifest.of_part(namespaces::PART))
        .collect();
    let ports = workloads::exposed_ports(environment, input.slots);
    let traefik_image = components.ingress_controller.reference();
    let traefik = TraefikInput {
        image: &traefik_image,
        arguments: &components.ingress_controller.arguments,
        lb_ports: environment.network.lb_ports,
        domain: environment.network.domain.as_str(),
        ip: input.address,
        cluster_ip: addresses.traefik,
        certificate: input.leaf,
        trusted_proxies: input.network,
        placement: scheduling::components(),
        dashboard: components.ingress_controller.dashboard,
        acme: components.ingress_controller.acme.as_ref(),
        ports: &ports,
    };
    all.extend(traefik::manifests(&traefik).map_err(object("Traefik"))?);
    if components.metrics_server.enabled {
        let image = components.metrics_server.reference();
        let objects = metrics_server::manifests(&image, &scheduling::components()).map_err(object("metrics-server"))?;
        all.extend(objects);
    }
    let context = WorkloadContext { slots: input.slots };
    all.extend(workloads::manifests(environment, context)?.into_values().flatten());
    Ok(all)
}

/// Images that nodes run, those first that are waited for first. CoreDNS' and the pod network's are in the node image.
#[must_use]
pub fn images(environment: &Environment) -> Vec<String> {
    let components = &environment.components;
    let mut all = vec![components.ingress_controller.reference()];
    for workload in environment.enabled_workloads() {
        for image in workloads::images(workload) {
            if !all.contains(&image) {
                all.push(image);
            }
        }
    }
    if components.metrics_server.enabled {
        all.push(components.metrics_server.reference());
    }
    all
}

fn object(origin: &str) -> impl FnOnce(NotAnObject) -> ClusterError {
    let origin = origin.to_owned();
    move |source| ClusterError::Object { origin, source }
}
