//! The Deployment: one pod, one container for each instance that serves.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy};
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource,
    HTTPGetAction, HostPathVolumeSource, PodSpec, PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile,
    SecretKeySelector, SecretVolumeSource, SecurityContext, Toleration, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use loko_config::model::RegistryEngine;

use super::{NAME, Place, credentials, labels, meta, port_name};
use crate::distribution::{self, TLS_DIRECTORY};
use crate::spec::{DATA, PORT, RegistrySpec};
use crate::zot;

/// The Secret with certificate, key and authority.
pub(super) const TLS_SECRET: &str = "registry-tls";
/// The Secret with names and passwords for upstreams.
pub(super) const CREDENTIALS_SECRET: &str = "registry-credentials";

/// The directory of the configuration in the container.
const CONFIG_DIRECTORY: &str = "/etc/loko/registry";
const CREDENTIALS_DIRECTORY: &str = "/etc/loko/credentials";

/// A program that serves, in a pod of its own: distribution does not start while the upstream that it mirrors is out of reach,
/// and that must not keep others from serving.
pub(super) struct Program {
    /// The Deployment's name.
    pub(super) deployment: String,
    /// The name of its configuration file.
    pub(super) file: String,
    /// Where it serves.
    pub(super) port: u16,
    env: Vec<EnvVar>,
}

pub(super) fn programs(spec: &RegistrySpec) -> Vec<Program> {
    match spec.engine {
        RegistryEngine::Zot => vec![Program {
            deployment: NAME.to_owned(),
            file: zot::CONFIG_FILE.to_owned(),
            port: PORT,
            env: Vec::new(),
        }],
        RegistryEngine::Distribution => distribution::instances(spec)
            .into_iter()
            .map(|instance| {
                let known = instance.source.as_ref().and_then(|source| credentials(spec, source));
                Program {
                    deployment: match instance.source {
                        None => NAME.to_owned(),
                        Some(_) => format!("{NAME}-{}", instance.name),
                    },
                    file: format!("{}.yml", instance.name),
                    port: instance.port,
                    env: std::iter::once(no_traces())
                        .chain(known.into_iter().flat_map(|_| {
                            [
                                from_secret("REGISTRY_PROXY_USERNAME", &format!("{}.username", instance.name)),
                                from_secret("REGISTRY_PROXY_PASSWORD", &format!("{}.password", instance.name)),
                            ]
                        }))
                        .collect(),
                }
            })
            .collect(),
    }
}

pub(super) fn deployment(spec: &RegistrySpec, place: &Place, program: &Program, hash: &str) -> Deployment {
    let mut labels = labels();
    labels.insert("app.kubernetes.io/component".to_owned(), program.deployment.clone());
    Deployment {
        metadata: meta(place, &program.deployment),
        spec: DeploymentSpec {
            replicas: Some(1),
            // Two at once would write to the same files.
            strategy: Some(DeploymentStrategy {
                type_: Some("Recreate".to_owned()),
                rolling_update: None,
            }),
            selector: LabelSelector {
                match_labels: Some(labels.clone()),
                match_expressions: None,
            },
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    annotations: Some(BTreeMap::from([("dev.loko.config".to_owned(), hash.to_owned())])),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(spec, place, program)),
            },
            ..DeploymentSpec::default()
        },
        status: None,
    }
}

fn pod(spec: &RegistrySpec, place: &Place, program: &Program) -> PodSpec {
    PodSpec {
        containers: vec![container(spec, program)],
        volumes: Some(volumes(spec, place)),
        node_selector: (!place.node_selector.is_empty()).then(|| place.node_selector.clone()),
        // The data is on one node: whatever keeps others off it, this pod has nowhere else to go.
        tolerations: Some(vec![Toleration {
            operator: Some("Exists".to_owned()),
            effect: Some("NoSchedule".to_owned()),
            ..Toleration::default()
        }]),
        automount_service_account_token: Some(false),
        // A Service named `registry` would set REGISTRY_PORT, which distribution takes for its own setting.
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(10),
        ..PodSpec::default()
    }
}

fn container(spec: &RegistrySpec, program: &Program) -> Container {
    let port = program.port;
    let mut mounts = vec![
        mount("data", DATA, false),
        mount("config", CONFIG_DIRECTORY, true),
        mount("tls", TLS_DIRECTORY, true),
        mount("tmp", "/tmp", false),
    ];
    if spec.engine == RegistryEngine::Zot && !spec.credentials.is_empty() {
        mounts.push(mount("credentials", CREDENTIALS_DIRECTORY, true));
    }
    Container {
        name: NAME.to_owned(),
        image: Some(spec.reference()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(vec!["serve".to_owned(), format!("{CONFIG_DIRECTORY}/{}", program.file)]),
        env: (!program.env.is_empty()).then(|| program.env.clone()),
        ports: Some(vec![ContainerPort {
            name: Some(port_name(port)),
            container_port: i32::from(port),
            ..ContainerPort::default()
        }]),
        // Zot looks through all of its storage before it answers: ten minutes for a full disk.
        startup_probe: Some(probe(port, 1, 600)),
        readiness_probe: Some(probe(port, 5, 3)),
        liveness_probe: Some(probe(port, 20, 6)),
        resources: Some(ResourceRequirements {
            requests: Some(BTreeMap::from([
                ("cpu".to_owned(), Quantity("20m".to_owned())),
                ("memory".to_owned(), Quantity("64Mi".to_owned())),
            ])),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext {
            // The data's directory belongs to root, whatever user the image names.
            run_as_user: Some(0),
            run_as_group: Some(0),
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities {
                add: None,
                drop: Some(vec!["ALL".to_owned()]),
            }),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                localhost_profile: None,
            }),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

fn probe(port: u16, period_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some("/v2/".to_owned()),
            port: IntOrString::Int(i32::from(port)),
            // The kubelet does not verify the certificate.
            scheme: Some("HTTPS".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        failure_threshold: Some(failure_threshold),
        timeout_seconds: Some(5),
        ..Probe::default()
    }
}

fn volumes(spec: &RegistrySpec, place: &Place) -> Vec<Volume> {
    // Each engine has a directory of its own: they do not read each other's files.
    let engine = match spec.engine {
        RegistryEngine::Zot => "zot",
        RegistryEngine::Distribution => "distribution",
    };
    let data = Volume {
        name: "data".to_owned(),
        host_path: Some(HostPathVolumeSource {
            path: format!("{}/{engine}", place.data_path.trim_end_matches('/')),
            type_: Some("DirectoryOrCreate".to_owned()),
        }),
        ..Volume::default()
    };
    let config = Volume {
        name: "config".to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: NAME.to_owned(),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    };
    let tmp = Volume {
        name: "tmp".to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    };
    let mut volumes = vec![data, config, secret("tls", TLS_SECRET), tmp];
    if spec.engine == RegistryEngine::Zot && !spec.credentials.is_empty() {
        volumes.push(secret("credentials", CREDENTIALS_SECRET));
    }
    volumes
}

fn secret(name: &str, secret: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

/// distribution sends traces to a collector on its own host, and logs every five seconds that there is none.
fn no_traces() -> EnvVar {
    EnvVar {
        name: "OTEL_TRACES_EXPORTER".to_owned(),
        value: Some("none".to_owned()),
        value_from: None,
    }
}

fn from_secret(variable: &str, key: &str) -> EnvVar {
    EnvVar {
        name: variable.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: CREDENTIALS_SECRET.to_owned(),
                key: key.to_owned(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
    }
}
