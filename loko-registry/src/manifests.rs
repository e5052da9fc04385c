//! The registry's Kubernetes objects, each as a JSON value with `apiVersion` and `kind`.

mod pod;

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServicePort, ServiceSpec};
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec,
    ServiceBackendPort,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use loko_config::model::RegistryEngine;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::distribution;
use crate::source::Source;
use crate::spec::{Credentials, PORT, RegistrySpec};
use crate::zot;

/// The name of the Deployment, the Service and what belongs to them.
pub const NAME: &str = "registry";
/// The `ConfigMap` of KEP-1755.
pub const HOSTING: &str = "local-registry-hosting";

/// Where the registry stands in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// `loko-system`.
    pub namespace: String,
    /// The Service's address, by which nodes reach it; one of the service subnet that nothing else has.
    pub cluster_address: IpAddr,
    /// A directory of the node that outlives it, in which the data lies.
    pub data_path: String,
    /// The node that has that directory, by its labels.
    pub node_selector: BTreeMap<String, String>,
    /// The ingress class of Traefik; `None`: the default class.
    pub ingress_class: Option<String>,
}

/// The certificate by which the registry is known. `Debug` shows no key.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// PEM, leaf first. Its names are [`certificate_names`].
    pub certificate: String,
    /// PEM.
    pub key: String,
    /// PEM of the authority that signed it.
    pub authority: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// What the registry's certificate must hold as subject alternative names: host names, and the cluster address as text.
#[must_use]
pub fn certificate_names(spec: &RegistrySpec, place: &Place) -> Vec<String> {
    let service = service_host(place);
    vec![
        spec.host.clone(),
        service.clone(),
        format!("{service}.cluster.local"),
        place.cluster_address.to_string(),
    ]
}

/// All objects, in an order in which they can be applied.
#[must_use]
pub fn manifests(spec: &RegistrySpec, place: &Place, identity: &Identity) -> Vec<Value> {
    let files = files(spec);
    let secrets: Vec<_> = secrets(spec, place, identity).iter().map(object).collect();
    let mut objects = vec![object(&config_map(place, &files))];
    objects.extend(secrets.iter().cloned());
    objects.extend(pod::programs(spec).iter().map(|program| {
        // A pod does not see that its files changed: their hash in its template makes a new one.
        let hash = hash(files.get(&program.file), &secrets);
        object(&pod::deployment(spec, place, program, &hash))
    }));
    objects.push(object(&service(spec, place)));
    objects.push(servers_transport(spec, place));
    objects.push(object(&ingress(spec, place)));
    objects.push(object(&hosting(spec, place)));
    objects
}

/// The names of the Deployments: the registry's own first, then those of mirrors that are programs of their own. One of those
/// is not ready while its upstream is out of reach, and nodes then ask the upstream themselves: only the first is worth waiting for.
#[must_use]
pub fn deployments(spec: &RegistrySpec) -> Vec<String> {
    pod::programs(spec)
        .into_iter()
        .map(|program| program.deployment)
        .collect()
}

fn hash(file: Option<&String>, secrets: &[Value]) -> String {
    let mut hash = Sha256::new();
    hash.update(file.map_or("", String::as_str));
    for secret in secrets {
        hash.update(secret.to_string());
    }
    let digest = hash.finalize();
    let start = digest.iter().take(8);
    format!("{:016x}", start.fold(0_u64, |sum, &byte| sum << 8 | u64::from(byte)))
}

fn object<T: Serialize>(resource: &T) -> Value {
    // Fails only on maps whose keys are no strings, of which Kubernetes' types have none.
    serde_json::to_value(resource).unwrap_or_default()
}

fn meta(place: &Place, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(place.namespace.clone()),
        labels: Some(labels()),
        ..ObjectMeta::default()
    }
}

fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("app.kubernetes.io/name".to_owned(), NAME.to_owned())])
}

/// A port's name has at most 15 bytes, a source's may have more.
fn port_name(port: u16) -> String {
    format!("https-{port}")
}

fn service_host(place: &Place) -> String {
    format!("{NAME}.{}.svc", place.namespace)
}

/// The configuration files by name.
fn files(spec: &RegistrySpec) -> BTreeMap<String, String> {
    match spec.engine {
        RegistryEngine::Zot => BTreeMap::from([(zot::CONFIG_FILE.to_owned(), zot::Config::of(spec).render())]),
        RegistryEngine::Distribution => distribution::instances(spec)
            .into_iter()
            .map(|instance| (format!("{}.yml", instance.name), instance.config.render()))
            .collect(),
    }
}

fn config_map(place: &Place, files: &BTreeMap<String, String>) -> ConfigMap {
    ConfigMap {
        metadata: meta(place, NAME),
        data: Some(files.clone()),
        ..ConfigMap::default()
    }
}

fn secrets(spec: &RegistrySpec, place: &Place, identity: &Identity) -> Vec<Secret> {
    let tls = Secret {
        metadata: meta(place, pod::TLS_SECRET),
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(BTreeMap::from([
            ("tls.crt".to_owned(), bytes(&identity.certificate)),
            ("tls.key".to_owned(), bytes(&identity.key)),
            ("ca.crt".to_owned(), bytes(&identity.authority)),
        ])),
        ..Secret::default()
    };
    let credentials = (!spec.credentials.is_empty()).then(|| {
        let data = match spec.engine {
            RegistryEngine::Zot => BTreeMap::from([(
                "credentials.json".to_owned(),
                bytes(&zot::credentials_file(&spec.credentials)),
            )]),
            RegistryEngine::Distribution => distribution::instances(spec)
                .iter()
                .filter_map(|instance| Some((instance, credentials(spec, instance.source.as_ref()?)?)))
                .flat_map(|(instance, credentials)| {
                    [
                        (format!("{}.username", instance.name), bytes(&credentials.username)),
                        (format!("{}.password", instance.name), bytes(&credentials.password)),
                    ]
                })
                .collect(),
        };
        Secret {
            metadata: meta(place, pod::CREDENTIALS_SECRET),
            data: Some(data),
            ..Secret::default()
        }
    });
    std::iter::once(tls).chain(credentials).collect()
}

/// The name and password for a source, by the host of its URL.
fn credentials<'a>(spec: &'a RegistrySpec, source: &Source) -> Option<&'a Credentials> {
    spec.credentials.get(source.upstream())
}

fn bytes(text: &str) -> ByteString {
    ByteString(text.as_bytes().to_vec())
}

fn service(spec: &RegistrySpec, place: &Place) -> Service {
    // All programs stand behind one address. A target port by its name leaves out the pods that have no port of that name, so
    // that each port leads to the program that serves it, whether or not the others run.
    let ports = pod::programs(spec).into_iter().map(|program| ServicePort {
        name: Some(port_name(program.port)),
        port: i32::from(program.port),
        target_port: Some(IntOrString::String(port_name(program.port))),
        ..ServicePort::default()
    });
    let mut metadata = meta(place, NAME);
    // Traefik reads from the Service how to speak to it (doc.traefik.io, "Kubernetes Ingress", "On Service").
    metadata.annotations = Some(BTreeMap::from([
        (
            "traefik.ingress.kubernetes.io/service.serversscheme".to_owned(),
            "https".to_owned(),
        ),
        (
            "traefik.ingress.kubernetes.io/service.serverstransport".to_owned(),
            format!("{}-{NAME}@kubernetescrd", place.namespace),
        ),
    ]));
    Service {
        metadata,
        spec: Some(ServiceSpec {
            cluster_ip: Some(place.cluster_address.to_string()),
            selector: Some(labels()),
            ports: Some(ports.collect()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// How Traefik verifies the registry: our authority, and a name that its certificate holds.
fn servers_transport(spec: &RegistrySpec, place: &Place) -> Value {
    json!({
        "apiVersion": "traefik.io/v1alpha1",
        "kind": "ServersTransport",
        "metadata": object(&meta(place, NAME)),
        "spec": {
            "serverName": spec.host,
            "rootCAs": [{"secret": pod::TLS_SECRET}],
            // The answer to a first pull comes when the image has been fetched from upstream, which may be minutes.
            "forwardingTimeouts": {"dialTimeout": "5s", "responseHeaderTimeout": "0s"},
        },
    })
}

fn ingress(spec: &RegistrySpec, place: &Place) -> Ingress {
    let mut metadata = meta(place, NAME);
    metadata.annotations = Some(BTreeMap::from([
        (
            "traefik.ingress.kubernetes.io/router.entrypoints".to_owned(),
            "websecure".to_owned(),
        ),
        ("traefik.ingress.kubernetes.io/router.tls".to_owned(), "true".to_owned()),
    ]));
    let backend = IngressBackend {
        service: Some(IngressServiceBackend {
            name: NAME.to_owned(),
            port: Some(ServiceBackendPort {
                name: Some(port_name(PORT)),
                number: None,
            }),
        }),
        resource: None,
    };
    let path = HTTPIngressPath {
        path: Some("/".to_owned()),
        path_type: "Prefix".to_owned(),
        backend,
    };
    Ingress {
        metadata,
        spec: Some(IngressSpec {
            ingress_class_name: place.ingress_class.clone(),
            rules: Some(vec![IngressRule {
                host: Some(spec.host.clone()),
                http: Some(HTTPIngressRuleValue { paths: vec![path] }),
            }]),
            ..IngressSpec::default()
        }),
        status: None,
    }
}

/// What tools read to find the registry (KEP-1755). Pods reach it by its Service: the host's port may not be Traefik's.
fn hosting(spec: &RegistrySpec, place: &Place) -> ConfigMap {
    let text = format!(
        "host: \"{host}\"\nhostFromContainerRuntime: \"{host}\"\nhostFromClusterNetwork: \"{service}:{PORT}\"\nhelp: \"https://kind.sigs.k8s.io/docs/user/local-registry/\"\n",
        host = spec.reference_host(),
        service = service_host(place),
    );
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(HOSTING.to_owned()),
            namespace: Some("kube-public".to_owned()),
            labels: Some(labels()),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([("localRegistryHosting.v1".to_owned(), text)])),
        ..ConfigMap::default()
    }
}
