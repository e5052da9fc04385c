//! What loko.yaml means: every value checked, every default applied.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU16;

use ipnet::Ipv4Net;
use serde::Serialize;

use crate::names::{Domain, EnvName, ImageName, Quantity, Tag, WorkloadName};

mod workload;

pub use workload::{ChartSource, GitSource, Http, ImageSource, Protocol, Source, Workload, WorkloadPort, Workloads};

/// One `loko.yaml`, whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Environment {
    /// The one key that has no default.
    pub name: EnvName,
    /// The Kubernetes cluster.
    pub cluster: Cluster,
    /// Domain, address and ports on the host.
    pub network: Network,
    /// Images and switches of the five components.
    pub components: Components,
    /// What the registry component serves.
    pub registry: Registry,
    /// What the user runs.
    pub workloads: Workloads,
}

/// The key `cluster`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Cluster {
    /// The node image and where the API listens.
    pub kubernetes: Kubernetes,
    /// How many nodes, their labels, and what may run where.
    pub nodes: Nodes,
    /// Addresses of pods. Default 10.244.0.0/16.
    pub pod_subnet: Ipv4Net,
    /// Addresses of services. Default 10.96.0.0/16.
    pub service_subnet: Ipv4Net,
    /// How kube-proxy forwards. Default `iptables`, which is kind's default.
    pub kube_proxy_mode: KubeProxyMode,
    /// Directories of the host that every node sees.
    pub extra_mounts: Vec<ExtraMount>,
    /// Files on this host with certificates of authorities, PEM, that nodes trust besides the public ones. Relative paths are
    /// relative to loko.yaml.
    pub extra_cas: Vec<String>,
    /// Patches of kubeadm's configuration, each one YAML document with its `kind`, as kind's `kubeadmConfigPatches`.
    pub kubeadm_patches: Vec<String>,
}

/// The key `cluster.kube-proxy-mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KubeProxyMode {
    /// The default.
    Iptables,
    /// IPVS.
    Ipvs,
    /// nftables, Kubernetes 1.33 and newer.
    Nftables,
    /// No kube-proxy at all.
    None,
}

/// One entry of `cluster.extra-mounts`, spelt as kind spells it (`hostPath`, `containerPath`, `readOnly`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtraMount {
    /// On the engine's machine. Relative paths are relative to loko.yaml.
    pub host_path: String,
    /// In the node; absolute.
    pub container_path: String,
    /// Default false.
    pub read_only: bool,
}

/// The key `cluster.kubernetes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Kubernetes {
    /// Default `kindest/node`.
    pub image: ImageName,
    /// Also the Kubernetes version, as kind's node images are tagged.
    pub tag: Tag,
    /// The API's port on 127.0.0.1. `auto`: any free one.
    pub api_port: AutoPort,
}

/// A port, or `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AutoPort {
    /// Chosen at the first create and kept.
    Auto,
    /// This one or an error.
    #[serde(untagged)]
    Fixed(NonZeroU16),
}

/// The key `cluster.nodes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Nodes {
    /// 1 or 3. Default 1.
    pub control_planes: u8,
    /// Default 0.
    pub workers: u8,
    /// Labels on the Kubernetes nodes.
    pub labels: NodeLabels,
    /// What may run where.
    pub scheduling: Scheduling,
}

/// The key `cluster.nodes.labels`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct NodeLabels {
    /// On every control plane.
    pub control_plane: BTreeMap<String, String>,
    /// On every worker.
    pub worker: BTreeMap<String, String>,
    /// On one node, by the end of its name: `control-plane`, `worker`, `worker-2` (or `worker2`, as kind writes it).
    pub individual: BTreeMap<String, BTreeMap<String, String>>,
}

/// The key `cluster.nodes.scheduling`. The three switches have a meaning only where there are workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Scheduling {
    /// `control-plane.allow-workloads`: workloads may run on control planes (no taint). Default true.
    /// Without workers they always may.
    pub allow_workloads_on_control_plane: bool,
    /// `control-plane.isolate-internal-components`: Traefik, metrics-server and the registry run on control planes. Default true.
    pub isolate_internal_components: bool,
    /// `workers.isolate-workloads`: workloads run on workers only. Default true.
    pub isolate_workloads: bool,
}

/// The key `network`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Network {
    /// Where the edge listens and what names resolve to.
    pub ip: NetworkIp,
    /// Default `dev.me`.
    pub domain: Domain,
    /// `auto` prefers 5453, then the next free one.
    pub dns_port: AutoPort,
    /// Whether any name under the domain resolves. Default true.
    pub wildcard: bool,
    /// Ports of HTTP and HTTPS on the host. Default 80 and 443.
    pub lb_ports: LbPorts,
    /// Workload → its port → the port on the host.
    pub port_overrides: BTreeMap<WorkloadName, BTreeMap<NonZeroU16, NonZeroU16>>,
}

/// The key `network.ip`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkIp {
    /// 127.0.0.1 where the engine runs on this kernel, else as `lan`.
    Auto,
    /// The address of the default route, found at each run.
    Lan,
    /// An address of this host.
    #[serde(untagged)]
    Address(IpAddr),
}

/// The key `network.lb-ports`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LbPorts {
    /// Plain HTTP, which redirects to HTTPS.
    pub http: NonZeroU16,
    /// HTTPS.
    pub https: NonZeroU16,
}

/// The key `components`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Components {
    /// DNS on the edge.
    pub dnsmasq: Component,
    /// TCP on the edge.
    pub haproxy: Component,
    /// Traefik.
    pub ingress_controller: IngressController,
    /// CPU and memory figures; can be switched off.
    pub metrics_server: SwitchedComponent,
    /// Zot; can be switched off here or in `registry`.
    pub registry: SwitchedComponent,
}

/// A component that is always there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Component {
    /// Without tag.
    pub image: ImageName,
    /// The tag.
    pub version: Tag,
}

/// A component with `enabled`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SwitchedComponent {
    /// Without tag.
    pub image: ImageName,
    /// The tag.
    pub version: Tag,
    /// Default true.
    pub enabled: bool,
}

/// The key `components.ingress-controller`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct IngressController {
    /// Without tag.
    pub image: ImageName,
    /// The tag.
    pub version: Tag,
    /// `https://traefik.<domain>`. Default false.
    pub dashboard: bool,
    /// Certificates for real names.
    pub acme: Option<Acme>,
    /// Further arguments of Traefik, after ours.
    pub arguments: Vec<String>,
}

/// The key `components.ingress-controller.acme`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Acme {
    /// The account's address.
    pub email: String,
    /// The directory's URL. Default Let's Encrypt's production directory.
    pub server: String,
    /// PEM of the server's own root, where it is not a public one.
    pub ca: Option<String>,
    /// Which challenge. Default `tls`.
    pub challenge: AcmeChallenge,
}

/// The key `components.ingress-controller.acme.challenge`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AcmeChallenge {
    /// TLS-ALPN-01, RFC 8737.
    Tls,
    /// HTTP-01, RFC 8555.
    Http,
}

impl Component {
    /// `image:version`.
    #[must_use]
    pub fn reference(&self) -> String {
        format!("{}:{}", self.image, self.version)
    }
}

impl SwitchedComponent {
    /// `image:version`.
    #[must_use]
    pub fn reference(&self) -> String {
        format!("{}:{}", self.image, self.version)
    }
}

impl IngressController {
    /// `image:version`.
    #[must_use]
    pub fn reference(&self) -> String {
        format!("{}:{}", self.image, self.version)
    }
}

impl Kubernetes {
    /// `image:tag`.
    #[must_use]
    pub fn reference(&self) -> String {
        format!("{}:{}", self.image, self.tag)
    }
}

/// The key `registry`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Registry {
    /// False where either `registry.enabled` or `components.registry.enabled` is false. Default true.
    pub enabled: bool,
    /// Which program serves. Default `zot`.
    pub engine: RegistryEngine,
    /// First label of its host. Default `cr`.
    pub name: WorkloadName,
    /// From here on `registry status` says that there is too much; no limit. Default 10Gi.
    pub storage: Quantity,
    /// Pull-through mirrors.
    pub mirroring: Mirroring,
    /// Vulnerability scanning.
    pub scanning: Scanning,
}

/// The key `registry.engine`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegistryEngine {
    /// Zot: mirrored images also under `cr.<domain>/<source>/…`, web pages, scanning.
    Zot,
    /// The reference registry (`registry:3`): smaller; mirrors serve the nodes only.
    Distribution,
}

/// The key `registry.mirroring`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Mirroring {
    /// Default false.
    pub enabled: bool,
    /// In the order written. Default: the five of [`MirrorSource`], enabled.
    pub sources: Vec<Mirror>,
}

/// One entry of `registry.mirroring.sources`: a word (`quay`), or `{name, enabled, url, prefix, credentials}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Mirror {
    /// A well-known name, or one of the user's own.
    pub name: String,
    /// What the name stands for; `None` for one of the user's own, which needs `url`.
    #[serde(skip)]
    pub known: Option<MirrorSource>,
    /// Default true.
    pub enabled: bool,
    /// Where images come from, `http://` or `https://`; for a well-known source instead of its own address.
    pub url: Option<String>,
    /// The host by which images are named (`registry.corp.example:5000`). Default: the well-known source's, else that of `url`.
    pub prefix: Option<String>,
    /// How the mirror is known there.
    pub credentials: Option<MirrorCredentials>,
}

/// The key `registry.mirroring.sources[].credentials`. Neither `Debug` nor `Serialize` shows the password.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct MirrorCredentials {
    /// The user; a template until [`Environment::expand`].
    pub username: String,
    /// The password or token; a template until [`Environment::expand`].
    #[serde(skip)]
    pub password: String,
}

impl std::fmt::Debug for MirrorCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MirrorCredentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// A registry that is known by a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MirrorSource {
    /// `docker.io`
    DockerHub,
    /// `quay.io`
    Quay,
    /// `ghcr.io`
    Ghcr,
    /// `registry.k8s.io` and `k8s.gcr.io`
    K8sRegistry,
    /// `mcr.microsoft.com`
    Mcr,
}

/// The key `registry.scanning`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Scanning {
    /// Default false.
    pub enabled: bool,
    /// A Go duration between updates of the database. Default `24h`.
    pub interval: String,
}

impl Environment {
    /// The kind cluster's name: `loko-<name>`.
    #[must_use]
    pub fn cluster_name(&self) -> String {
        format!("loko-{}", self.name)
    }

    /// Workloads that are enabled, in the order written.
    pub fn enabled_workloads(&self) -> impl Iterator<Item = &Workload> {
        self.workloads.list.iter().filter(|workload| workload.enabled)
    }

    /// The registry's host: `cr.dev.me`.
    #[must_use]
    pub fn registry_host(&self) -> String {
        format!("{}.{}", self.registry.name, self.network.domain)
    }
}
