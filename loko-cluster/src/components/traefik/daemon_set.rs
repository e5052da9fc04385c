//! Traefik's pods.

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy, RollingUpdateDaemonSet};
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, Container, Lifecycle, LifecycleHandler, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
    SleepAction, Sysctl, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use loko_config::slots::{FIRST_TCP_NODE_PORT, PING_NODE_PORT, WEB_NODE_PORT, WEBSECURE_NODE_PORT};

use super::arguments::{self, arguments};
use super::routes::VERSION_PATH;
use super::{ACME_CA, METRICS, METRICS_PORT, NAME, NAMESPACE, TraefikInput, WEB, WEBSECURE};
use crate::components::{NOBODY, app, app_selector, named, pod};

pub(super) fn daemon_set(input: &TraefikInput<'_>) -> DaemonSet {
    DaemonSet {
        metadata: named(NAME, NAMESPACE),
        spec: DaemonSetSpec {
            selector: app_selector(NAME),
            // The new pod first, then the old one goes: no port of the node is held, so both fit beside each other.
            update_strategy: Some(DaemonSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDaemonSet {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(app(NAME)),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod_spec(input)),
            },
            ..DaemonSetSpec::default()
        },
        ..DaemonSet::default()
    }
}

fn pod_spec(input: &TraefikInput<'_>) -> PodSpec {
    let mut volumes = vec![pod::scratch("tmp")];
    let mut mounts = vec![pod::mount("tmp", "/tmp")];
    if let Some(acme) = input.acme {
        // Lives as long as the pod: another one asks the ACME server again. Each node has its own.
        volumes.push(pod::scratch("acme"));
        mounts.push(pod::mount("acme", arguments::ACME_STORAGE));
        if acme.ca.is_some() {
            volumes.push(Volume {
                name: "acme-ca".to_owned(),
                config_map: Some(ConfigMapVolumeSource {
                    name: ACME_CA.to_owned(),
                    ..ConfigMapVolumeSource::default()
                }),
                ..Volume::default()
            });
            mounts.push(pod::mount("acme-ca", arguments::ACME_CA));
        }
    }
    let container = Container {
        name: NAME.to_owned(),
        image: Some(input.image.to_owned()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(arguments(input)),
        ports: Some(vec![
            pod::port(WEB, WEB_NODE_PORT, "TCP"),
            pod::port(WEBSECURE, WEBSECURE_NODE_PORT, "TCP"),
            pod::port("ping", PING_NODE_PORT, "TCP"),
            pod::port(METRICS, METRICS_PORT, "TCP"),
        ]),
        resources: Some(pod::resources("50m", "64Mi", "512Mi")),
        startup_probe: tells_its_routes(input.arguments).then(startup_probe),
        // The first answer of the whole path waits for this one.
        readiness_probe: Some(pod::http_probe("HTTP", "/ping", "ping", 1)),
        liveness_probe: Some(pod::http_probe("HTTP", "/ping", "ping", 10)),
        // Traefik closes its ports at once when it is told to end, and nodes send it connections for a moment longer.
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                sleep: Some(SleepAction { seconds: 2 }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        security_context: Some(pod::locked()),
        volume_mounts: Some(mounts),
        ..Container::default()
    };
    PodSpec {
        service_account_name: Some(NAME.to_owned()),
        priority_class_name: Some("system-cluster-critical".to_owned()),
        node_selector: Some(input.placement.node_selector.clone()),
        tolerations: Some(input.placement.tolerations.clone()),
        security_context: Some(PodSecurityContext {
            sysctls: Some(sysctls()),
            ..pod::not_root(NOBODY)
        }),
        enable_service_links: Some(false),
        // Traefik itself gives open requests ten seconds.
        termination_grace_period_seconds: Some(15),
        containers: vec![container],
        volumes: Some(volumes),
        ..PodSpec::default()
    }
}

/// Traefik answers pings before it knows any route, and then 404 to whoever asks for one. It is started when it has read the
/// objects of its own kinds, of which the route that this path needs is one. Where the API server is away, it asks again after ever
/// longer waits; ten minutes of that are no reason to start it anew, which would begin with no routes as well.
fn startup_probe() -> Probe {
    Probe {
        failure_threshold: Some(600),
        ..pod::http_probe("HTTP", VERSION_PATH, METRICS, 1)
    }
}

/// Whether what the user adds may keep Traefik from answering about itself.
fn tells_its_routes(arguments: &[String]) -> bool {
    let lower = arguments.iter().map(|argument| argument.to_ascii_lowercase());
    !lower
        .into_iter()
        .any(|argument| argument.starts_with("--api") || argument.starts_with("--providers.kubernetescrd"))
}

/// Ports of the pod's own. A client that closes first leaves the port of Traefik's connection to its workload in use for a minute
/// (TIME-WAIT, RFC 9293, 3.6.1), and a connection for which none is free is reset. Linux' own range, 28,232 ports, is that of the
/// host as well, where HAProxy waits for a port instead: with more of them here, it is there that they run out. Both settings are
/// among those that Kubernetes calls safe.
fn sysctls() -> Vec<Sysctl> {
    let sysctl = |name: &str, value: String| Sysctl {
        name: format!("net.ipv4.{name}"),
        value,
    };
    vec![
        sysctl("ip_local_port_range", "10240 65535".to_owned()),
        // A port that a connection to a workload has cannot be listened on when Traefik starts again in the same pod.
        sysctl(
            "ip_local_reserved_ports",
            format!("{FIRST_TCP_NODE_PORT}-{PING_NODE_PORT}"),
        ),
    ]
}
