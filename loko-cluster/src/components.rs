//! What runs in every cluster besides Kubernetes itself, as typed objects.
//!
//! ```text
//! TraefikInput ───────→ traefik::manifests ────────┐
//! image, placement ───→ metrics_server::manifests ─┼─→ Vec<Manifest>, in an order in which they can be applied
//! image, Corefile ────→ coredns::manifests ────────┤
//! names, CA ──────────→ namespaces::… ─────────────┘
//! ```
//!
//! No chart and no template: a field that Kubernetes does not know does not compile. Every object carries the label of its
//! part ([`crate::manifest::PART`]), by which what is no longer wanted is found.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::Serialize;

use crate::manifest::{Manifest, NotAnObject};

pub mod coredns;
pub mod metrics_server;
pub mod namespaces;
pub(crate) mod pod;
pub(crate) mod rbac;
pub mod traefik;

/// Where components run, but for CoreDNS, which is where kubeadm puts it.
pub const NAMESPACE: &str = "loko-system";
/// The user and group of our components: not root, not a user of the node (Debian and Alpine number theirs lower).
pub(crate) const NOBODY: i64 = 65_532;

/// Objects of one part, collected in the order in which they are applied.
pub(crate) struct Objects {
    part: String,
    list: Vec<Manifest>,
}

impl Objects {
    pub(crate) fn of(part: &str) -> Self {
        Self {
            part: part.to_owned(),
            list: Vec::new(),
        }
    }

    pub(crate) fn add<T: Serialize>(&mut self, object: &T) -> Result<(), NotAnObject> {
        self.list.push(Manifest::of(object)?.of_part(&self.part));
        Ok(())
    }

    pub(crate) fn into_list(self) -> Vec<Manifest> {
        self.list
    }
}

/// Metadata of an object of the whole cluster.
pub(crate) fn cluster_wide(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    }
}

/// Metadata of an object in a namespace, named as its application.
pub(crate) fn named(name: &str, namespace: &str) -> ObjectMeta {
    ObjectMeta {
        namespace: Some(namespace.to_owned()),
        labels: Some(app(name)),
        ..cluster_wide(name)
    }
}

/// The label that pods, and what selects them, have in common.
pub(crate) fn app(name: &str) -> BTreeMap<String, String> {
    text_map([("app.kubernetes.io/name", name)])
}

pub(crate) fn app_selector(name: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Some(app(name)),
        ..LabelSelector::default()
    }
}

pub(crate) fn text_map<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

pub(crate) fn texts<const N: usize>(list: [&str; N]) -> Vec<String> {
    list.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduling;

    #[test]
    fn metrics_server() {
        let image = "registry.k8s.io/metrics-server/metrics-server:v0.9.0";
        insta::assert_yaml_snapshot!(metrics_server::manifests(image, &scheduling::components()).unwrap());
    }

    #[test]
    fn coredns() {
        let image = "registry.k8s.io/coredns/coredns:v1.14.2";
        let address = "10.96.0.10".parse().unwrap();
        insta::assert_yaml_snapshot!(coredns::manifests(image, ".:53 {\n    ready\n}\n", address, 1).unwrap());
    }

    #[test]
    fn namespaces_and_what_they_are_told() {
        let mut list = namespaces::manifests("loko-workloads", "the authority\n").unwrap();
        list.push(namespaces::registry_hosting("cr.dev.me:8443").unwrap());
        insta::assert_yaml_snapshot!(list);
    }
}
