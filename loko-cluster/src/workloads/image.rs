//! A workload of one container: its pods, its service, its files.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapVolumeSource, Container, EnvVar, PersistentVolumeClaim, PersistentVolumeClaimSpec, PodSpec,
    PodTemplateSpec, Probe, Service, ServicePort, ServiceSpec, TCPSocketAction, Volume, VolumeMount,
    VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use loko_config::model::{Environment, ImageSource, Protocol, Workload};
use sha2::{Digest as _, Sha256};

use super::routes::SERVICE_ANNOTATION;
use super::{MAX_STATEFUL_NAME, WorkloadError, hex, typed};
use crate::components::{Objects, app, app_selector, named, texts};
use crate::scheduling;

/// Annotation of pods: the SHA-256 of their configuration files, so that other files make other pods.
const FILES_HASH: &str = "dev.loko.files";
const DATA: &str = "data";
const FILES: &str = "files";
/// The class that kind's node images bring.
const STORAGE_CLASS: &str = "standard";
/// How long a pod without a probe must run to count as available: one that ends at once was ready for a moment.
const UNPROBED_SECONDS: i32 = 3;

pub(super) fn add(
    objects: &mut Objects,
    environment: &Environment,
    workload: &Workload,
    image: &ImageSource,
) -> Result<(), WorkloadError> {
    let name = workload.name.as_str();
    let namespace = environment.workloads.namespace.as_str();
    if !image.files.is_empty() {
        objects.add(&ConfigMap {
            metadata: named(&files_name(name), namespace),
            data: Some(
                files(image)
                    .map(|(key, _, content)| (key, content.to_owned()))
                    .collect(),
            ),
            ..ConfigMap::default()
        })?;
    }
    let ports = ports(workload);
    if !ports.is_empty() {
        let mut service = service(name, namespace, &ports);
        // What Traefik reads of a Service it reads there alone: a `serversscheme` of h2c makes gRPC out of HTTP.
        let annotations = workload.http.iter().flat_map(|http| &http.annotations);
        let its: BTreeMap<String, String> = annotations
            .filter(|(key, _)| key.starts_with(SERVICE_ANNOTATION))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        service.metadata.annotations = (!its.is_empty()).then_some(its);
        objects.add(&service)?;
    }
    let template = template(workload, image, &ports)?;
    // One is Kubernetes' own default. Left out, an autoscaler or `kubectl scale` may decide.
    let replicas = (image.replicas != 1).then_some(i32::from(image.replicas));
    match &workload.storage {
        None => objects.add(&Deployment {
            metadata: named(name, namespace),
            spec: DeploymentSpec {
                replicas,
                selector: app_selector(name),
                min_ready_seconds: (!is_probed(&template)).then_some(UNPROBED_SECONDS),
                template,
                ..DeploymentSpec::default()
            },
            ..Deployment::default()
        })?,
        Some(_) if name.len() > MAX_STATEFUL_NAME => {
            return Err(WorkloadError::LongName {
                workload: name.to_owned(),
            });
        }
        Some(size) => objects.add(&StatefulSet {
            metadata: named(name, namespace),
            spec: StatefulSetSpec {
                replicas,
                selector: app_selector(name),
                // In order, a pod that does not come up would never be replaced by one of a mended set.
                pod_management_policy: Some("Parallel".to_owned()),
                service_name: (!ports.is_empty()).then(|| name.to_owned()),
                template,
                volume_claim_templates: Some(vec![claim(name, size.as_str())]),
                ..StatefulSetSpec::default()
            },
            ..StatefulSet::default()
        })?,
    }
    Ok(())
}

fn is_probed(template: &PodTemplateSpec) -> bool {
    let containers = template.spec.iter().flat_map(|pod| &pod.containers);
    containers
        .into_iter()
        .any(|container| container.readiness_probe.is_some())
}

/// One port of the pods and of the service.
struct Port {
    name: String,
    number: u16,
    protocol: &'static str,
}

/// The HTTP port first, then the others as written; a port that is both is there once.
fn ports(workload: &Workload) -> Vec<Port> {
    let http = workload.http.as_ref().map(|http| Port {
        name: "http".to_owned(),
        number: http.port.get(),
        protocol: "TCP",
    });
    let mut list: Vec<Port> = http.into_iter().collect();
    for port in &workload.ports {
        let protocol = match port.protocol {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
        };
        let number = port.port.get();
        if !list
            .iter()
            .any(|other| other.number == number && other.protocol == protocol)
        {
            list.push(Port {
                name: format!("{}-{number}", port.protocol),
                number,
                protocol,
            });
        }
    }
    list
}

fn service(name: &str, namespace: &str, ports: &[Port]) -> Service {
    let ports = ports.iter().map(|port| ServicePort {
        name: Some(port.name.clone()),
        port: port.number.into(),
        target_port: Some(IntOrString::String(port.name.clone())),
        protocol: Some(port.protocol.to_owned()),
        ..ServicePort::default()
    });
    Service {
        metadata: named(name, namespace),
        spec: Some(ServiceSpec {
            selector: Some(app(name)),
            ports: Some(ports.collect()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn template(workload: &Workload, image: &ImageSource, ports: &[Port]) -> Result<PodTemplateSpec, WorkloadError> {
    let name = workload.name.as_str();
    let mut labels = image.labels.clone();
    // Ours win: the service and the controller select by it.
    labels.extend(app(name));
    let mut annotations = image.annotations.clone();
    if !image.files.is_empty() {
        annotations.insert(FILES_HASH.to_owned(), hash(image));
    }
    let mut containers = vec![container(workload, image, ports)?];
    for sidecar in &image.sidecars {
        containers.push(typed::read(name, "sidecars", sidecar)?);
    }
    let placement = scheduling::workloads();
    let pod = PodSpec {
        containers,
        node_selector: Some(placement.node_selector),
        // A variable for every service of the namespace, which `docker` links once had, only surprises.
        enable_service_links: Some(false),
        // Who asks for an account means to use it.
        automount_service_account_token: Some(image.pod.contains_key("serviceAccountName")),
        volumes: (!image.files.is_empty()).then(|| vec![files_volume(name)]),
        ..PodSpec::default()
    };
    Ok(PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: (!annotations.is_empty()).then_some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(typed::merge(name, &pod, &image.pod, &["volumes", "nodeSelector"])?),
    })
}

fn container(workload: &Workload, image: &ImageSource, ports: &[Port]) -> Result<Container, WorkloadError> {
    let name = workload.name.as_str();
    // Those from elsewhere first, so that the others may refer to them as `$(NAME)`.
    let mut env: Vec<EnvVar> = Vec::new();
    for entry in &image.env_value_from {
        env.push(typed::read(name, "env", entry)?);
    }
    env.extend(image.env.iter().map(|(name, value)| EnvVar {
        name: name.clone(),
        value: Some(value.clone()),
        ..EnvVar::default()
    }));
    let mut mounts: Vec<VolumeMount> = files(image)
        .map(|(key, path, _)| VolumeMount {
            sub_path: Some(key),
            read_only: Some(true),
            ..mount(FILES, path)
        })
        .collect();
    if workload.storage.is_some() {
        mounts.insert(0, mount(DATA, &image.storage_path));
    }
    let declared = ports
        .iter()
        .map(|port| crate::components::pod::port(&port.name, port.number, port.protocol));
    let base = Container {
        name: name.to_owned(),
        image: Some(image.image.to_string()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: list(&image.command),
        args: list(&image.args),
        env: list(&env),
        ports: list(&declared.collect::<Vec<_>>()),
        volume_mounts: list(&mounts),
        startup_probe: startup_probe(image, ports),
        ..Container::default()
    };
    typed::merge(name, &base, &image.container, &["volumeMounts"])
}

/// Where the user gives no readiness probe: a pod is ready once its first TCP port takes connections. Asked every second until
/// it does, and not after: to a database every such connection is a line in its log, and a port that was open and closes is
/// the end of a process, which Kubernetes sees by itself. A readiness probe beside it would make a pod ready up to its own
/// period later, because it may ask for the first time a moment before the startup probe has succeeded.
fn startup_probe(image: &ImageSource, ports: &[Port]) -> Option<Probe> {
    let given = |field| image.container.contains_key(field);
    if given("readinessProbe") || given("startupProbe") {
        return None;
    }
    let first = ports.iter().find(|port| port.protocol == "TCP")?;
    Some(Probe {
        tcp_socket: Some(TCPSocketAction {
            port: IntOrString::String(first.name.clone()),
            ..TCPSocketAction::default()
        }),
        period_seconds: Some(1),
        // An hour to come up: a failed startup probe kills the container, and that must be no surprise.
        failure_threshold: Some(3600),
        ..Probe::default()
    })
}

/// The volume of each pod. Without our labels of parts: claims outlive the workload, so that its data is never pruned.
fn claim(workload: &str, size: &str) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(DATA.to_owned()),
            labels: Some(app(workload)),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(texts(["ReadWriteOnce"])),
            storage_class_name: Some(STORAGE_CLASS.to_owned()),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), Quantity(size.to_owned()))])),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

/// Key in the config map, path in the container, content. A key holds letters, digits, `-`, `_` and `.` only; the number keeps
/// files of the same name apart.
fn files(image: &ImageSource) -> impl Iterator<Item = (String, &str, &str)> {
    image.files.iter().enumerate().map(|(index, (path, content))| {
        let file = path.rsplit('/').next().unwrap_or_default();
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') {
                c
            } else {
                '_'
            }
        };
        let file: String = file.chars().map(plain).take(200).collect();
        (format!("{index}-{file}"), path.as_str(), content.as_str())
    })
}

fn hash(image: &ImageSource) -> String {
    let mut hash = Sha256::new();
    for (_, path, content) in files(image) {
        for text in [path, content] {
            hash.update(text);
            hash.update([0]);
        }
    }
    hex(hash.finalize().get(..16).unwrap_or_default())
}

fn files_name(workload: &str) -> String {
    format!("{workload}-files")
}

fn files_volume(workload: &str) -> Volume {
    Volume {
        name: FILES.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: files_name(workload),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn mount(volume: &str, path: &str) -> VolumeMount {
    crate::components::pod::mount(volume, path)
}

/// Nothing, where there is nothing.
fn list<T: Clone>(items: &[T]) -> Option<Vec<T>> {
    (!items.is_empty()).then(|| items.to_vec())
}
