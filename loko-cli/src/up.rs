//! The steps that bring an environment up, or to what loko.yaml says now. Each is *ensure*: look, compare, act; so the
//! same steps serve the first create, the one after an edit, the one after a kill, and `start`.
//!
//! ```text
//! certificates ────────────────────────────────────────┐
//! node-image ─┐                                        │
//! network ────┴→ nodes ─┬→ api ─┬→ foundation          │
//!         │             │       └──────────┬→ apply ←──┘
//!         │             ├→ images ─────────┘    │
//!         │             └→ kubeadm ─┬→ workers  │
//!         │                         └→ kubeconfig
//!         ├→ dns                                └──→ ready ← all
//!         └→ edge
//! ```

mod ready;

pub(crate) use ready::{urls, urls_of};

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;

use ipnet::Ipv4Net;
use jiff::Timestamp;
use loko_cluster::driver::{KubeApi, NodeState, fresh_token};
use loko_cluster::nodes::{NETWORK, NodeInput, Role};
use loko_cluster::plan::{self, LiveObject, ObjectPlan};
use loko_cluster::wanted::{self, WantedInput};
use loko_cluster::{ClusterError, Manifest, ObjectKey, addresses, scheduling};
use loko_config::slots::{self, PortKey, Slot};
use loko_dns::container::Placement;
use loko_dns::zone::Zone;
use loko_engine::container::ContainerChange;
use loko_engine::subnet::Division;
use loko_engine::{ContainerFacts, labels};
use loko_haproxy::driver::{Change, Done, Edge};
use loko_haproxy::routes::{Routes, Upstream};

use crate::certs::{self, Certificates};
use crate::context::{Context, Platform};
use crate::error::CliError;
use crate::host;
use crate::progress::Outcome;
use crate::state;
use crate::steps::{Runner, StepReport, needs, nothing, to_run};

/// Parts that are applied as soon as the API answers, before everything else.
const FOUNDATION: [&str; 3] = ["cni", "storage", "coredns"];

/// What was found before anything was done.
#[derive(Debug)]
pub(crate) struct Observed {
    /// All containers of ours, of every environment.
    pub(crate) containers: Vec<ContainerFacts>,
    /// The entry point of each port.
    pub(crate) slots: BTreeMap<PortKey, Slot>,
    /// Port of the API on 127.0.0.1.
    pub(crate) api_port: NonZeroU16,
}

/// What `up` may be told.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    /// Leave the user's kubeconfig alone.
    pub(crate) no_kubeconfig: bool,
}

/// HAProxy of a platform.
pub(crate) fn edge(platform: &Platform) -> Edge {
    Edge::new(
        platform.engine.clone(),
        platform.environment.components.haproxy.reference(),
        platform.mode,
    )
}

/// How the environment's dnsmasq is run.
pub(crate) fn placement(platform: &Platform) -> Placement {
    Placement {
        image: platform.environment.components.dnsmasq.reference(),
        mode: platform.mode,
        network: NETWORK.to_owned(),
    }
}

/// Looks at what is there; nothing is changed.
pub(crate) async fn observe(platform: &Platform) -> Result<Observed, CliError> {
    let containers = platform.cluster.containers().await?;
    let environment = &platform.environment;
    let routes = edge(platform).environments().await?;
    let had = routes
        .get(&environment.name)
        .map(|routes| held_slots(platform, routes))
        .unwrap_or_default();
    let slots = slots::assign(&had, &slots::wanted(environment)).map_err(|error| CliError::Usage {
        message: error.to_string(),
        help: "an environment has 64 TCP and 16 UDP ports; `http` needs none of them".to_owned(),
    })?;
    let api_port = match environment.cluster.kubernetes.api_port {
        loko_config::model::AutoPort::Fixed(port) => Some(port),
        loko_config::model::AutoPort::Auto => platform.cluster.api_port(&containers).or_else(host::free_port),
    };
    let api_port = api_port.ok_or_else(|| CliError::Ports {
        conflicts: vec!["127.0.0.1 has no free port".to_owned()],
    })?;
    Ok(Observed {
        containers,
        slots,
        api_port,
    })
}

/// The slots that an environment's ports have, as HAProxy's routes say.
fn held_slots(platform: &Platform, routes: &Routes) -> BTreeMap<PortKey, Slot> {
    let slot_of = |port| Slot::of_node_port(port);
    let mut held = BTreeMap::new();
    for workload in &platform.environment.workloads.list {
        for port in &workload.ports {
            let key = PortKey {
                workload: workload.name.clone(),
                port: port.port,
                protocol: port.protocol,
            };
            let tcp = routes
                .tcp
                .iter()
                .map(|route| (&route.workload, route.listen, route.node_port));
            let udp = routes
                .udp
                .iter()
                .map(|route| (&route.workload, route.listen, route.node_port));
            let found = tcp.chain(udp).find_map(|(name, listen, node_port)| {
                let slot = slot_of(node_port).filter(|slot| slot.protocol() == port.protocol)?;
                (*name == workload.name && listen == port.host_port).then_some(slot)
            });
            held.extend(found.map(|slot| (key, slot)));
        }
    }
    held
}

/// Everything that the cluster's objects depend on, owned.
#[derive(Debug, Clone)]
pub(crate) struct Inputs {
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) network: Ipv4Net,
    pub(crate) corefile: String,
    pub(crate) coredns_image: String,
}

impl Inputs {
    pub(crate) fn new(
        platform: &Platform,
        certificates: Arc<Certificates>,
        network: Ipv4Net,
        coredns_image: String,
    ) -> Result<Self, CliError> {
        let environment = &platform.environment;
        let traefik = addresses::of(environment.cluster.service_subnet)
            .map_err(ClusterError::from)?
            .traefik;
        let zone = Zone::of(environment, platform.address, NonZeroU16::MIN, []);
        let corefile = loko_dns::corefile::corefile(&zone.domain, zone.wildcard, &zone.hosts, traefik.into());
        Ok(Self {
            certificates,
            network,
            corefile,
            coredns_image,
        })
    }

    pub(crate) fn wanted<'a>(&'a self, platform: &Platform, slots: &'a BTreeMap<PortKey, Slot>) -> WantedInput<'a> {
        WantedInput {
            address: platform.address,
            leaf: &self.certificates.leaf,
            authority_pem: &self.certificates.authority_pem,
            network: self.network,
            slots,
            corefile: &self.corefile,
            coredns_image: &self.coredns_image,
        }
    }
}

/// CoreDNS' image where a node image says nothing of it.
pub(crate) const COREDNS_IMAGE: &str = "registry.k8s.io/coredns/coredns:v1.14.2";

/// Runs all steps. Returns what each did.
pub(crate) async fn up(
    context: &Context,
    platform: &Platform,
    observed: &Observed,
    options: Options,
) -> Result<Vec<StepReport>, CliError> {
    let runner = Runner::new(context.progress.clone());
    let cluster = &platform.cluster;
    let environment = &platform.environment;
    let first = cluster
        .names_of(Role::ControlPlane)
        .into_iter()
        .next()
        .unwrap_or_default();
    let first = &first;

    let certificates = runner.step(
        "certificates",
        "looking for the certificate",
        nothing(),
        move |(), _| async move {
            let found = certs::ensure(&context.home, environment, false, Timestamp::now())?;
            let outcome = match &found.issued {
                Some(reason) => Outcome::Changed(format!("issued *.{}: {reason}", environment.network.domain)),
                None => Outcome::Unchanged,
            };
            Ok((Arc::new(found), outcome))
        },
    );

    let node_image = runner.step(
        "node-image",
        "looking for the node image",
        nothing(),
        move |(), line| async move {
            let image = environment.cluster.kubernetes.reference();
            let told = image.clone();
            let pulled = cluster
                .engine()
                .ensure_image(&image, |percent| line.tell(&format!("pulling {told}: {percent} %")))
                .await?;
            Ok(((), changed(pulled, || format!("pulled {image}"))))
        },
    );

    let network = runner.step(
        "network",
        "looking for the network",
        nothing(),
        move |(), _| async move {
            let (division, made) = cluster.ensure_network(&host::routes()).await?;
            Ok((
                division,
                changed(made, || format!("made {NETWORK}, {}", division.subnet)),
            ))
        },
    );

    let nodes = runner.step("nodes", "looking at the nodes", needs!(network, node_image), {
        move |(division, ()): (Division, ()), line| async move {
            let states = ensure_nodes(context, platform, observed, &division, first, &line).await?;
            let made: Vec<&str> = states
                .iter()
                .filter(|state| state.change != ContainerChange::Nothing)
                .map(|state| state.node.name.as_str())
                .collect();
            let outcome = changed(!made.is_empty(), || format!("started {}", made.join(", ")));
            Ok((Arc::new(states), outcome))
        }
    });

    let kubeadm = runner.step(
        "kubeadm",
        "starting the control plane",
        needs!(nodes),
        move |(states,), _| async move {
            let fresh = states
                .iter()
                .any(|state| state.node.name == *first && !state.initialised);
            if fresh {
                cluster.init(first).await?;
            }
            Ok((
                fresh,
                changed(fresh, || format!("control plane of {first} initialised")),
            ))
        },
    );

    let api = runner.step(
        "api",
        "waiting for the Kubernetes API",
        needs!(nodes),
        move |(states,), line| async move {
            let known = states
                .iter()
                .find(|state| state.node.name == *first)
                .is_some_and(|state| state.initialised);
            line.tell("waiting for the Kubernetes API");
            let kubeconfig = context.home.kubeconfig(environment.name.as_str());
            let stored = if known { state::read(&kubeconfig)? } else { None };
            let api = match stored {
                // What is known from before saves asking the node.
                Some(text) => reachable(&text, observed.api_port).await,
                None => None,
            };
            let api = match api {
                Some(api) => api,
                None => cluster.api(first, observed.api_port).await?.0,
            };
            // A cluster that was just born has nothing of ours.
            let live = if known {
                api.live_objects().await?
            } else {
                BTreeMap::new()
            };
            let outcome = changed(!known, || format!("answers at https://127.0.0.1:{}", observed.api_port));
            Ok(((api, Arc::new(live)), outcome))
        },
    );

    let images = runner.step(
        "images",
        "looking at the nodes' images",
        needs!(nodes),
        move |(states,), line| async move {
            let names: Vec<String> = states.iter().map(|state| state.node.name.clone()).collect();
            let wanted = wanted::images(environment);
            let told = |image: &str| line.tell(&format!("loading {image}"));
            let loaded = cluster.load_images(&names, &wanted, told).await?;
            Ok((
                (),
                changed(loaded > 0, || format!("loaded {loaded} images from the engine")),
            ))
        },
    );

    let foundation = runner.step(
        "foundation",
        "applying the pod network and DNS",
        needs!(api, certificates, network),
        move |((api, live), certificates, division), _| async move {
            let coredns = cluster
                .images_in(first)
                .await?
                .into_iter()
                .find(|name| name.contains("/coredns/coredns:"));
            let coredns = coredns.unwrap_or_else(|| COREDNS_IMAGE.to_owned());
            let inputs = Inputs::new(platform, certificates, division.subnet, coredns)?;
            let mut manifests = cluster.bundled_manifests(first).await?;
            manifests.extend(wanted::foundation(
                environment,
                &inputs.wanted(platform, &observed.slots),
            )?);
            let watched = watched(&manifests);
            let plan = plan::objects(manifests, &parts(&live, |part| FOUNDATION.contains(&part)));
            api.carry_out(&plan).await?;
            Ok(((Arc::new(inputs), watched), applied(&plan)))
        },
    );

    let apply = runner.step(
        "apply",
        "applying components and workloads",
        needs!(api, images, foundation),
        move |((api, live), (), (inputs, _)), _| async move {
            let manifests = wanted::platform(environment, &inputs.wanted(platform, &observed.slots))?;
            let watched = watched(&manifests);
            let plan = plan::objects(manifests, &parts(&live, |part| !FOUNDATION.contains(&part)));
            api.carry_out(&plan).await?;
            Ok((watched, applied(&plan)))
        },
    );

    let workers = runner.step("workers", "joining the workers", needs!(kubeadm, nodes, api), {
        move |(_, states, (api, _)): (bool, Arc<Vec<NodeState>>, (KubeApi, _)), line| async move {
            let joined = join_workers(platform, &states, &api, &line).await?;
            Ok((
                (),
                changed(!joined.is_empty(), || format!("joined {}", joined.join(", "))),
            ))
        }
    });

    let kubeconfig = runner.step(
        "kubeconfig",
        "writing the kubeconfig",
        needs!(kubeadm),
        move |(fresh,), _| async move {
            let written = write_kubeconfig(context, platform, observed, first, fresh, options).await?;
            Ok(((), changed(written, || "written".to_owned())))
        },
    );

    let dns = runner.step("dns", "starting dnsmasq", needs!(network), move |(_,), _| async move {
        let wanted = environment.network.dns_port;
        let port = loko_dns::driver::choose_port(cluster.engine(), &environment.name, platform.address, wanted).await?;
        let zone = Zone::of(environment, platform.address, port, []);
        let report = loko_dns::driver::ensure(cluster.engine(), &zone, &placement(platform)).await?;
        let outcome = changed(report.change != loko_dns::plan::Change::Nothing, || {
            format!("*.{} answered at {}:{port}", zone.domain, platform.address)
        });
        Ok((port, outcome))
    });

    let edge = runner.step(
        "edge",
        "starting HAProxy",
        needs!(network),
        move |(division,), _| async move {
            let placed =
                loko_cluster::nodes::place(environment, &division, &observed.containers).map_err(ClusterError::from)?;
            let upstreams = upstreams(platform, &placed);
            let routes = Routes::new(environment, platform.address, upstreams, &observed.slots);
            let _lock = context
                .home
                .lock_edge(|holder| context.progress.say(&format!("the edge waits for {holder}")))?;
            let report = self::edge(platform).apply(&Change::Put(Box::new(routes))).await?;
            let opened: Vec<String> = report.opened.iter().map(ToString::to_string).collect();
            let closed: Vec<String> = report.closed.iter().map(ToString::to_string).collect();
            let outcome = changed(report.done != Done::Nothing, || {
                let mut text = match report.done {
                    Done::Reloaded | Done::Nothing | Done::Removed => "reloaded".to_owned(),
                    Done::Started => "started".to_owned(),
                    Done::Recreated => "made anew: connections through it were ended".to_owned(),
                };
                if !opened.is_empty() {
                    text = format!("{text}, listens on {}", opened.join(", "));
                }
                if !closed.is_empty() {
                    text = format!("{text}, gave up {}", closed.join(", "));
                }
                text
            });
            Ok(((), outcome))
        },
    );

    let ready = runner.step(
        "ready",
        "waiting until everything answers",
        needs!(api, foundation, apply, workers, kubeconfig, dns, edge),
        move |((api, _), (_, mut keys), more, (), (), _, ()), line| async move {
            keys.extend(more);
            ready::wait(context, platform, &api, &keys, &line).await?;
            Ok(((), Outcome::Unchanged))
        },
    );

    runner
        .run(vec![
            to_run(&certificates),
            to_run(&node_image),
            to_run(&network),
            to_run(&nodes),
            to_run(&kubeadm),
            to_run(&api),
            to_run(&images),
            to_run(&foundation),
            to_run(&apply),
            to_run(&workers),
            to_run(&kubeconfig),
            to_run(&dns),
            to_run(&edge),
            to_run(&ready),
        ])
        .await
}

fn changed(changed: bool, text: impl FnOnce() -> String) -> Outcome {
    if changed {
        Outcome::Changed(text())
    } else {
        Outcome::Unchanged
    }
}

fn applied(plan: &ObjectPlan) -> Outcome {
    let changes: Vec<String> = plan
        .changes()
        .map(|change| format!("{} {}", change.verb(), change.key()))
        .collect();
    match changes.as_slice() {
        [] => Outcome::Unchanged,
        few if few.len() <= 4 => Outcome::Changed(few.join(", ")),
        many => Outcome::Changed(format!("{} objects", many.len())),
    }
}

/// Objects that take time to become ready.
fn watched(manifests: &[Manifest]) -> Vec<ObjectKey> {
    manifests
        .iter()
        .map(Manifest::key)
        .filter(|key| loko_cluster::readiness::WATCHED.contains(&key.kind.as_str()))
        .collect()
}

/// Those of `live` whose part is of interest.
fn parts(
    live: &BTreeMap<ObjectKey, LiveObject>,
    of_interest: impl Fn(&str) -> bool,
) -> BTreeMap<ObjectKey, LiveObject> {
    live.iter()
        .filter(|(_, object)| of_interest(&object.part))
        .map(|(key, object)| (key.clone(), object.clone()))
        .collect()
}

/// A connection with a kubeconfig from before, where it is for the same port and still answers.
async fn reachable(kubeconfig: &str, port: NonZeroU16) -> Option<KubeApi> {
    if !kubeconfig.contains(&format!("https://127.0.0.1:{port}\n")) {
        return None;
    }
    let api = KubeApi::new(kubeconfig).await.ok()?;
    api.is_ready().await.then_some(api)
}

/// Nodes that run Traefik, for HAProxy.
pub(crate) fn upstreams(platform: &Platform, nodes: &[loko_cluster::nodes::Node]) -> Vec<Upstream> {
    nodes
        .iter()
        .filter(|node| {
            let marks = scheduling::node(&platform.environment.cluster.nodes, node.role, node.index);
            marks.labels.contains_key(scheduling::RUNS_COMPONENTS)
        })
        .filter_map(|node| {
            Some(Upstream {
                name: node.name.parse().ok()?,
                address: node.address.into(),
            })
        })
        .collect()
}

async fn ensure_nodes(
    context: &Context,
    platform: &Platform,
    observed: &Observed,
    division: &Division,
    first: &str,
    line: &crate::progress::Line,
) -> Result<Vec<NodeState>, CliError> {
    let cluster = &platform.cluster;
    let input = NodeInput {
        engine: platform.engine.facts(),
        api_port: observed.api_port,
        proxy: BTreeMap::new(),
        registry_volume: None,
    };
    let states = cluster.observe(division, &observed.containers, &input).await?;
    let replaced = states
        .iter()
        .find(|state| state.change == ContainerChange::Replace && state.initialised);
    if let Some(state) = replaced {
        return Err(CliError::NeedsRecreate {
            what: format!("the node {}", state.node.name),
        });
    }
    for name in loko_cluster::nodes::surplus(&platform.environment, &observed.containers) {
        line.tell(&format!("removing {name}"));
        cluster.engine().remove_container(&name).await?;
    }
    line.tell("starting the nodes");
    let token = fresh_token()?;
    let made = states.iter().map(|state| {
        let marks = scheduling::node(&platform.environment.cluster.nodes, state.node.role, state.node.index);
        let token = &token;
        async move { cluster.ensure_node(state, first, token, &marks).await }
    });
    futures_util::future::try_join_all(made).await?;
    let _ = context;
    Ok(states)
}

async fn join_workers(
    platform: &Platform,
    states: &[NodeState],
    api: &KubeApi,
    line: &crate::progress::Line,
) -> Result<Vec<String>, CliError> {
    let cluster = &platform.cluster;
    let joining: Vec<&str> = states
        .iter()
        .filter(|state| state.node.role == Role::Worker && !state.initialised)
        .map(|state| state.node.name.as_str())
        .collect();
    if joining.is_empty() {
        return Ok(Vec::new());
    }
    line.tell(&format!("joining {}", joining.join(", ")));
    // The token in the workers' configuration may be of another run than the one that made the cluster.
    let expires = (Timestamp::now() + jiff::SignedDuration::from_hours(24)).to_string();
    let token = cluster.token_of(joining[0]).await?;
    cluster.admit(api, &token, &expires).await?;
    futures_util::future::try_join_all(joining.iter().map(|name| cluster.join(name))).await?;
    Ok(joining.into_iter().map(str::to_owned).collect())
}

async fn write_kubeconfig(
    context: &Context,
    platform: &Platform,
    observed: &Observed,
    first: &str,
    fresh: bool,
    options: Options,
) -> Result<bool, CliError> {
    let own = context.home.kubeconfig(platform.environment.name.as_str());
    let kept = if fresh { None } else { state::read(&own)? };
    let server = format!("https://127.0.0.1:{}\n", observed.api_port);
    let (text, mut written) = match kept.filter(|text| text.contains(&server)) {
        Some(text) => (text, false),
        None => (platform.cluster.kubeconfig(first, observed.api_port).await?, true),
    };
    if written {
        state::write(&own, text.as_bytes(), true)?;
    }
    if !options.no_kubeconfig {
        let path = crate::context::kubeconfig_path()?;
        let theirs = state::read(&path)?.unwrap_or_default();
        if let Some(merged) =
            loko_cluster::kubeconfig::merge(path.as_str(), &theirs, &text).map_err(ClusterError::from)?
        {
            state::write(&path, merged.as_bytes(), true)?;
            written = true;
        }
    }
    Ok(written)
}

/// Whether any container of this environment is there.
pub(crate) fn exists(platform: &Platform, containers: &[ContainerFacts]) -> bool {
    containers
        .iter()
        .any(|container| labels::is_ours(&container.labels, Some(platform.environment.name.as_str())))
}
