//! Proxy variables for nodes, as kind passes them on (kind: `pkg/cluster/internal/providers/docker/provision.go`, `getProxyEnv`):
//! what the user's shell has, in both spellings, with everything inside the cluster spared.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use loko_config::Environment;

use crate::{balancer, nodes};

/// The names, in capitals.
pub const NAMES: [&str; 3] = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];

/// Proxy variables of nodes; empty where `variables` has no proxy. `network` is the subnet of the nodes.
#[must_use]
pub fn of_nodes(
    environment: &Environment,
    variables: &BTreeMap<String, String>,
    network: Ipv4Net,
) -> BTreeMap<String, String> {
    let set = |name: &str| variables.get(name).filter(|value| !value.is_empty()).cloned();
    let mut found: BTreeMap<&str, String> = NAMES
        .into_iter()
        .filter_map(|name| Some((name, set(name).or_else(|| set(&name.to_lowercase()))?)))
        .collect();
    if found.keys().all(|name| *name == "NO_PROXY") {
        return BTreeMap::new();
    }
    let cluster = &environment.cluster;
    let mut spared: Vec<String> = found.remove("NO_PROXY").into_iter().collect();
    spared.extend([network, cluster.service_subnet, cluster.pod_subnet].map(|net| net.to_string()));
    spared.extend(nodes::names(environment).map(|(name, ..)| name));
    spared.extend(balancer::name(environment));
    spared.extend([".svc", ".svc.cluster", ".svc.cluster.local"].map(str::to_owned));
    // The registry, and whatever else pods ask by our names.
    spared.push(format!(".{}", environment.network.domain));
    found.insert("NO_PROXY", spared.join(","));
    found
        .into_iter()
        .flat_map(|(name, value)| [(name.to_owned(), value.clone()), (name.to_lowercase(), value)])
        .collect()
}

/// The same of a node that is there: its proxies stay what they were, whichever shell asks.
#[must_use]
pub fn of_container(environment: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let is_one = |name: &str| NAMES.iter().any(|known| name.eq_ignore_ascii_case(known));
    environment
        .iter()
        .filter(|(name, _)| is_one(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
        let yaml = "name: dev\nnetwork: {domain: dev.loko.test}\ncluster: {nodes: {control-planes: 3}}\n";
        let environment = loko_config::load(yaml, &loko_config::LoadOptions::default())
            .unwrap()
            .environment;
        let variables = variables
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect();
        of_nodes(&environment, &variables, "172.28.0.0/24".parse().unwrap())
    }

    #[test]
    fn both_spellings_reach_the_nodes_and_the_cluster_is_spared() {
        let found = of(&[
            ("http_proxy", "http://proxy.corp:3128"),
            ("NO_PROXY", "localhost,.corp"),
            ("PATH", "/bin"),
        ]);
        let lines: Vec<String> = found.iter().map(|(name, value)| format!("{name}={value}")).collect();
        insta::assert_snapshot!("proxy", lines.join("\n"));
        assert_eq!(of_container(&found), found);
    }

    #[test]
    fn without_a_proxy_there_is_nothing_to_spare() {
        assert_eq!(of(&[("NO_PROXY", "localhost"), ("HTTP_PROXY", "")]), BTreeMap::new());
        let others = BTreeMap::from([("KUBECONFIG".to_owned(), "x".to_owned())]);
        assert_eq!(of_container(&others), BTreeMap::new());
    }
}
