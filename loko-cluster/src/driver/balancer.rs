//! Several control planes: the balancer before them, what they share, and proxies of their nodes.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use futures_util::future::try_join_all;
use loko_engine::container::{ContainerChange, ContainerSpec, compare};
use loko_engine::driver::{ExecSpec, File};
use loko_engine::{ContainerFacts, EngineError, labels};

use super::{Cluster, NodeState};
use crate::error::ClusterError;
use crate::{balancer, nodes, proxy};

/// What control planes share, below [`PKI`], and whether it is secret: the authorities, and the keys that sign service accounts (kubeadm: `cmd/kubeadm/app/phases/copycerts`).
const SHARED: [(&str, bool); 8] = [
    ("ca.crt", false),
    ("ca.key", true),
    ("sa.pub", false),
    ("sa.key", true),
    ("front-proxy-ca.crt", false),
    ("front-proxy-ca.key", true),
    ("etcd/ca.crt", false),
    ("etcd/ca.key", true),
];
/// Where kubeadm keeps them.
const PKI: &str = "/etc/kubernetes/pki";

/// The balancer, compared with what is wanted.
#[derive(Debug, Clone)]
pub enum BalancerState {
    /// One is there, and there is one control plane.
    Surplus {
        /// Its container.
        name: String,
    },
    /// One is wanted.
    Wanted {
        /// Its container.
        spec: Box<ContainerSpec>,
        /// What is in its `haproxy.cfg`.
        configuration: String,
        /// What it takes to have it so.
        change: ContainerChange,
    },
}

impl Cluster {
    /// Compares the balancer with what is wanted. `None`: none is wanted and none is there.
    pub fn observe_balancer(
        &self,
        states: &[NodeState],
        containers: &[ContainerFacts],
        api_port: NonZeroU16,
    ) -> Result<Option<BalancerState>, ClusterError> {
        let environment = self.environment();
        let is_one = |container: &&ContainerFacts| {
            labels::is_ours(&container.labels, Some(environment.name.as_str()))
                && container
                    .labels
                    .get(labels::ROLE)
                    .is_some_and(|role| role == balancer::ROLE)
        };
        let Some(name) = balancer::name(environment) else {
            let surplus = containers.iter().find(is_one);
            return Ok(surplus.map(|surplus| BalancerState::Surplus {
                name: surplus.name.clone(),
            }));
        };
        let nodes: Vec<_> = states.iter().map(|state| state.node.clone()).collect();
        let configuration = balancer::configuration(&name, &nodes).map_err(|source| ClusterError::Render {
            file: "haproxy.cfg",
            source,
        })?;
        let spec = balancer::container(environment, name.clone(), &configuration, api_port);
        let there = containers.iter().find(|container| container.name == name);
        Ok(Some(BalancerState::Wanted {
            change: compare(&spec, there),
            spec: Box::new(spec),
            configuration,
        }))
    }

    /// Brings the balancer to what is wanted, or takes one away that is not. Returns what was done, where anything was.
    pub async fn ensure_balancer(&self, state: Option<BalancerState>) -> Result<Option<String>, ClusterError> {
        let (spec, configuration, change) = match state {
            None => return Ok(None),
            Some(BalancerState::Surplus { name }) => {
                self.engine().remove_container(&name).await?;
                return Ok(Some(format!("removed {name}")));
            }
            Some(BalancerState::Wanted {
                spec,
                configuration,
                change,
            }) => (spec, configuration, change),
        };
        let name = spec.name.clone();
        match change {
            ContainerChange::Nothing => return Ok(None),
            ContainerChange::Foreign => {
                return Err(EngineError::Foreign {
                    kind: "container",
                    name,
                }
                .into());
            }
            ContainerChange::Start => {}
            ContainerChange::Replace | ContainerChange::Create => {
                self.engine().ensure_image(&spec.image, |_| {}).await?;
                if change == ContainerChange::Replace {
                    self.engine().remove_container(&name).await?;
                }
                self.engine().create_container(&spec).await?;
            }
        }
        // Also into one that is there: whoever made it may have been killed before it wrote the file.
        let file = File::new(balancer::CONFIGURATION, configuration);
        self.engine().put_files(&name, &[file]).await?;
        self.engine().start_container(&name).await?;
        Ok(Some(format!("started {name}")))
    }

    /// Makes `node` ready to join as a control plane: it gets what `first` shares with it, and what etcd still knows of a node
    /// at its address, which was lost before it was whole, is forgotten.
    pub async fn share_with(&self, first: &str, node: &nodes::Node) -> Result<(), ClusterError> {
        let files = SHARED.iter().map(|(name, is_secret)| async move {
            let path = format!("{PKI}/{name}");
            let found = self.engine().get_file(first, &path).await?;
            let bytes = found.ok_or_else(|| ClusterError::Kubeadm {
                node: first.to_owned(),
                evidence: format!("{path} is not there; `loko create --recreate` makes the cluster anew"),
            })?;
            let file = File::new(path, bytes);
            Ok::<_, ClusterError>(if *is_secret { file.secret() } else { file })
        });
        let files = try_join_all(files).await?;
        self.engine().put_files(&node.name, &files).await?;
        let address = node.address;
        let script = format!(
            "etcd=$(crictl ps -q --name '^etcd$' | head -n 1); [ -n \"$etcd\" ] || exit 0; \
             run() {{ crictl exec \"$etcd\" etcdctl --endpoints https://127.0.0.1:2379 --cacert {PKI}/etcd/ca.crt \
             --cert {PKI}/etcd/server.crt --key {PKI}/etcd/server.key \"$@\"; }}; \
             run member list | grep -F 'https://{address}:2380' | cut -d, -f1 | while read -r id; do run member remove \"$id\"; done"
        );
        self.engine()
            .exec_ok(first, &ExecSpec::new(["sh", "-c", script.as_str()]))
            .await?;
        Ok(())
    }

    /// Proxy variables for nodes: those of a node that is there, else what `variables` say ([`proxy::of_nodes`]).
    pub async fn proxies(
        &self,
        containers: &[ContainerFacts],
        variables: &BTreeMap<String, String>,
        network: ipnet::Ipv4Net,
    ) -> Result<BTreeMap<String, String>, ClusterError> {
        let there = nodes::names(self.environment())
            .find_map(|(name, ..)| containers.iter().find(|container| container.name == name));
        match there {
            Some(container) => Ok(proxy::of_container(
                &self.engine().container_env(&container.name).await?,
            )),
            None => Ok(proxy::of_nodes(self.environment(), variables, network)),
        }
    }
}
