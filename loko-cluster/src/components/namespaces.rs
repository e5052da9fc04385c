//! Namespaces, and what every one of them or the whole cluster shall know of us.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use serde::Serialize;

use super::{Objects, cluster_wide, named, text_map};
use crate::manifest::{Manifest, NotAnObject};

/// The part of these objects.
pub const PART: &str = "namespaces";
/// The config map that offers our authority to pods, under the key [`CA_KEY`].
pub const CA_CONFIG_MAP: &str = "loko-ca";
/// See [`CA_CONFIG_MAP`].
pub const CA_KEY: &str = "ca.crt";

/// The components' namespace and the workloads', each with our authority's certificate (PEM).
pub fn manifests(workloads: &str, ca_pem: &str) -> Result<Vec<Manifest>, NotAnObject> {
    let mut list = vec![namespace(super::NAMESPACE)?];
    if workloads != super::NAMESPACE {
        list.push(namespace(workloads)?);
    }
    list.push(ca_bundle(workloads, ca_pem)?);
    Ok(list)
}

/// One namespace.
pub fn namespace(name: &str) -> Result<Manifest, NotAnObject> {
    one(&Namespace {
        metadata: cluster_wide(name),
        ..Namespace::default()
    })
}

/// The config map [`CA_CONFIG_MAP`] of a namespace, for pods that talk to our names over TLS.
pub fn ca_bundle(namespace: &str, ca_pem: &str) -> Result<Manifest, NotAnObject> {
    one(&ConfigMap {
        metadata: named(CA_CONFIG_MAP, namespace),
        data: Some(text_map([(CA_KEY, ca_pem)])),
        ..ConfigMap::default()
    })
}

/// What KEP-1755 lets a cluster say about its registry; Tilt and Skaffold read it. `host` has a port where HTTPS is not
/// on 443.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RegistryHosting<'a> {
    host: &'a str,
    host_from_container_runtime: &'a str,
    host_from_cluster_network: &'a str,
    help: &'a str,
}

/// The config map `local-registry-hosting` of KEP-1755 for a registry that has the same name everywhere.
pub fn registry_hosting(host: &str) -> Result<Manifest, NotAnObject> {
    let hosting = RegistryHosting {
        host,
        host_from_container_runtime: host,
        host_from_cluster_network: host,
        help: "https://github.com/getloko/loko",
    };
    let text = serde_yaml::to_string(&hosting).map_err(|error| NotAnObject {
        field: "a serialisable form",
        found: error.to_string(),
    })?;
    one(&ConfigMap {
        metadata: named("local-registry-hosting", "kube-public"),
        data: Some(text_map([("localRegistryHosting.v1", text.as_str())])),
        ..ConfigMap::default()
    })
}

fn one<T: Serialize>(object: &T) -> Result<Manifest, NotAnObject> {
    let mut objects = Objects::of(PART);
    objects.add(object)?;
    objects.into_list().pop().ok_or(NotAnObject {
        field: "an object",
        found: String::new(),
    })
}
