//! kubeadm's configuration of one node (kubeadm v1beta4), and the token that joins nodes.

use std::collections::BTreeMap;

use askama::Template;
use loko_config::Environment;
use loko_config::model::KubeProxyMode;
use loko_engine::EngineFacts;

use crate::nodes::{API_PORT, Node, Role};

mod patch;

pub use patch::PatchError;

/// A node taint, as Kubernetes spells it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value; may be empty.
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// What the configuration needs besides the environment.
#[derive(Debug, Clone)]
pub struct KubeadmInput<'a> {
    /// The engine that the node runs on.
    pub engine: &'a EngineFacts,
    /// Name of what nodes reach the API at, see [`crate::balancer::endpoint`].
    pub endpoint: &'a str,
    /// The join token, see [`token`].
    pub token: &'a str,
    /// Labels of the Kubernetes node. Keys below `kubernetes.io` are refused by the kubelet.
    pub labels: &'a BTreeMap<String, String>,
    /// Taints of the Kubernetes node.
    pub taints: &'a [Taint],
    /// A taint that it has until services answer on it.
    pub starting: Option<Taint>,
}

#[derive(Template)]
#[template(path = "kubeadm.conf", escape = "none")]
struct KubeadmConf<'a> {
    node: &'a str,
    kubernetes_version: &'a str,
    cluster: String,
    endpoint: String,
    sans: Vec<&'a str>,
    pod_subnet: String,
    service_subnet: String,
    token: &'a str,
    address: String,
    api_port: u16,
    control_plane: bool,
    alone: bool,
    cgroup_v1: bool,
    rootless: bool,
    proxy_mode: &'a str,
    labels: String,
    taints: &'a [Taint],
    starting: Option<String>,
}

/// Why `kubeadm.conf` cannot be rendered.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum KubeadmError {
    /// The template.
    #[error("failed to render kubeadm.conf")]
    #[diagnostic(code(loko::cluster::render))]
    Template(#[from] askama::Error),
    /// A patch of the user's.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Patch(#[from] PatchError),
}

/// Renders `/kind/kubeadm.conf` of one node, the user's patches applied.
pub fn render(environment: &Environment, node: &Node, input: &KubeadmInput<'_>) -> Result<String, KubeadmError> {
    let labels: Vec<String> = input
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let text = KubeadmConf {
        node: &node.name,
        kubernetes_version: environment.cluster.kubernetes.tag.as_str(),
        cluster: environment.cluster_name(),
        endpoint: format!("{}:{API_PORT}", input.endpoint),
        sans: match input.endpoint {
            endpoint if endpoint == node.name => vec![endpoint],
            // Also by its own name, for whoever asks one of them alone.
            endpoint => vec![endpoint, &node.name],
        },
        pod_subnet: environment.cluster.pod_subnet.to_string(),
        service_subnet: environment.cluster.service_subnet.to_string(),
        token: input.token,
        address: node.address.to_string(),
        api_port: API_PORT,
        control_plane: node.role == Role::ControlPlane,
        alone: environment.cluster.nodes.control_planes == 1,
        cgroup_v1: input.engine.cgroup_version == 1,
        rootless: input.engine.rootless,
        proxy_mode: match environment.cluster.kube_proxy_mode {
            KubeProxyMode::Ipvs => "ipvs",
            KubeProxyMode::Nftables => "nftables",
            // Without kube-proxy nothing reads it.
            KubeProxyMode::Iptables | KubeProxyMode::None => "iptables",
        },
        labels: labels.join(","),
        taints: input.taints,
        // As the kubelet's flag takes it: `key=value:effect`.
        starting: input
            .starting
            .as_ref()
            .map(|taint| format!("{}={}:{}", taint.key, taint.value, taint.effect)),
    }
    .render()?;
    Ok(patch::apply(text, &environment.cluster.kubeadm_patches)?)
}

/// A bootstrap token (`[a-z0-9]{6}.[a-z0-9]{16}`, Kubernetes' `pkg/util` of bootstrap tokens) from 22 random bytes.
#[must_use]
pub fn token(random: [u8; 22]) -> String {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let letter = |byte: u8| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]);
    let (id, secret) = random.split_at(6);
    id.iter()
        .map(|b| letter(*b))
        .chain(['.'])
        .chain(secret.iter().map(|b| letter(*b)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(yaml: &str, starting: bool) -> String {
        rendered_of(yaml, starting, "loko-dev-control-plane", Role::ControlPlane)
    }

    fn rendered_of(yaml: &str, starting: bool, name: &str, role: Role) -> String {
        let environment = loko_config::load(yaml, &loko_config::LoadOptions::default())
            .unwrap()
            .environment;
        let node = Node {
            name: name.to_owned(),
            role,
            index: 1,
            address: [172, 28, 0, 128].into(),
        };
        let engine = EngineFacts {
            cgroup_version: 1,
            ..EngineFacts::default()
        };
        let labels = BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]);
        let input = KubeadmInput {
            engine: &engine,
            endpoint: &crate::balancer::endpoint(&environment),
            token: "abcdef.0123456789abcdef",
            labels: &labels,
            taints: &[],
            starting: starting.then(crate::scheduling::starting_taint),
        };
        render(&environment, &node, &input).unwrap()
    }

    #[test]
    fn the_first_control_plane() {
        insta::assert_snapshot!("kubeadm.conf", rendered("name: dev\n", true));
    }

    #[test]
    fn a_worker() {
        let yaml = "name: dev\ncluster: {nodes: {workers: 1}, kube-proxy-mode: nftables}\n";
        insta::assert_snapshot!(
            "kubeadm.conf-of-a-worker",
            rendered_of(yaml, false, "loko-dev-worker", Role::Worker)
        );
    }

    #[test]
    fn the_second_of_three_control_planes() {
        let yaml = "name: dev\ncluster: {nodes: {control-planes: 3}, pod-subnet: 10.200.0.0/16, service-subnet: 10.201.0.0/20}\n";
        let text = rendered_of(yaml, false, "loko-dev-control-plane2", Role::ControlPlane);
        insta::assert_snapshot!("kubeadm.conf-of-a-second-control-plane", text);
    }

    #[test]
    fn with_patches() {
        let yaml = "name: dev
cluster:
  kubeadm-patches:
    - |
      kind: ClusterConfiguration
      apiServer: {extraArgs: [{name: v, value: '4'}], certSANs: [api.dev.me]}
      controllerManager: {extraArgs: {leader-elect-lease-duration: 30s}}
    - |
      kind: KubeletConfiguration
      maxPods: 20
";
        insta::assert_snapshot!("kubeadm.conf-with-patches", rendered(yaml, true));
    }

    #[test]
    fn three_control_planes_elect_and_every_document_is_yaml() {
        let text = rendered("name: dev\ncluster: {nodes: {control-planes: 3}}\n", false);
        assert!(
            !text.contains("leader-elect") && !text.contains("register-with-taints"),
            "{text}"
        );
        for text in [text, rendered("name: dev\n", true)] {
            assert_eq!(
                crate::Manifest::parse_all(&text).map(|documents| documents.len()),
                Ok(5),
                "{text}"
            );
        }
    }

    /// What is written has been read since 1.31 and needs nothing newer, so no version gets a configuration of its own. Older ones are
    /// refused when loko.yaml is loaded.
    #[test]
    fn every_version_gets_the_same_configuration() {
        let of = |minor: u8| {
            let tag = format!("v1.{minor}.0");
            let yaml = format!("name: dev\ncluster: {{kubernetes: {{tag: {tag}}}, kube-proxy-mode: nftables}}\n");
            let text = rendered(&yaml, true);
            assert!(text.contains(&format!("kubernetesVersion: \"{tag}\"")), "{text}");
            text.replace(&tag, "")
        };
        let oldest = of(31);
        for minor in 32..=37 {
            assert_eq!(of(minor), oldest, "1.{minor}");
        }
        let kinds: Vec<&str> = oldest
            .lines()
            .filter_map(|line| line.strip_prefix("apiVersion: "))
            .collect();
        assert_eq!(kinds[..3], ["kubeadm.k8s.io/v1beta4"; 3]);
        assert_eq!(
            kinds[3..],
            ["kubelet.config.k8s.io/v1beta1", "kubeproxy.config.k8s.io/v1alpha1"]
        );
        let old = loko_config::load(
            "name: dev\ncluster: {kubernetes: {tag: v1.30.9}}\n",
            &loko_config::LoadOptions::default(),
        );
        let problems = old.unwrap_err();
        assert_eq!(
            problems.list()[0].code(),
            "loko::config::old_kubernetes",
            "{problems:?}"
        );
    }

    #[test]
    fn a_token_has_the_form_that_kubernetes_checks() {
        let token = token([255; 22]);
        assert_eq!(token.len(), 23);
        assert_eq!(token.find('.'), Some(6));
        assert!(
            token
                .chars()
                .all(|c| c == '.' || c.is_ascii_lowercase() || c.is_ascii_digit())
        );
    }
}
