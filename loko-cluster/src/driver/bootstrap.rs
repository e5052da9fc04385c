//! From nothing to an API that answers: the network, the nodes, kubeadm.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use ipnet::Ipv4Net;
use loko_config::Environment;
use loko_engine::container::{ContainerChange, compare};
use loko_engine::driver::{ExecSpec, File};
use loko_engine::subnet::{self, Division};
use loko_engine::{ContainerFacts, ContainerSpec, Engine, EngineError, NetworkSpec, labels};
use loko_registry::driver::Bundle;

use super::KubeApi;
use crate::error::ClusterError;
use crate::kubeadm::{self, KubeadmInput};
use crate::nodes::{self, API_PORT, INITIALISED, KUBEADM_CONFIG, NETWORK, Node, NodeInput, Role};
use crate::scheduling::{self, NodeMarks};
use crate::{Manifest, balancer, cni, kubeconfig, storage};

/// Limit for kubeadm on one node.
const KUBEADM_LIMIT: Duration = Duration::from_mins(6);
/// Limit until the API answers.
const API_LIMIT: Duration = Duration::from_mins(4);

/// The nodes of one environment on one engine; cheap to clone.
#[derive(Debug, Clone)]
pub struct Cluster {
    engine: Engine,
    environment: Environment,
    pub(super) bundle: Option<Arc<Bundle>>,
}

/// A node as it was found.
#[derive(Debug, Clone)]
pub struct NodeState {
    /// What is wanted.
    pub node: Node,
    /// The container that is wanted.
    pub spec: ContainerSpec,
    /// The container that is there.
    pub facts: Option<ContainerFacts>,
    /// Whether kubeadm once ended well on it.
    pub initialised: bool,
    /// What must be done.
    pub change: ContainerChange,
}

impl Cluster {
    /// The cluster of an environment.
    #[must_use]
    pub fn new(engine: Engine, environment: Environment) -> Self {
        Self {
            engine,
            environment,
            bundle: None,
        }
    }

    /// The same with a bundle that nodes get its images from.
    #[must_use]
    pub fn with_bundle(mut self, bundle: Arc<Bundle>) -> Self {
        self.bundle = Some(bundle);
        self
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The environment.
    #[must_use]
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// All containers of ours, of every environment.
    pub async fn containers(&self) -> Result<Vec<ContainerFacts>, ClusterError> {
        let ours = BTreeMap::from([(labels::ROLE.to_owned(), String::new())]);
        Ok(self.engine.containers(&ours).await?)
    }

    /// The network of all environments, where it is there.
    pub async fn network(&self) -> Result<Option<Division>, ClusterError> {
        let Some(facts) = self.engine.network(NETWORK).await? else {
            return Ok(None);
        };
        if !labels::is_ours(&facts.labels, None) {
            return Err(EngineError::Foreign {
                kind: "network",
                name: NETWORK.to_owned(),
            }
            .into());
        }
        let division = facts.subnets.first().copied().and_then(subnet::divide);
        Ok(Some(division.ok_or_else(no_subnet)?))
    }

    /// Finds or makes the network of all environments. `taken` are subnets that it must not meet: routes of the host and
    /// the cluster's own. Returns whether it was made.
    pub async fn ensure_network(&self, taken: &[Ipv4Net]) -> Result<(Division, bool), ClusterError> {
        for _ in 0..3 {
            if let Some(division) = self.network().await? {
                return Ok((division, false));
            }
            let networks = self.engine.networks().await?;
            let mut all: Vec<Ipv4Net> = networks.iter().flat_map(|network| network.subnets.clone()).collect();
            all.extend_from_slice(taken);
            all.extend([
                self.environment.cluster.pod_subnet,
                self.environment.cluster.service_subnet,
            ]);
            let division = subnet::choose(&all).and_then(subnet::divide).ok_or_else(no_subnet)?;
            // As kind does: the default bridge has the MTU that fits this machine.
            let bridge = networks.iter().find(|network| network.name == "bridge");
            let mtu = bridge.and_then(|b| b.options.get("com.docker.network.driver.mtu")?.parse().ok());
            let spec = NetworkSpec {
                name: NETWORK.to_owned(),
                subnet: division.subnet,
                ip_range: division.dynamic,
                mtu,
                labels: labels::of(None, "network"),
            };
            match self.engine.create_network(&spec).await {
                Ok(()) => return Ok((division, true)),
                // Another loko made it, or took the subnet, between the look and the act.
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(no_subnet().into())
    }

    /// Compares the nodes that are wanted with those that are there.
    pub async fn observe(
        &self,
        division: &Division,
        containers: &[ContainerFacts],
        input: &NodeInput<'_>,
    ) -> Result<Vec<NodeState>, ClusterError> {
        let placed = nodes::place(&self.environment, division, containers)?;
        try_join_all(placed.into_iter().map(|node| async move {
            let facts = containers.iter().find(|container| container.name == node.name).cloned();
            let spec = nodes::container(&self.environment, &node, input);
            let change = compare(&spec, facts.as_ref());
            if change == ContainerChange::Foreign {
                return Err(EngineError::Foreign {
                    kind: "container",
                    name: node.name,
                }
                .into());
            }
            let initialised = match &facts {
                Some(_) => self.engine.get_file(&node.name, INITIALISED).await?.is_some(),
                None => false,
            };
            // What was interrupted before kubeadm ended holds nothing of value and is made anew.
            let there = matches!(change, ContainerChange::Nothing | ContainerChange::Start);
            let change = if there && !initialised {
                ContainerChange::Replace
            } else {
                change
            };
            Ok(NodeState {
                node,
                spec,
                facts,
                initialised,
                change,
            })
        }))
        .await
    }

    /// The port of the API on 127.0.0.1 that the balancer or the one control plane has, if it is there.
    #[must_use]
    pub fn api_port(&self, containers: &[ContainerFacts]) -> Option<NonZeroU16> {
        let endpoint = balancer::endpoint(&self.environment);
        let container = containers.iter().find(|container| container.name == endpoint)?;
        let port = container
            .ports
            .iter()
            .find(|port| port.container_port == API_PORT && !port.udp)?;
        NonZeroU16::new(port.host_port)
    }

    /// Brings one node's container to what is wanted. On a new one kubeadm's configuration is there before it starts.
    pub async fn ensure_node(
        &self,
        state: &NodeState,
        first: &str,
        token: &str,
        marks: &NodeMarks,
        authorities: &BTreeMap<String, Vec<u8>>,
    ) -> Result<(), ClusterError> {
        let name = &state.node.name;
        match state.change {
            ContainerChange::Nothing => return Ok(()),
            ContainerChange::Start => return Ok(self.engine.start_container(name).await?),
            ContainerChange::Replace => self.engine.remove_container(name).await?,
            ContainerChange::Create | ContainerChange::Foreign => {}
        }
        let network = cni::first_node(self.environment.cluster.pod_subnet).filter(|_| name == first);
        let input = KubeadmInput {
            engine: self.engine.facts(),
            endpoint: &balancer::endpoint(&self.environment),
            token,
            labels: &marks.labels,
            taints: &marks.taints,
            // Ready from the start, it must not take pods before services answer, see `opening`.
            starting: network.as_ref().map(|_| scheduling::starting_taint()),
        };
        let config = kubeadm::render(&self.environment, &state.node, &input)?;
        self.engine.create_container(&state.spec).await?;
        let mut files = vec![File::new(KUBEADM_CONFIG, config).secret()];
        files.push(match network {
            Some(network) => File::new(cni::PATH, network),
            None => File::new(cni::BOOT_PATH, cni::boot()),
        });
        files.extend(authorities.iter().map(|(path, pem)| File::new(path, pem.clone())));
        self.engine.put_files(name, &files).await?;
        Ok(self.engine.start_container(name).await?)
    }

    /// Runs `kubeadm init` on the first control plane to its end.
    pub async fn init(&self, node: &str) -> Result<(), ClusterError> {
        self.kubeadm(node, "kubeadm init --config=/kind/kubeadm.conf --skip-token-print")
            .await
    }

    /// Joins a node. `token` must be known to the cluster ([`Self::admit`]) and is in the node's configuration.
    pub async fn join(&self, node: &str) -> Result<(), ClusterError> {
        self.kubeadm(node, "kubeadm join --config=/kind/kubeadm.conf").await
    }

    async fn kubeadm(&self, node: &str, command: &str) -> Result<(), ClusterError> {
        // containerd's socket is there once systemd is up; the marker is written only when kubeadm has ended well.
        let script = format!(
            "until [ -S /run/containerd/containerd.sock ]; do sleep 0.05; done; \
             {command} >/kind/kubeadm.log 2>&1 && touch {INITIALISED}"
        );
        let spec = ExecSpec::new(["sh", "-c", script.as_str()]).within(KUBEADM_LIMIT);
        let output = match self.engine.exec(node, &spec).await {
            Ok(output) if output.code == 0 => return Ok(()),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        let tail = "tail -n 15 /kind/kubeadm.log; journalctl -u kubelet --no-pager -n 10 -o cat 2>/dev/null";
        let evidence = match self.engine.exec(node, &ExecSpec::new(["sh", "-c", tail])).await {
            Ok(tail) => tail.text(),
            Err(_) => self.engine.last_log_lines(node, 15).await,
        };
        Err(ClusterError::Kubeadm {
            node: node.to_owned(),
            evidence: format!("{output}\n{evidence}").trim().to_owned(),
        })
    }

    /// Waits until the API answers and returns a connection and its kubeconfig. While kubeadm still runs only
    /// `super-admin.conf` has rights: it is used from the moment that the API server's manifest is written.
    pub async fn api(&self, node: &str, port: NonZeroU16) -> Result<(KubeApi, String), ClusterError> {
        let work = async {
            let script = "until [ -s /etc/kubernetes/manifests/kube-apiserver.yaml ]; do sleep 0.05; done; \
                          cat /etc/kubernetes/super-admin.conf 2>/dev/null || cat /etc/kubernetes/admin.conf";
            let conf = self
                .engine
                .exec_ok(node, &ExecSpec::new(["sh", "-c", script]).within(API_LIMIT))
                .await?;
            let server = format!("https://127.0.0.1:{port}");
            let kubeconfig = kubeconfig::localise(&conf.text(), &self.environment.cluster_name(), &server)?;
            let api = KubeApi::new(&kubeconfig).await?;
            while !api.is_ready().await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Ok((api, kubeconfig))
        };
        match tokio::time::timeout(API_LIMIT, work).await {
            Ok(result) => result,
            Err(_) => Err(ClusterError::NotReady {
                what: "the Kubernetes API".to_owned(),
                seconds: API_LIMIT.as_secs(),
                reason: "/readyz does not say ok".to_owned(),
                image: None,
                evidence: self.engine.last_log_lines(node, 15).await,
            }),
        }
    }

    /// The kubeconfig that stays: `admin.conf`, which kubeadm gives its rights at the end.
    pub async fn kubeconfig(&self, node: &str, port: NonZeroU16) -> Result<String, ClusterError> {
        let conf = self
            .engine
            .exec_ok(node, &ExecSpec::new(["cat", "/etc/kubernetes/admin.conf"]))
            .await?;
        let server = format!("https://127.0.0.1:{port}");
        Ok(kubeconfig::localise(
            &conf.text(),
            &self.environment.cluster_name(),
            &server,
        )?)
    }

    /// Makes a join token known to the cluster (Kubernetes: bootstrap tokens are Secrets in kube-system).
    pub async fn admit(&self, api: &KubeApi, token: &str, expires: &str) -> Result<(), ClusterError> {
        let (id, secret) = token.split_once('.').unwrap_or((token, ""));
        let value = serde_json::json!({
            "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
            "metadata": {"name": format!("bootstrap-token-{id}"), "namespace": "kube-system"},
            "stringData": {
                "token-id": id, "token-secret": secret, "expiration": expires,
                "usage-bootstrap-authentication": "true", "usage-bootstrap-signing": "true",
                "auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token",
            },
        });
        let origin = "the join token".to_owned();
        api.apply(&Manifest::new(value).map_err(|source| ClusterError::Object { origin, source })?)
            .await
    }

    /// The join token in a node's configuration.
    pub async fn token_of(&self, node: &str) -> Result<String, ClusterError> {
        let text = self.engine.get_file(node, KUBEADM_CONFIG).await?.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let token = text
            .lines()
            .find_map(|line| Some(line.trim().strip_prefix("token: ")?.trim_matches(['"', '\''])));
        token.map(str::to_owned).ok_or_else(|| ClusterError::Kubeadm {
            node: node.to_owned(),
            evidence: format!("{KUBEADM_CONFIG} holds no token; `loko create --recreate` makes the node anew"),
        })
    }

    /// The manifests that the node image brings: the pod network and the default storage class.
    pub async fn bundled_manifests(&self, node: &str) -> Result<Vec<Manifest>, ClusterError> {
        let parts = [
            ("cni", "/kind/manifests/default-cni.yaml"),
            ("storage", "/kind/manifests/default-storage.yaml"),
        ];
        let mut all = Vec::new();
        for (part, path) in parts {
            let Some(text) = self.engine.get_file(node, path).await? else {
                continue;
            };
            // The one variable of kind's manifests (kind: `pkg/cluster/internal/create/actions/installcni`).
            let pods = self.environment.cluster.pod_subnet.to_string();
            let text = String::from_utf8_lossy(&text).replace("{{ .PodSubnet }}", &pods);
            let failed = |source| ClusterError::Object {
                origin: path.to_owned(),
                source,
            };
            for object in Manifest::parse_all(&text).map_err(failed)? {
                all.push(storage::by_name_of_claim(object).map_err(failed)?.of_part(part));
            }
        }
        Ok(all)
    }

    /// Names of nodes that have the role, in order.
    #[must_use]
    pub fn names_of(&self, role: Role) -> Vec<String> {
        nodes::names(&self.environment)
            .filter(|(_, other, _)| *other == role)
            .map(|(name, ..)| name)
            .collect()
    }
}

fn no_subnet() -> EngineError {
    EngineError::NoSubnet {
        network: NETWORK.to_owned(),
    }
}

/// A fresh join token.
pub fn fresh_token() -> Result<String, ClusterError> {
    let mut random = [0; 22];
    getrandom::fill(&mut random).map_err(|error| ClusterError::Api {
        action: "draw a random token".to_owned(),
        message: error.to_string(),
    })?;
    Ok(kubeadm::token(random))
}
