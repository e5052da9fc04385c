//! metrics-server as upstream's manifests (`manifests/base`) install it, with what kind's kubelets need.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec, Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{APIService, APIServiceSpec, ServiceReference};

use super::{NAMESPACE, NOBODY, Objects, app, app_selector, cluster_wide, named, pod, rbac, text_map, texts};
use crate::manifest::{Manifest, NotAnObject};
use crate::scheduling::Placement;

/// The part of these objects.
pub const PART: &str = "metrics-server";
const NAME: &str = "metrics-server";
const SECURE_PORT: u16 = 10_250;

/// Every object of metrics-server. Figures are there about 15 seconds after it is ready: it needs two readings.
pub fn manifests(image: &str, placement: &Placement) -> Result<Vec<Manifest>, NotAnObject> {
    let account = (NAME, NAMESPACE);
    let reader_name = "system:aggregated-metrics-reader";
    let mut reader = rbac::cluster_role(
        reader_name,
        vec![rbac::rule("metrics.k8s.io", "pods nodes", "get list watch")],
    );
    reader.metadata.labels = Some(text_map([
        ("rbac.authorization.k8s.io/aggregate-to-admin", "true"),
        ("rbac.authorization.k8s.io/aggregate-to-edit", "true"),
        ("rbac.authorization.k8s.io/aggregate-to-view", "true"),
    ]));
    let own = "system:metrics-server";
    let own_rules = vec![
        rbac::rule("core", "nodes/metrics", "get"),
        rbac::rule("core", "pods nodes", "get list watch"),
    ];
    let delegator = rbac::cluster_binding("metrics-server:system:auth-delegator", "system:auth-delegator", account);
    // How the API server identifies itself to extensions is written in kube-system.
    let auth_reader = rbac::binding(
        named("metrics-server-auth-reader", "kube-system"),
        "extension-apiserver-authentication-reader",
        account,
    );
    let mut objects = Objects::of(PART);
    objects.add(&rbac::service_account(NAME, NAMESPACE))?;
    objects.add(&reader)?;
    objects.add(&rbac::cluster_role(own, own_rules))?;
    objects.add(&auth_reader)?;
    objects.add(&delegator)?;
    objects.add(&rbac::cluster_binding(own, own, account))?;
    objects.add(&service())?;
    objects.add(&deployment(image, placement))?;
    objects.add(&api_service())?;
    Ok(objects.into_list())
}

fn service() -> Service {
    Service {
        metadata: named(NAME, NAMESPACE),
        spec: Some(ServiceSpec {
            ports: Some(vec![ServicePort {
                name: Some("https".to_owned()),
                port: 443,
                protocol: Some("TCP".to_owned()),
                target_port: Some(IntOrString::String("https".to_owned())),
                app_protocol: Some("https".to_owned()),
                ..ServicePort::default()
            }]),
            selector: Some(app(NAME)),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// Its certificate is one that it makes for itself at each start, hence the skipped verification, which is upstream's too.
fn api_service() -> APIService {
    APIService {
        metadata: cluster_wide("v1beta1.metrics.k8s.io"),
        spec: Some(APIServiceSpec {
            group: Some("metrics.k8s.io".to_owned()),
            version: Some("v1beta1".to_owned()),
            group_priority_minimum: 100,
            version_priority: 100,
            insecure_skip_tls_verify: Some(true),
            service: Some(ServiceReference {
                name: Some(NAME.to_owned()),
                namespace: Some(NAMESPACE.to_owned()),
                ..ServiceReference::default()
            }),
            ..APIServiceSpec::default()
        }),
        ..APIService::default()
    }
}

fn deployment(image: &str, placement: &Placement) -> Deployment {
    Deployment {
        metadata: named(NAME, NAMESPACE),
        spec: DeploymentSpec {
            replicas: Some(1),
            selector: app_selector(NAME),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_unavailable: Some(IntOrString::Int(0)),
                    ..RollingUpdateDeployment::default()
                }),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(app(NAME)),
                    ..ObjectMeta::default()
                }),
                spec: Some(PodSpec {
                    service_account_name: Some(NAME.to_owned()),
                    priority_class_name: Some("system-cluster-critical".to_owned()),
                    node_selector: Some(placement.node_selector.clone()),
                    tolerations: Some(placement.tolerations.clone()),
                    security_context: Some(pod::not_root(NOBODY)),
                    containers: vec![container(image)],
                    volumes: Some(vec![pod::scratch("tmp")]),
                    enable_service_links: Some(false),
                    ..PodSpec::default()
                }),
            },
            ..DeploymentSpec::default()
        },
        ..Deployment::default()
    }
}

fn container(image: &str) -> Container {
    Container {
        name: NAME.to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(texts([
            "--cert-dir=/tmp",
            "--secure-port=10250",
            "--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname",
            "--kubelet-use-node-status-port",
            // kubeadm's kubelets serve with certificates that they signed themselves.
            "--kubelet-insecure-tls",
            "--metric-resolution=15s",
        ])),
        resources: Some(pod::resources("50m", "64Mi", "256Mi")),
        ports: Some(vec![pod::port("https", SECURE_PORT, "TCP")]),
        // Ready once it has figures; upstream waits 20 seconds before it asks and 10 between.
        readiness_probe: Some(pod::http_probe("HTTPS", "/readyz", "https", 2)),
        liveness_probe: Some(pod::http_probe("HTTPS", "/livez", "https", 10)),
        security_context: Some(pod::locked()),
        volume_mounts: Some(vec![pod::mount("tmp", "/tmp")]),
        ..Container::default()
    }
}
