//! The steps from nothing to a cluster: certificates, network, nodes, kubeadm, the API, images, workers, kubeconfig.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use loko_cluster::driver::{KubeApi, NodeState, fresh_token};
use loko_cluster::nodes::{NETWORK, NodeInput, Role};
use loko_cluster::plan::LiveObject;
use loko_cluster::scheduling::NodeMarks;
use loko_cluster::secrets::Secrets;
use loko_cluster::wanted::NodeImage;
use loko_cluster::{ClusterError, ObjectKey, scheduling, storage, wanted};
use loko_engine::container::ContainerChange;
use loko_engine::labels;
use loko_engine::subnet::Division;

use super::{Stepped, Up, changed, registry};
use crate::certs::{self, Certificates};
use crate::error::CliError;
use crate::host;
use crate::progress::Line;
use crate::{plan, state};

/// The nodes, for every step that needs them.
pub(super) type Nodes = Arc<Vec<NodeState>>;
/// The API, and what is there of ours.
pub(super) type Api = (KubeApi, Arc<BTreeMap<ObjectKey, LiveObject>>);

impl Up<'_> {
    pub(super) fn certificates(self) -> Stepped<Arc<Certificates>> {
        let environment = &self.platform.environment;
        let found = certs::ensure(&self.context.home, environment, certs::Mode::Ensure, Timestamp::now())?;
        let outcome = changed(found.issued.is_some(), || {
            format!(
                "issued *.{}: {}",
                environment.network.domain,
                found.issued.as_deref().unwrap_or_default()
            )
        });
        Ok((Arc::new(found), outcome))
    }

    pub(super) fn secrets(self) -> Stepped<Arc<Secrets>> {
        let (secrets, made) = crate::secrets::ensure(self.context, self.platform)?;
        Ok((
            Arc::new(secrets),
            changed(!made.is_empty(), || format!("made {}", made.join(", "))),
        ))
    }

    pub(super) async fn node_image(self, line: Line) -> Stepped<()> {
        let image = self.platform.environment.cluster.kubernetes.reference();
        let told = |percent| line.tell(&format!("pulling {image}: {percent} %"));
        let pulled = self.platform.engine.ensure_image(&image, told).await?;
        Ok(((), changed(pulled, || format!("pulled {image}"))))
    }

    pub(super) async fn network(self) -> Stepped<Division> {
        let (division, made) = self.platform.cluster.ensure_network(&host::routes()).await?;
        Ok((
            division,
            changed(made, || format!("made {NETWORK}, {}", division.subnet)),
        ))
    }

    pub(super) async fn nodes(self, division: Division, line: Line) -> Stepped<Nodes> {
        let Self { platform, observed, .. } = self;
        let cluster = &platform.cluster;
        let name = platform.environment.name.as_str();
        for (volume, role) in [
            (registry::volume(&platform.environment.name), registry::REGISTRY_ROLE),
            (storage::volume(name), storage::DATA_ROLE),
        ] {
            platform
                .engine
                .ensure_volume(&volume, &labels::of(Some(name), role))
                .await?;
        }
        let input = self.node_input(&division).await?;
        let states = cluster.observe(&division, &observed.containers, &input).await?;
        // The plan refuses it before anything is touched; this is for one that came in between.
        plan::cluster::refuse(&plan::cluster::nodes(&states, &[], false))?;
        let mut done: Vec<String> = Vec::new();
        for name in loko_cluster::nodes::surplus(&platform.environment, &observed.containers) {
            line.tell(&format!("removing {name}"));
            self.remove_node(&name).await?;
            done.push(format!("removed {name}"));
        }
        line.tell("starting the nodes");
        let balancer = cluster.observe_balancer(&states, &observed.containers, observed.api_port)?;
        done.extend(cluster.ensure_balancer(balancer).await?);
        let token = fresh_token()?;
        let made = states.iter().map(|state| {
            let marks = scheduling::node(&platform.environment.cluster.nodes, state.node.role, state.node.index);
            let (token, input) = (&token, &input);
            async move {
                let authorities = &input.authorities;
                cluster.ensure_node(state, self.first, token, &marks, authorities).await
            }
        });
        futures_util::future::try_join_all(made).await?;
        let started = states.iter().filter(|state| state.change != ContainerChange::Nothing);
        done.extend(started.map(|state| format!("started {}", state.node.name)));
        let outcome = changed(!done.is_empty(), || done.join(", "));
        Ok((Arc::new(states), outcome))
    }

    /// What the nodes' containers depend on besides loko.yaml.
    pub(super) async fn node_input(&self, division: &Division) -> Result<NodeInput<'_>, CliError> {
        let Self { platform, observed, .. } = self;
        let name = &platform.environment.name;
        let shell = std::env::vars().collect();
        Ok(NodeInput {
            engine: platform.engine.facts(),
            api_port: observed.api_port,
            proxy: platform
                .cluster
                .proxies(&observed.containers, &shell, division.subnet)
                .await?,
            authorities: authorities(&platform.environment.cluster.extra_cas)?,
            registry_volume: Some((registry::volume(name), registry::DATA_PATH.to_owned())),
            data_volume: Some(storage::volume(name.as_str())),
        })
    }

    /// Takes a node that is no longer wanted out of Kubernetes, then its container away.
    async fn remove_node(self, name: &str) -> Result<(), CliError> {
        let kubeconfig = state::read(&self.context.home.kubeconfig(self.platform.environment.name.as_str()))?;
        if let Some(kubeconfig) = kubeconfig {
            let api = KubeApi::new(&kubeconfig).await?;
            // A cluster that does not answer forgets the node by itself.
            if api.is_ready().await {
                api.drain(name).await?;
            }
        }
        Ok(self.platform.engine.remove_container(name).await?)
    }

    /// Gives whether the control plane was made in this run.
    pub(super) async fn kubeadm(self, nodes: Nodes) -> Stepped<bool> {
        let fresh = nodes
            .iter()
            .any(|state| state.node.name == self.first && !state.initialised);
        if fresh {
            self.platform.cluster.init(self.first).await?;
        }
        Ok((
            fresh,
            changed(fresh, || format!("control plane of {} initialised", self.first)),
        ))
    }

    pub(super) async fn api(self, nodes: Nodes) -> Stepped<Api> {
        let known = nodes
            .iter()
            .any(|state| state.node.name == self.first && state.initialised);
        let path = self.context.home.kubeconfig(self.platform.environment.name.as_str());
        let port = self.observed.api_port;
        // What is known from before saves asking the node.
        let stored = if known { state::read(&path)? } else { None };
        let api = match stored {
            Some(text) => reachable(&text, port).await,
            None => None,
        };
        let api = match api {
            Some(api) => api,
            None => self.platform.cluster.api(self.first, port).await?.0,
        };
        let progress = self.context.progress.clone();
        let api = api.telling(move |text| progress.say(text));
        // A cluster that was just born has nothing of ours.
        let live = if known {
            api.live_objects().await?
        } else {
            BTreeMap::new()
        };
        let outcome = changed(!known, || format!("answers at https://127.0.0.1:{port}"));
        Ok(((api, Arc::new(live)), outcome))
    }

    pub(super) async fn images(self, nodes: Nodes, line: Line) -> Stepped<()> {
        self.load(&nodes, &self.node_images(), &line).await
    }

    /// Images that go into nodes: into each those that run there, and into all what the bundle has besides those that loko.yaml names.
    pub(super) fn node_images(self) -> Vec<NodeImage> {
        let environment = &self.platform.environment;
        let mut all = wanted::images(environment);
        if let Some(bundle) = self.platform.cluster.bundle() {
            let extra = bundle.contents().images.iter().filter(|image| image.extra);
            all.extend(extra.map(|image| NodeImage::everywhere(environment, image.reference.clone())));
        }
        all
    }

    pub(super) async fn load(self, nodes: &Nodes, images: &[NodeImage], line: &Line) -> Stepped<()> {
        let names: Vec<String> = nodes.iter().map(|state| state.node.name.clone()).collect();
        let told = |image: &str| line.tell(&format!("loading {image}"));
        let loaded = self.platform.cluster.load_images(&names, images, told).await?;
        Ok(((), changed(loaded > 0, || format!("loaded {loaded} images"))))
    }

    pub(super) async fn workers(self, nodes: Nodes, api: Api, line: Line) -> Stepped<()> {
        let cluster = &self.platform.cluster;
        let joining: Vec<&NodeState> = nodes
            .iter()
            .filter(|state| state.node.name != self.first && !state.initialised)
            .collect();
        let names: Vec<&str> = joining.iter().map(|state| state.node.name.as_str()).collect();
        if let Some(one) = names.first() {
            line.tell(&format!("joining {}", names.join(", ")));
            // The token in their configuration may be of another run than the one that made the cluster.
            let expires = (Timestamp::now() + jiff::SignedDuration::from_hours(24)).to_string();
            let token = cluster.token_of(one).await?;
            cluster.admit(&api.0, &token, &expires).await?;
            // All at once: etcd takes one new member after the other, and kubeadm waits for its turn.
            let known = &api.0;
            futures_util::future::try_join_all(joining.iter().map(|state| async move {
                if state.node.role == Role::ControlPlane {
                    cluster.share_with(self.first, &state.node).await?;
                } else {
                    known.forget(&state.node.name).await?;
                }
                cluster.join(&state.node.name).await
            }))
            .await?;
        }
        let marked = api.0.mark_nodes(&self.marks(&nodes)).await?;
        let mut done: Vec<String> = names.iter().map(|name| format!("joined {name}")).collect();
        done.extend(marked.iter().map(|(node, change)| format!("{node}: {change}")));
        Ok(((), changed(!done.is_empty(), || done.join(", "))))
    }

    /// Labels and taints that the nodes should have.
    pub(super) fn marks(self, nodes: &[NodeState]) -> BTreeMap<String, NodeMarks> {
        let wanted = &self.platform.environment.cluster.nodes;
        let marks = nodes.iter().map(|state| {
            let node = &state.node;
            (node.name.clone(), scheduling::node(wanted, node.role, node.index))
        });
        marks.collect()
    }

    pub(super) async fn services(self, (api, _): Api) -> Stepped<()> {
        let opened = self.platform.cluster.open(&api, self.first).await?;
        Ok((
            (),
            changed(opened, || "answer in the cluster; pods may start".to_owned()),
        ))
    }

    pub(super) async fn kubeconfig(self, fresh: bool) -> Stepped<()> {
        let Self {
            context,
            platform,
            observed,
            options,
            first,
        } = self;
        let own = context.home.kubeconfig(platform.environment.name.as_str());
        let kept = if fresh { None } else { state::read(&own)? };
        let (text, mut written) = match kept.filter(|text| text.contains(&server(observed.api_port))) {
            Some(text) => (text, false),
            None => (platform.cluster.kubeconfig(first, observed.api_port).await?, true),
        };
        if written {
            state::write(&own, text.as_bytes(), true)?;
        }
        if !options.no_kubeconfig {
            let path = crate::context::kubeconfig_path()?;
            written |= context
                .home
                .edit_kubeconfig(&path, |theirs| merged(&path, theirs, &text))?;
        }
        Ok((
            (),
            changed(written, || {
                format!(
                    "context {}",
                    loko_cluster::kubeconfig::context(&platform.environment.cluster_name())
                )
            }),
        ))
    }
}

/// The files of `cluster.extra-cas`, for nodes.
fn authorities(paths: &[String]) -> Result<BTreeMap<String, Vec<u8>>, CliError> {
    let read = paths.iter().map(|path| match fs_err::read(path) {
        Ok(bytes) => Ok((path.clone(), bytes)),
        Err(source) => Err(CliError::File {
            action: "read",
            path: Utf8PathBuf::from(path),
            source,
        }),
    });
    Ok(loko_cluster::authorities::files(&read.collect::<Result<Vec<_>, _>>()?)?)
}

/// What the user's kubeconfig should be; `None` where it is that.
fn merged(path: &Utf8Path, theirs: &str, text: &str) -> Result<Option<String>, CliError> {
    Ok(loko_cluster::kubeconfig::merge(path.as_str(), theirs, text).map_err(ClusterError::from)?)
}

/// Whether there is nothing to write about the cluster in a kubeconfig, ours or the user's.
pub(super) fn kubeconfig_is_written(up: Up<'_>) -> Result<bool, CliError> {
    let own = up.context.home.kubeconfig(up.platform.environment.name.as_str());
    let Some(text) = state::read(&own)?.filter(|text| text.contains(&server(up.observed.api_port))) else {
        return Ok(false);
    };
    if up.options.no_kubeconfig {
        return Ok(true);
    }
    let path = crate::context::kubeconfig_path()?;
    let theirs = state::read(&path)?.unwrap_or_default();
    Ok(merged(&path, &theirs, &text)?.is_none())
}

fn server(port: NonZeroU16) -> String {
    format!("https://127.0.0.1:{port}\n")
}

/// A connection with a kubeconfig from before, where it is for the same port and still answers.
pub(super) async fn reachable(kubeconfig: &str, port: NonZeroU16) -> Option<KubeApi> {
    if !kubeconfig.contains(&server(port)) {
        return None;
    }
    let api = KubeApi::new(kubeconfig).await.ok()?;
    api.is_ready().await.then_some(api)
}
