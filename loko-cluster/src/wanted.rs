//! Every object that an environment wants in its cluster, from values alone: what `create` applies and `--dry-run` prints.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::Ipv4Net;
use loko_config::Environment;
use loko_config::model::Protocol;
use loko_config::slots::{PortKey, Slot};
use loko_registry::{Identity, Place, RegistrySpec};

use crate::certificates::Leaf;
use crate::components::traefik::TraefikInput;
use crate::components::{self, coredns, metrics_server, namespaces, traefik};
use crate::error::ClusterError;
use crate::manifest::{Manifest, NotAnObject};
use crate::secrets::Secrets;
use crate::workloads::{self, WorkloadContext};
use crate::{addresses, nodes, scheduling};

/// Where the volume with the registry's data is mounted in the first control plane.
pub const REGISTRY_DATA: &str = "/var/local/loko-registry";
/// The part of the registry's objects.
pub const REGISTRY_PART: &str = "registry";

/// What the objects depend on besides loko.yaml.
#[derive(Debug, Clone)]
pub struct WantedInput<'a> {
    /// What names resolve to on the host.
    pub address: IpAddr,
    /// The certificate of the domain.
    pub leaf: &'a Leaf,
    /// The authority's certificate, PEM.
    pub authority_pem: &'a str,
    /// The certificate of the registry, where there is one.
    pub registry_leaf: Option<&'a Leaf>,
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

/// Of [`foundation`], what has CoreDNS' configuration.
pub fn names(corefile: &str) -> Result<Vec<Manifest>, ClusterError> {
    coredns::configuration(corefile).map_err(object("CoreDNS"))
}

/// Components and workloads. `secrets` are those of the workloads; what belongs to none that is enabled is left out.
pub fn platform(
    environment: &Environment,
    input: &WantedInput<'_>,
    secrets: &Secrets,
) -> Result<Vec<Manifest>, ClusterError> {
    let addresses = addresses::of(environment.cluster.service_subnet)?;
    let ingress = &environment.components.ingress_controller;
    let mut all: Vec<Manifest> = namespaces::manifests(environment.workloads.namespace.as_str(), input.authority_pem)
        .map_err(object("the namespaces"))?
        .into_iter()
        .map(|manifest| manifest.of_part(namespaces::PART))
        .collect();
    let ports = workloads::exposed_ports(environment, input.slots);
    let traefik_image = ingress.reference();
    let traefik = TraefikInput {
        image: &traefik_image,
        arguments: &ingress.arguments,
        lb_ports: environment.network.lb_ports,
        domain: environment.network.domain.as_str(),
        ip: input.address,
        cluster_ip: addresses.traefik,
        certificate: input.leaf,
        trusted_proxies: input.network,
        placement: scheduling::components(),
        dashboard: ingress.dashboard,
        acme: ingress.acme.as_ref(),
        ports: &ports,
    };
    all.extend(traefik::manifests(&traefik).map_err(object("Traefik"))?);
    all.extend(registry(environment, input)?);
    let namespace = environment.workloads.namespace.as_str();
    for workload in environment.enabled_workloads() {
        let found = secrets.object(workload.name.as_str(), namespace);
        all.extend(found.map_err(object("the secrets"))?);
    }
    let context = WorkloadContext { slots: input.slots };
    all.extend(workloads::manifests(environment, context)?.into_values().flatten());
    Ok(all)
}

/// metrics-server, where it is enabled.
pub fn metrics(environment: &Environment) -> Result<Vec<Manifest>, ClusterError> {
    let component = &environment.components.metrics_server;
    if !component.enabled {
        return Ok(Vec::new());
    }
    metrics_server::manifests(&component.reference(), &scheduling::components()).map_err(object("metrics-server"))
}

/// Where the registry stands: on the first control plane, which has the volume.
pub fn registry_place(environment: &Environment) -> Result<Place, ClusterError> {
    let first = nodes::names(environment)
        .next()
        .map(|(name, ..)| name)
        .unwrap_or_default();
    Ok(Place {
        namespace: components::NAMESPACE.to_owned(),
        cluster_address: addresses::of(environment.cluster.service_subnet)?.registry.into(),
        data_path: REGISTRY_DATA.to_owned(),
        node_selector: BTreeMap::from([("kubernetes.io/hostname".to_owned(), first)]),
        ingress_class: Some(traefik::INGRESS_CLASS.to_owned()),
    })
}

fn registry(environment: &Environment, input: &WantedInput<'_>) -> Result<Vec<Manifest>, ClusterError> {
    let (Some(spec), Some(leaf)) = (RegistrySpec::of(environment)?, input.registry_leaf) else {
        return Ok(Vec::new());
    };
    let identity = Identity {
        certificate: leaf.certificate_pem.clone(),
        key: leaf.key_pem.clone(),
        authority: input.authority_pem.to_owned(),
    };
    loko_registry::manifests::manifests(&spec, &registry_place(environment)?, &identity)
        .into_iter()
        .map(|value| {
            Ok(Manifest::new(value)
                .map_err(object("the registry"))?
                .of_part(REGISTRY_PART))
        })
        .collect()
}

/// An image, and the nodes that run what is made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeImage {
    /// As loko.yaml writes it.
    pub image: String,
    /// Names of nodes.
    pub nodes: BTreeSet<String>,
}

impl NodeImage {
    /// An image for every node.
    #[must_use]
    pub fn everywhere(environment: &Environment, image: String) -> Self {
        let nodes = nodes::names(environment).map(|(name, ..)| name).collect();
        Self { image, nodes }
    }

    /// An image for the nodes that have a label of ours.
    fn labelled(environment: &Environment, image: String, label: &str) -> Self {
        let has = |role, index| {
            scheduling::node(&environment.cluster.nodes, role, index)
                .labels
                .contains_key(label)
        };
        let nodes = nodes::names(environment).filter(|(_, role, index)| has(*role, *index));
        Self {
            image,
            nodes: nodes.map(|(name, ..)| name).collect(),
        }
    }
}

/// Images that nodes run, those first that are waited for first, without metrics-server's, which nothing waits for.
/// CoreDNS' and the pod network's are in the node image.
#[must_use]
pub fn images(environment: &Environment) -> Vec<NodeImage> {
    let of_component = |image| NodeImage::labelled(environment, image, scheduling::RUNS_COMPONENTS);
    let mut all = vec![of_component(environment.components.ingress_controller.reference())];
    let of_workloads = environment.enabled_workloads().flat_map(workloads::images);
    all.extend(of_workloads.map(|image| NodeImage::labelled(environment, image, scheduling::RUNS_WORKLOADS)));
    if let Ok(Some(registry)) = RegistrySpec::of(environment) {
        // It stands where its volume is.
        all.push(NodeImage {
            image: registry.reference(),
            nodes: nodes::names(environment).take(1).map(|(name, ..)| name).collect(),
        });
    }
    let mut each: Vec<NodeImage> = Vec::new();
    for image in all {
        match each.iter_mut().find(|other| other.image == image.image) {
            Some(same) => same.nodes.extend(image.nodes),
            None => each.push(image),
        }
    }
    each
}

/// metrics-server's image, where it is enabled.
#[must_use]
pub fn metrics_image(environment: &Environment) -> Option<NodeImage> {
    let component = &environment.components.metrics_server;
    let image = || NodeImage::labelled(environment, component.reference(), scheduling::RUNS_COMPONENTS);
    component.enabled.then(image)
}

/// Images that run on the engine itself: the nodes', and those in front of the cluster.
#[must_use]
pub fn engine_images(environment: &Environment) -> Vec<String> {
    let components = &environment.components;
    let mut all = vec![
        environment.cluster.kubernetes.reference(),
        components.dnsmasq.reference(),
        components.haproxy.reference(),
    ];
    if has_udp(environment) {
        all.push(components.ingress_controller.reference());
    }
    all
}

fn has_udp(environment: &Environment) -> bool {
    let mut ports = environment.enabled_workloads().flat_map(|workload| &workload.ports);
    ports.any(|port| port.protocol == Protocol::Udp)
}

/// Every image of an environment with what it is for, known before anything is started: what a machine without a network must
/// have. Charts name theirs only when Helm renders them, and are not in it; CoreDNS' and the pod network's are in the node image.
#[must_use]
pub fn all_images(environment: &Environment) -> BTreeMap<String, Vec<String>> {
    let components = &environment.components;
    let mut all = BTreeMap::<String, Vec<String>>::new();
    let mut add = |image: String, what: &str| all.entry(image).or_default().push(what.to_owned());
    add(environment.cluster.kubernetes.reference(), "nodes");
    add(components.dnsmasq.reference(), "dnsmasq");
    add(components.haproxy.reference(), "HAProxy");
    if crate::balancer::name(environment).is_some() {
        add(components.haproxy.reference(), "balancer of the control planes");
    }
    add(components.ingress_controller.reference(), "Traefik");
    if has_udp(environment) {
        add(components.ingress_controller.reference(), "UDP relay");
    }
    if components.metrics_server.enabled {
        add(components.metrics_server.reference(), "metrics-server");
    }
    if let Ok(Some(registry)) = RegistrySpec::of(environment) {
        add(registry.reference(), "registry");
    }
    for workload in environment.enabled_workloads() {
        for image in workloads::images(workload) {
            add(image, &format!("workload {}", workload.name));
        }
    }
    all
}

fn object(origin: &str) -> impl FnOnce(NotAnObject) -> ClusterError {
    let origin = origin.to_owned();
    move |source| ClusterError::Object { origin, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(yaml: &str) -> Environment {
        let loaded = loko_config::load(yaml, &loko_config::LoadOptions::default());
        loaded.unwrap().environment
    }

    fn images(yaml: &str) -> Vec<String> {
        let environment = environment(yaml);
        let all = all_images(&environment);
        let engine = engine_images(&environment);
        assert!(engine.iter().all(|image| all.contains_key(image)), "{engine:?}");
        all.iter()
            .map(|(image, what)| format!("{image}: {}", what.join(", ")))
            .collect()
    }

    #[test]
    fn every_image_is_known_with_what_it_is_for() {
        let yaml = "name: dev
cluster: {nodes: {control-planes: 3}}
workloads:
  user:
    - {name: web, image: ghcr.io/me/web:1.2, http: {port: 8080}}
    - {name: other, image: ghcr.io/me/web:1.2, ports: [53/udp]}
    - {name: resting, image: ghcr.io/me/resting:1, enabled: false}
";
        insta::assert_snapshot!("images", images(yaml).join("\n"));
    }

    #[test]
    fn the_engine_needs_traefik_where_udp_is_relayed() {
        let ports = |ports: &str| {
            let user = format!("workloads: {{user: [{{name: a, image: b, ports: [{ports}]}}]}}");
            engine_images(&environment(&format!("name: dev\n{user}\n"))).len()
        };
        assert_eq!((ports("53"), ports("53/udp")), (3, 4));
    }

    #[test]
    fn an_image_goes_to_the_nodes_that_run_it() {
        let yaml = "name: dev
cluster: {nodes: {workers: 2}}
workloads: {user: [{name: a, image: one}, {name: b, image: two}, {name: c, image: one}]}
";
        let ends = |image: &NodeImage| {
            let nodes = image.nodes.iter().map(|node| node.trim_start_matches("loko-dev-"));
            format!("{} → {}", image.image, nodes.collect::<Vec<_>>().join(" "))
        };
        let of = |yaml: &str| -> Vec<String> { super::images(&environment(yaml)).iter().map(ends).collect() };
        insta::assert_snapshot!("images-of-nodes", of(yaml).join("\n"));
        // Where the control planes run workloads, and the workers components, every node gets all but the registry's.
        let shared = "name: dev
cluster:
  nodes:
    workers: 1
    scheduling: {control-plane: {isolate-internal-components: false}, workers: {isolate-workloads: false}}
workloads: {user: [{name: a, image: one}]}
";
        insta::assert_snapshot!("images-of-nodes-that-run-all", of(shared).join("\n"));
        let metrics = metrics_image(&environment(yaml)).unwrap();
        assert_eq!(metrics.nodes, BTreeSet::from(["loko-dev-control-plane".to_owned()]));
        assert_eq!(
            metrics_image(&environment(
                "name: dev\ncomponents: {metrics-server: {enabled: false}}\n"
            )),
            None
        );
    }

    #[test]
    fn what_is_switched_off_needs_no_image() {
        let least = "name: dev\nregistry: {enabled: false}\ncomponents: {metrics-server: {enabled: false}}\n";
        assert_eq!(images(least).len(), 4, "{:?}", images(least));
    }
}
