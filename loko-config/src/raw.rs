//! The file as it is written: one struct for each map, one field for each key, defaults included.
//!
//! This is the one list of keys. The comments on fields are what users read in the reference page, in the JSON Schema
//! and in generated files, so they speak of the file and not of the code.

mod forms;
mod workloads;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use ipnet::Ipv4Net;

use crate::model::{AcmeChallenge, AutoPort, KubeProxyMode, NetworkIp, RegistryEngine};
use crate::names::{Domain, EnvName, ImageName, Known, Quantity, Tag, WorkloadName};
use crate::read::{Annotations, ControlPlanes, Dict, Field, Port, Section, Spanned, Workers, section};
use crate::shape::{Shape, Tree};

pub(crate) use forms::{RawPort, RawSource};
pub(crate) use workloads::{CHART_KEYS, RawConfig, RawHttp, RawRepo, RawSystem, RawUser, RawWorkloads};

section! {
    /// One environment: a Kubernetes cluster of your own with a domain, certificates and what runs in it.
    RawFile "loko.yaml" {
        /// The environment's name. Cluster, containers and volumes are named after it.
        name "name": EnvName, required;
        /// The Kubernetes cluster.
        cluster "cluster": RawCluster, default(RawCluster::unwritten());
        /// Domain, address and ports on the host.
        network "network": RawNetwork, default(RawNetwork::unwritten());
        /// Images and switches of what loko itself runs.
        components "components": RawComponents, default(RawComponents::unwritten());
        /// What the registry serves.
        registry "registry": RawRegistry, default(RawRegistry::unwritten());
        /// What you run.
        workloads "workloads": RawWorkloads, default(RawWorkloads::unwritten());
    }
    old {
        "internal-components" => Renamed "`components`";
        "helm-repositories" => Renamed "`workloads.helm-repositories`";
        "services" => Renamed "`workloads.user`";
        "system" => Renamed "`workloads.system`";
        "user" => Renamed "`workloads.user`";
        "local-ip" => Renamed "`network.ip`";
        "local-domain" => Renamed "`network.domain`";
        "domain" => Renamed "`network.domain`";
        "local-lb-ports" => Renamed "`network.lb-ports`, a map `{http: 80, https: 443}`";
        "lb-ports" => Renamed "`network.lb-ports`, a map `{http: 80, https: 443}`";
        "dns-port" => Renamed "`network.dns-port`";
        "kubernetes" => Renamed "`cluster.kubernetes`";
        "nodes" => Renamed "`cluster.nodes`";
        "provider" => Removed "clusters are made on the container engine itself";
        "base-dir" => Removed "state lives in `$LOKO_HOME`, by default `~/.loko`";
        "expand-env-vars" => Removed "environment variables are read where `${env:NAME}` is written, in workloads";
        "enable-metrics-server" => Renamed "`components.metrics-server.enabled`";
        "use-services-presets" => Renamed "`workloads.system`";
        "run-services-on-workers-only" => Renamed "`cluster.nodes.scheduling.workers.isolate-workloads`";
    }
}

section! {
    /// The Kubernetes cluster: a kind cluster, made without kind.
    RawCluster "cluster" {
        /// The node image and where the API listens.
        kubernetes "kubernetes": RawKubernetes, default(RawKubernetes::unwritten());
        /// How many nodes, their labels, and what may run where.
        nodes "nodes": RawNodes, default(RawNodes::unwritten());
        /// Addresses of pods.
        pod_subnet "pod-subnet": Ipv4Net, default(net([10, 244, 0, 0], 16));
        /// Addresses of services.
        service_subnet "service-subnet": Ipv4Net, default(net([10, 96, 0, 0], 16));
        /// How kube-proxy forwards.
        kube_proxy_mode "kube-proxy-mode": KubeProxyMode, default(KubeProxyMode::Iptables);
        /// Directories of the engine's machine that every node sees.
        extra_mounts "extra-mounts": Vec<Spanned<RawMount>>, default(Vec::new());
        /// Files on this host with certificates of authorities, PEM, that nodes trust besides the public ones, when they pull
        /// images: a proxy's that opens TLS, a company's registry's. A relative path is relative to this file.
        extra_cas "extra-cas": Vec<Spanned<String>>, default(Vec::new());
        /// Patches of kubeadm's configuration, each one YAML document with its `kind`, as kind's `kubeadmConfigPatches`.
        kubeadm_patches "kubeadm-patches": Vec<Spanned<String>>, default(Vec::new());
    }
    old {
        "provider" => Removed "clusters are made on the container engine itself, and loko finds the engine";
        "runtime" => Removed "loko finds the container engine";
        "api-port" => Renamed "`cluster.kubernetes.api-port`";
        "version" => Renamed "`cluster.kubernetes.tag`";
        "workers" => Renamed "`cluster.nodes.workers`";
        "control-planes" => Renamed "`cluster.nodes.control-planes`";
        "servers" => Renamed "`cluster.nodes.control-planes`";
        "scheduling" => Renamed "`cluster.nodes.scheduling`";
    }
}

section! {
    /// The node image and where the API listens.
    RawKubernetes "cluster.kubernetes" {
        /// An image laid out as kind's node image.
        image "image": ImageName, default(ImageName::known("kindest/node"));
        /// The Kubernetes version, 1.31 or newer.
        tag "tag": Tag, default(Tag::known("v1.36.3"));
        /// The API's port on 127.0.0.1. `auto` takes any free one.
        api_port "api-port": AutoPort, default(AutoPort::Auto);
    }
    old {
        "version" => Renamed "`cluster.kubernetes.tag`";
    }
}

section! {
    /// How many nodes, their labels, and what may run where.
    RawNodes "cluster.nodes" {
        /// 1, or 3 for a control plane that outlives one of its nodes.
        control_planes "control-planes": ControlPlanes, default(ControlPlanes(1));
        /// Further nodes.
        workers "workers": Workers, default(Workers(0));
        /// Labels on the Kubernetes nodes.
        labels "labels": RawLabels, default(RawLabels::unwritten());
        /// What may run where. Has a meaning only with workers.
        scheduling "scheduling": RawScheduling, default(RawScheduling::unwritten());
    }
    old {
        "servers" => Renamed "`cluster.nodes.control-planes`";
        "agents" => Renamed "`cluster.nodes.workers`";
        "control-plane" => Renamed "`cluster.nodes.control-planes`, a number";
        "allow-scheduling-on-control-plane" => Renamed "`cluster.nodes.scheduling.control-plane.allow-workloads`";
        "internal-components-on-control-plane" => Renamed "`cluster.nodes.scheduling.control-plane.isolate-internal-components`";
        "run-workloads-on-workers-only" => Renamed "`cluster.nodes.scheduling.workers.isolate-workloads`";
    }
}

section! {
    /// Labels on the Kubernetes nodes.
    RawLabels "cluster.nodes.labels" {
        /// On every control plane.
        control_plane "control-plane": Annotations, default(Annotations::default());
        /// On every worker.
        worker "worker": Annotations, default(Annotations::default());
        /// On one node, by the end of its name: `control-plane`, `worker`, `worker-2`.
        individual "individual": Dict<String, Annotations>, default(Dict::default());
    }
}

section! {
    /// What may run where.
    RawScheduling "cluster.nodes.scheduling" {
        /// On control planes.
        control_plane "control-plane": RawControlPlaneScheduling, default(RawControlPlaneScheduling::unwritten());
        /// On workers.
        workers "workers": RawWorkerScheduling, default(RawWorkerScheduling::unwritten());
    }
    old {
        "worker" => Renamed "`cluster.nodes.scheduling.workers`";
        "control-planes" => Renamed "`cluster.nodes.scheduling.control-plane`";
    }
}

section! {
    /// What may run on control planes.
    RawControlPlaneScheduling "cluster.nodes.scheduling.control-plane" {
        /// Workloads may run on control planes.
        allow_workloads "allow-workloads": bool, default(true);
        /// Traefik, metrics-server and the registry run on control planes.
        isolate_internal_components "isolate-internal-components": bool, default(true);
    }
}

section! {
    /// What may run on workers.
    RawWorkerScheduling "cluster.nodes.scheduling.workers" {
        /// Workloads run on workers only.
        isolate_workloads "isolate-workloads": bool, default(true);
    }
}

section! {
    /// A directory that every node sees, spelt as kind spells it.
    RawMount "cluster.extra-mounts[]" {
        /// On the engine's machine; a relative path is relative to this file.
        host_path "hostPath": String, required;
        /// In the node; absolute.
        container_path "containerPath": String, required;
        /// Whether the node can only read it.
        read_only "readOnly": bool, default(false);
    }
}

section! {
    /// Domain, address and ports on the host.
    RawNetwork "network" {
        /// Where the edge listens and what names resolve to: `auto` is 127.0.0.1 where the engine runs on this kernel,
        /// else as `lan`; `lan` is the address of the default route, found at each run; or an address of this host.
        ip "ip": NetworkIp, default(NetworkIp::Auto);
        /// Everything has a name under it.
        domain "domain": Domain, default(Domain::known("dev.me"));
        /// The DNS server's port. `auto` prefers 5453, then the next free one.
        dns_port "dns-port": AutoPort, default(AutoPort::Auto);
        /// Whether any name under the domain resolves. With `false` only known names do.
        wildcard "wildcard": bool, default(true);
        /// Ports of HTTP and HTTPS on the host.
        lb_ports "lb-ports": RawLbPorts, default(RawLbPorts::unwritten());
        /// Another port on the host than in the workload: workload → its port → the host's.
        port_overrides "port-overrides": Dict<WorkloadName, Dict<Port, Port>>, default(Dict::default());
    }
    old {
        "local-ip" => Renamed "`network.ip`";
        "address" => Renamed "`network.ip`";
        "local-domain" => Renamed "`network.domain`";
        "local-lb-ports" => Renamed "`network.lb-ports`, a map `{http: 80, https: 443}`";
    }
}

section! {
    /// Ports of HTTP and HTTPS on the host.
    RawLbPorts "network.lb-ports" {
        /// Plain HTTP, which redirects to HTTPS.
        http "http": Port, default(port(80));
        /// HTTPS.
        https "https": Port, default(port(443));
    }
    old_list "`lb-ports: {http: 80, https: 443}`; the list of two is of an older generation"
}

section! {
    /// Images and switches of what loko itself runs.
    RawComponents "components" {
        /// DNS on the edge.
        dnsmasq "dnsmasq": RawDnsmasq, default(RawDnsmasq::unwritten());
        /// TCP on the edge.
        haproxy "haproxy": RawHaproxy, default(RawHaproxy::unwritten());
        /// Traefik, which routes HTTP, TCP and UDP into the cluster.
        ingress_controller "ingress-controller": RawIngress, default(RawIngress::unwritten());
        /// CPU and memory figures for `kubectl top` and autoscaling.
        metrics_server "metrics-server": RawMetrics, default(RawMetrics::unwritten());
        /// Zot, the registry of the environment.
        registry "registry": RawZot, default(RawZot::unwritten());
    }
    old {
        "traefik" => Renamed "`components.ingress-controller`";
        "ingress" => Renamed "`components.ingress-controller`";
        "zot" => Renamed "`components.registry`";
        "metrics" => Renamed "`components.metrics-server`";
        "dns" => Renamed "`components.dnsmasq`";
    }
}

section! {
    /// DNS on the edge.
    RawDnsmasq "components.dnsmasq" {
        /// Without tag.
        image "image": ImageName, default(ImageName::known("dockurr/dnsmasq"));
        /// The image's tag.
        version "version": Tag, default(Tag::known("2.91"));
    }
    old {
        "tag" => Renamed "`version`";
    }
}

section! {
    /// TCP on the edge.
    RawHaproxy "components.haproxy" {
        /// Without tag.
        image "image": ImageName, default(ImageName::known("haproxy"));
        /// The image's tag.
        version "version": Tag, default(Tag::known("3.3.6"));
    }
    old {
        "tag" => Renamed "`version`";
    }
}

section! {
    /// Traefik.
    RawIngress "components.ingress-controller" {
        /// Without tag.
        image "image": ImageName, default(ImageName::known("traefik"));
        /// The image's tag.
        version "version": Tag, default(Tag::known("v3.7.13"));
        /// Serve the dashboard at `https://traefik.<domain>`.
        dashboard "dashboard": bool, default(false);
        /// Certificates for real names from an ACME server.
        acme "acme": RawAcme, optional;
        /// Further arguments of Traefik, after loko's own.
        arguments "arguments": Vec<Spanned<String>>, default(Vec::new());
    }
    old {
        "tag" => Renamed "`version`";
        "args" => Renamed "`arguments`";
    }
}

section! {
    /// Certificates for real names from an ACME server.
    RawAcme "components.ingress-controller.acme" {
        /// The account's address.
        email "email": String, required;
        /// The directory's URL.
        server "server": String, default("https://acme-v02.api.letsencrypt.org/directory".to_owned());
        /// PEM text of the server's own root, where it is not a public one.
        ca "ca": String, optional;
        /// Which challenge.
        challenge "challenge": AcmeChallenge, default(AcmeChallenge::Tls);
    }
}

section! {
    /// CPU and memory figures.
    RawMetrics "components.metrics-server" {
        /// Without tag.
        image "image": ImageName, default(ImageName::known("registry.k8s.io/metrics-server/metrics-server"));
        /// The image's tag.
        version "version": Tag, default(Tag::known("v0.9.0"));
        /// Whether it runs.
        enabled "enabled": bool, default(true);
    }
    old {
        "tag" => Renamed "`version`";
    }
}

section! {
    /// Zot.
    RawZot "components.registry" {
        /// Without tag.
        image "image": ImageName, default(ImageName::known("ghcr.io/project-zot/zot"));
        /// The image's tag.
        version "version": Tag, default(Tag::known("v2.1.20"));
        /// Whether it runs. The same switch as `registry.enabled`.
        enabled "enabled": bool, default(true);
    }
    old {
        "tag" => Renamed "`version`";
    }
}

section! {
    /// What the registry serves.
    RawRegistry "registry" {
        /// Whether it runs. The same switch as `components.registry.enabled`.
        enabled "enabled": bool, default(true);
        /// Which program serves: `zot`, or `distribution`, the smaller reference registry, whose mirrors serve the
        /// nodes only.
        engine "engine": RegistryEngine, default(RegistryEngine::Zot);
        /// Its host is `<name>.<domain>`.
        name "name": WorkloadName, default(WorkloadName::known("cr"));
        /// How much it is meant to hold. Nothing stops it there, because its data is a directory of a node, which has no
        /// quota: `loko registry status` says when there is more, and how to make room.
        storage "storage": Quantity, default(Quantity::known("10Gi"));
        /// Keep what nodes pull from public registries.
        mirroring "mirroring": RawMirroring, default(RawMirroring::unwritten());
        /// Look for known vulnerabilities in what is pushed.
        scanning "scanning": RawScanning, default(RawScanning::unwritten());
    }
    old {
        "mirrors" => Renamed "`registry.mirroring.sources`";
        "size" => Renamed "`registry.storage`";
    }
}

section! {
    /// Keep what nodes pull from public registries.
    RawMirroring "registry.mirroring" {
        /// Whether nodes pull through the registry.
        enabled "enabled": bool, default(false);
        /// Which registries: `docker_hub`, `quay`, `ghcr`, `k8s_registry`, `mcr`, or one of your own. Each by its name,
        /// or as `{name: …, enabled: …, url: …, prefix: …, credentials: {…}}`.
        sources "sources": Vec<Spanned<RawSource>>, default(RawSource::all());
    }
}

section! {
    /// Look for known vulnerabilities in what is pushed.
    RawScanning "registry.scanning" {
        /// Whether it does.
        enabled "enabled": bool, default(false);
        /// Time between updates of the database, such as `24h` or `90m`.
        interval "interval": String, default("24h".to_owned());
    }
}

/// Where else in the file a key of this name stands. Nothing for one that stands in more than three places, such as
/// `enabled`: that would not help.
pub(crate) fn places(key: &str) -> &'static [String] {
    static PLACES: LazyLock<BTreeMap<&'static str, Vec<String>>> = LazyLock::new(|| {
        let mut places = BTreeMap::new();
        collect(&RawFile::shape(), "", &mut places);
        places.retain(|_, paths: &mut Vec<String>| paths.len() <= 3);
        places
    });
    PLACES.get(key).map_or(&[], Vec::as_slice)
}

fn collect(shape: &Shape, path: &str, places: &mut BTreeMap<&'static str, Vec<String>>) {
    match shape {
        Shape::Map { keys, .. } => {
            for key in keys {
                let path = crate::generate::join(path, key.key);
                collect(&key.shape, &path, places);
                places.entry(key.key).or_default().push(path);
            }
        }
        Shape::List(item) => collect(item, &format!("{path}[]"), places),
        Shape::Dict { value, .. } => collect(value, &format!("{path}.*"), places),
        Shape::Either(one, other) => {
            collect(one, path, places);
            collect(other, path, places);
        }
        Shape::Scalar { .. } | Shape::Free { .. } => {}
    }
}

fn net(address: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(address.into(), prefix)
}

/// A port that is no zero.
pub(crate) fn port(number: u16) -> Port {
    Port::new(number).unwrap_or(Port::MIN)
}

impl RawFile {
    /// The whole with every default, without what means nothing for a chart.
    pub(crate) fn shown(&self) -> Tree {
        let mut tree = self.tree();
        if let Some(Tree::List(users)) = tree.at_mut(&["workloads", "user"]) {
            for ((user, _), raw) in users.iter_mut().zip(&self.workloads.value.user.value) {
                if let (Tree::Map(branches), Some(_)) = (user, &raw.value.config) {
                    branches.retain(|branch| CHART_KEYS.contains(&branch.key.as_str()));
                }
            }
        }
        tree
    }

    /// Fills in the defaults that depend on other keys.
    pub(crate) fn settle(&mut self) {
        let registry = &mut self.registry.value;
        let component = &mut self.components.value.registry.value;
        // One switch in two places: what is written in one holds for the other.
        match (registry.enabled.span, component.enabled.span) {
            (Some(_), None) => component.enabled.value = registry.enabled.value,
            (None, Some(_)) => registry.enabled.value = component.enabled.value,
            (Some(_), Some(_)) | (None, None) => {}
        }
        if registry.engine.value == RegistryEngine::Distribution && component.image.span.is_none() {
            component.image.value = ImageName::known("registry");
            if component.version.span.is_none() {
                component.version.value = Tag::known("3.0.0");
            }
        }
    }

    /// A file that says no more than its name.
    pub(crate) fn named(name: EnvName) -> Self {
        let mut file = Self::unwritten();
        file.name = Some(Spanned {
            value: name,
            span: crate::problem::Span::default(),
        });
        file
    }
}
