//! CoreDNS as kubeadm's addon phase would install it (`cmd/kubeadm/app/phases/addons/dns/manifests.go`), with a Corefile of
//! our own. That phase is skipped, so that nothing ever writes the plain Corefile back.

use std::net::Ipv4Addr;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, ConfigMap, ConfigMapVolumeSource, Container, KeyToPath, PodAffinityTerm, PodAntiAffinity,
    PodSpec, PodTemplateSpec, Service, ServicePort, ServiceSpec, Toleration, Volume, VolumeMount,
    WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Objects, cluster_wide, pod, rbac, text_map, texts};
use crate::manifest::{Manifest, NotAnObject};
use crate::scheduling::control_plane_toleration;

/// The part of these objects.
pub const PART: &str = "coredns";
const NAMESPACE: &str = "kube-system";
const NAME: &str = "coredns";

/// Every object of CoreDNS.
///
/// `image` is the one that the node image holds, `corefile` the configuration, `dns_ip` what kubelets give to pods
/// ([`crate::addresses::ServiceAddresses::dns`]). A changed Corefile is read by CoreDNS itself (plug-in `reload`).
pub fn manifests(image: &str, corefile: &str, dns_ip: Ipv4Addr, replicas: i32) -> Result<Vec<Manifest>, NotAnObject> {
    let account = (NAME, NAMESPACE);
    let role = "system:coredns";
    let rules = vec![
        rbac::rule("core", "endpoints services pods namespaces", "list watch"),
        rbac::rule("discovery.k8s.io", "endpointslices", "list watch"),
    ];
    let mut objects = Objects::of(PART);
    objects.add(&rbac::service_account(NAME, NAMESPACE))?;
    objects.add(&rbac::cluster_role(role, rules))?;
    objects.add(&rbac::cluster_binding(role, role, account))?;
    objects.add(&config_map(corefile))?;
    objects.add(&service(dns_ip))?;
    objects.add(&deployment(image, replicas))?;
    Ok(objects.into_list())
}

/// Of [`manifests`], the one that has the Corefile.
pub fn configuration(corefile: &str) -> Result<Vec<Manifest>, NotAnObject> {
    let mut objects = Objects::of(PART);
    objects.add(&config_map(corefile))?;
    Ok(objects.into_list())
}

fn config_map(corefile: &str) -> ConfigMap {
    ConfigMap {
        metadata: metadata(NAME),
        data: Some(text_map([("Corefile", corefile)])),
        ..ConfigMap::default()
    }
}

fn metadata(name: &str) -> ObjectMeta {
    ObjectMeta {
        namespace: Some(NAMESPACE.to_owned()),
        labels: Some(text_map([("k8s-app", "kube-dns")])),
        ..cluster_wide(name)
    }
}

fn service(dns_ip: Ipv4Addr) -> Service {
    let port = |name: &str, number: i32, protocol: &str| ServicePort {
        name: Some(name.to_owned()),
        port: number,
        protocol: Some(protocol.to_owned()),
        target_port: Some(IntOrString::Int(number)),
        ..ServicePort::default()
    };
    Service {
        metadata: ObjectMeta {
            labels: Some(text_map([
                ("k8s-app", "kube-dns"),
                ("kubernetes.io/cluster-service", "true"),
                ("kubernetes.io/name", "CoreDNS"),
            ])),
            annotations: Some(text_map([
                ("prometheus.io/port", "9153"),
                ("prometheus.io/scrape", "true"),
            ])),
            ..metadata("kube-dns")
        },
        spec: Some(ServiceSpec {
            cluster_ip: Some(dns_ip.to_string()),
            ports: Some(vec![
                port("dns", 53, "UDP"),
                port("dns-tcp", 53, "TCP"),
                port("metrics", 9153, "TCP"),
            ]),
            selector: Some(text_map([("k8s-app", "kube-dns")])),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn deployment(image: &str, replicas: i32) -> Deployment {
    let selector = LabelSelector {
        match_labels: Some(text_map([("k8s-app", "kube-dns")])),
        ..LabelSelector::default()
    };
    Deployment {
        metadata: metadata(NAME),
        spec: DeploymentSpec {
            replicas: Some(replicas),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_unavailable: Some(IntOrString::Int(1)),
                    ..RollingUpdateDeployment::default()
                }),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: selector.match_labels.clone(),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod_spec(image)),
            },
            selector,
            ..DeploymentSpec::default()
        },
        ..Deployment::default()
    }
}

fn pod_spec(image: &str) -> PodSpec {
    PodSpec {
        priority_class_name: Some("system-cluster-critical".to_owned()),
        service_account_name: Some(NAME.to_owned()),
        affinity: Some(apart()),
        tolerations: Some(vec![
            Toleration {
                key: Some("CriticalAddonsOnly".to_owned()),
                operator: Some("Exists".to_owned()),
                ..Toleration::default()
            },
            control_plane_toleration(),
        ]),
        node_selector: Some(text_map([("kubernetes.io/os", "linux")])),
        // The node's own resolver, which is the engine's: names outside the cluster resolve as on the engine's machine.
        dns_policy: Some("Default".to_owned()),
        containers: vec![container(image)],
        volumes: Some(vec![Volume {
            name: "config-volume".to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: NAME.to_owned(),
                items: Some(vec![KeyToPath {
                    key: "Corefile".to_owned(),
                    path: "Corefile".to_owned(),
                    ..KeyToPath::default()
                }]),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        }]),
        ..PodSpec::default()
    }
}

fn container(image: &str) -> Container {
    let mut security = pod::locked();
    security.capabilities = Some(Capabilities {
        add: Some(texts(["NET_BIND_SERVICE"])),
        drop: Some(texts(["ALL"])),
    });
    let mut liveness = pod::http_probe("HTTP", "/health", "liveness-probe", 10);
    liveness.initial_delay_seconds = Some(60);
    liveness.timeout_seconds = Some(5);
    liveness.failure_threshold = Some(5);
    Container {
        name: NAME.to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(texts(["-conf", "/etc/coredns/Corefile"])),
        resources: Some(pod::resources("100m", "70Mi", "170Mi")),
        ports: Some(vec![
            pod::port("dns", 53, "UDP"),
            pod::port("dns-tcp", 53, "TCP"),
            pod::port("metrics", 9153, "TCP"),
            pod::port("liveness-probe", 8080, "TCP"),
            pod::port("readiness-probe", 8181, "TCP"),
        ]),
        liveness_probe: Some(liveness),
        // kubeadm asks every 10 seconds; names are among the first things that anyone waits for.
        readiness_probe: Some(pod::http_probe("HTTP", "/ready", "readiness-probe", 1)),
        security_context: Some(security),
        volume_mounts: Some(vec![VolumeMount {
            read_only: Some(true),
            ..pod::mount("config-volume", "/etc/coredns")
        }]),
        ..Container::default()
    }
}

/// Replicas on different nodes, where there are several.
fn apart() -> Affinity {
    let term = PodAffinityTerm {
        label_selector: Some(LabelSelector {
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: "k8s-app".to_owned(),
                operator: "In".to_owned(),
                values: Some(texts(["kube-dns"])),
            }]),
            ..LabelSelector::default()
        }),
        topology_key: "kubernetes.io/hostname".to_owned(),
        ..PodAffinityTerm::default()
    };
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![WeightedPodAffinityTerm {
                weight: 100,
                pod_affinity_term: term,
            }]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}
