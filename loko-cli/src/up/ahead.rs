//! What the steps would do: each component's facts, compared as its step compares them, and nothing after it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal as _;
use std::sync::Arc;

use futures_util::future::try_join_all;
use jiff::Timestamp;
use loko_cluster::driver::{KubeApi, NodeState};
use loko_cluster::plan::ObjectPlan;
use loko_cluster::secrets::Secrets;
use loko_cluster::{ClusterError, ObjectKey, wanted};
use loko_config::Environment;
use loko_dns::resolver;
use loko_dns::resolver::host::Host;
use loko_engine::container::ContainerChange;
use loko_engine::subnet::{self, Division};
use loko_haproxy::driver::Change as EdgeChange;
use loko_haproxy::routes::Routes;

use super::{Observed, Options, Up, nodes, ready};
use crate::certs::{self, Certificates};
use crate::context::{Context, Platform};
use crate::error::CliError;
use crate::plan::{self, Action, Change, Plan};
use crate::progress::Outcome;
use crate::steps::{Runner, StepReport, nothing, to_run};
use crate::{host, secrets, state};

/// A plan, and what tells whether all is well where it is empty.
#[derive(Debug)]
pub(crate) struct Ahead {
    /// What would be done.
    pub(crate) plan: Plan,
    /// The cluster, where it answers, and the objects that take time.
    ready: Option<Ready>,
}

/// What is waited for.
#[derive(Debug)]
struct Ready {
    api: KubeApi,
    keys: Vec<ObjectKey>,
    /// Whose the objects of charts are.
    charts: BTreeMap<ObjectKey, String>,
}

/// What was found of a cluster.
#[derive(Default)]
struct Found {
    changes: Vec<Change>,
    unknown: Vec<String>,
    ready: Option<Ready>,
}

/// Looks at every component and changes nothing. `before` is loko.yaml as it was last applied.
pub(crate) async fn ahead(
    context: &Context,
    platform: &Platform,
    observed: &Observed,
    options: Options,
    before: Option<&Environment>,
) -> Result<Ahead, CliError> {
    let first = super::first_of(platform);
    let up = Up {
        context,
        platform,
        observed,
        options,
        first: &first,
    };
    let certificates = certs::ensure(
        &context.home,
        &platform.environment,
        certs::Mode::Look,
        Timestamp::now(),
    )?;
    let (secrets, made) = secrets::ahead(context, platform)?;
    let mut changes: Vec<Change> = Vec::new();
    if let Some(reason) = &certificates.issued {
        let what = format!("*.{}", platform.environment.network.domain);
        changes.push(Change::live("certificates", Action::Create, what, reason.as_str()));
    }
    let secret = |name| Change::live("secrets", Action::Create, format!("secret {name}"), "there is none yet");
    changes.extend(made.into_iter().map(secret));
    let network = platform.cluster.network().await?;
    if network.is_none() {
        let what = format!("network {}", loko_cluster::nodes::NETWORK);
        changes.push(Change::live("network", Action::Create, what, "it is not there"));
    }
    let division = network.or_else(|| subnet::choose(&host::routes()).and_then(subnet::divide));
    let certificates = Arc::new(certificates);
    let (cluster, dns, edge) = futures_util::try_join!(
        Box::pin(up.cluster_ahead(network, division, certificates, &secrets, before)),
        up.dns_ahead(),
        up.edge_ahead(division),
    )?;
    changes.extend(cluster.changes);
    changes.extend(dns);
    changes.extend(edge);
    if !nodes::kubeconfig_is_written(up)? {
        let what = format!("context kind-{}", platform.environment.cluster_name());
        let reason = "the kubeconfigs lack it, or have another";
        changes.push(Change::live("kubeconfig", Action::Update, what, reason));
    }
    Ok(Ahead {
        plan: Plan::new(platform.environment.name.as_str(), changes, cluster.unknown),
        ready: cluster.ready,
    })
}

impl Ahead {
    /// The same, where Helm is asked what each chart that changes does to its objects. It fetches what it has to render.
    pub(crate) async fn with_charts(mut self, context: &Context, platform: &Platform) -> Result<Self, CliError> {
        if let Some(Ready { api, .. }) = &self.ready {
            let (changes, unknown) = super::workloads::in_detail(context, platform, api).await?;
            let Plan {
                environment,
                changes: known,
                unknown: more,
            } = self.plan;
            let changes = known.into_iter().chain(changes).collect();
            self.plan = Plan::new(&environment, changes, more.into_iter().chain(unknown).collect());
        }
        Ok(self)
    }
}

/// Waits until all is well, where nothing is to be done.
pub(crate) async fn settle(context: &Context, platform: &Platform, ahead: Ahead) -> Result<Vec<StepReport>, CliError> {
    let Some(Ready { api, keys, charts }) = ahead.ready else {
        return Ok(Vec::new());
    };
    let run = Runner::new(context.progress.clone());
    let step = run.step(
        "ready",
        "waiting until everything answers",
        nothing(),
        move |(), line| async move {
            ready::wait(context, platform, &api, &keys, &charts, &line).await?;
            Ok(((), Outcome::Unchanged))
        },
    );
    run.run(vec![to_run(&step)]).await
}

impl Up<'_> {
    async fn cluster_ahead(
        self,
        network: Option<Division>,
        division: Option<Division>,
        certificates: Arc<Certificates>,
        secrets: &Secrets,
        before: Option<&Environment>,
    ) -> Result<Found, CliError> {
        let Self { platform, observed, .. } = self;
        let environment = &platform.environment;
        let mut found = Found::default();
        let Some(division) = division else {
            found.unknown.push("the cluster: no subnet is free for it".to_owned());
            return Ok(found);
        };
        let states = platform
            .cluster
            .observe(&division, &observed.containers, &self.node_input(&division).await?)
            .await?;
        let is_made = |state: &NodeState| state.node.name == self.first && state.initialised;
        let made = network.is_some() && states.iter().any(is_made);
        let settings = match before {
            Some(before) if made => plan::cluster::settings(before, environment),
            Some(_) | None => Vec::new(),
        };
        let surplus = loko_cluster::nodes::surplus(environment, &observed.containers);
        found
            .changes
            .extend(plan::cluster::nodes(&states, &surplus, !settings.is_empty()));
        let balancer = platform
            .cluster
            .observe_balancer(&states, &observed.containers, observed.api_port)?;
        found.changes.extend(plan::cluster::balancer(balancer.as_ref()));
        found.changes.extend(settings);
        found.changes.extend(plan::cluster::kubeadm(&states, self.first));
        found.changes.extend(self.node_image_ahead(&states).await?);
        let api = if made { self.api_ahead(&states).await? } else { None };
        match api {
            Some(api) => {
                self.objects_ahead(&mut found, api, &states, division, certificates, secrets)
                    .await?;
            }
            None if made => {
                let why = "the objects in the cluster, labels and taints: its API does not answer";
                found.unknown.push(why.to_owned());
            }
            None => found.changes.extend(self.all_objects(division, certificates, secrets)?),
        }
        Ok(found)
    }

    async fn node_image_ahead(self, states: &[NodeState]) -> Result<Option<Change>, CliError> {
        let made = |state: &NodeState| matches!(state.change, ContainerChange::Create | ContainerChange::Replace);
        let image = self.platform.environment.cluster.kubernetes.reference();
        if !states.iter().any(made) || self.platform.engine.image(&image).await?.is_some() {
            return Ok(None);
        }
        let reason = "the engine does not have it";
        Ok(Some(Change::live(
            "node-image",
            Action::Create,
            format!("image {image}"),
            reason,
        )))
    }

    /// The API, where the first control plane runs and it answers at once.
    async fn api_ahead(self, states: &[NodeState]) -> Result<Option<KubeApi>, CliError> {
        let runs = |state: &NodeState| {
            state
                .facts
                .as_ref()
                .is_some_and(loko_engine::ContainerFacts::is_running)
        };
        if !states.iter().any(|state| state.node.name == self.first && runs(state)) {
            return Ok(None);
        }
        let path = self.context.home.kubeconfig(self.platform.environment.name.as_str());
        match state::read(&path)? {
            Some(text) => Ok(nodes::reachable(&text, self.observed.api_port).await),
            None => Ok(None),
        }
    }

    /// Everything that is compared through the API or inside the nodes.
    async fn objects_ahead(
        self,
        found: &mut Found,
        api: KubeApi,
        states: &[NodeState],
        division: Division,
        certificates: Arc<Certificates>,
        secrets: &Secrets,
    ) -> Result<(), CliError> {
        let cluster = &self.platform.cluster;
        let environment = &self.platform.environment;
        let running = states.iter().filter(|state| state.change == ContainerChange::Nothing);
        let names: Vec<String> = running.map(|state| state.node.name.clone()).collect();
        let hosts = self.wanted_hosts()?;
        let wanted_marks = self.marks(states);
        let (live, held, (marks, closed), (of_charts, charts), hosts) = futures_util::try_join!(
            async { Ok::<_, CliError>(api.live_objects().await?) },
            async { Ok(try_join_all(names.iter().map(|name| cluster.images_in(name))).await?) },
            async { Ok(api.marks_ahead(&wanted_marks).await?) },
            self.charts_ahead(&api),
            try_join_all(names.iter().map(|name| self.hosts_ahead(name, &hosts))),
        )?;
        let first = names.iter().position(|name| name == self.first);
        let none = BTreeSet::new();
        let held_by_first = first.and_then(|first| held.get(first)).unwrap_or(&none);
        let (inputs, mut keys, foundation) = self
            .foundation_ahead(&live, certificates, division, held_by_first)
            .await?;
        let (applied, apply) = self.apply_ahead(&live, &inputs, secrets)?;
        keys.extend(applied.watched);
        keys.extend(charts.keys().cloned());
        let metrics = self.metrics_ahead(&live)?;
        let aside = ObjectPlan {
            objects: applied.aside.into_values().flatten().chain(applied.late).collect(),
            ..ObjectPlan::default()
        };
        let plans = [
            ("foundation", &foundation),
            ("apply", &apply),
            ("metrics", &metrics),
            ("workloads", &aside),
        ];
        let all = plans.iter().flat_map(|(_, plan)| plan.changes());
        let differences = api.differences(all).await;
        let changes = &mut found.changes;
        for (step, plan) in plans {
            changes.extend(plan::objects::objects(step, plan, &live, &differences));
        }
        changes.extend(of_charts);
        let images = self.node_images();
        let loads = cluster.loads(&names, &held, &images).await?;
        changes.extend(plan::objects::images("images", &loads));
        let metrics = wanted::metrics_image(environment).filter(|image| !images.contains(image));
        if let Some(metrics) = metrics {
            let loads = cluster.loads(&names, &held, &[metrics]).await?;
            changes.extend(plan::objects::images("metrics", &loads));
        }
        changes.extend(plan::cluster::marks(&marks));
        changes.extend(closed.into_iter().map(|node| {
            let reason = "no pod may come onto it until services answer there";
            Change::live("services", Action::Update, format!("Node {node}"), reason)
        }));
        for (node, (hosts, authority)) in names.iter().zip(&hosts) {
            changes.extend(plan::objects::registries(node, hosts, authority.is_some()));
        }
        found.ready = Some(Ready { api, keys, charts });
        Ok(())
    }

    /// The objects of a cluster that is yet to be made, but those that the node image brings.
    fn all_objects(
        self,
        division: Division,
        certificates: Arc<Certificates>,
        secrets: &Secrets,
    ) -> Result<Vec<Change>, CliError> {
        let Self { platform, observed, .. } = self;
        let coredns = super::COREDNS_IMAGE.to_owned();
        let inputs = super::Inputs::new(platform, certificates, division.subnet, coredns, BTreeSet::new())?;
        let input = inputs.wanted(platform, &observed.slots);
        let environment = &platform.environment;
        let steps = [
            ("foundation", wanted::foundation(environment, &input)?),
            ("apply", wanted::platform(environment, &input, secrets)?),
            ("metrics", wanted::metrics(environment)?),
        ];
        let charts = super::workloads::wanted_charts(self.context, platform)?
            .into_iter()
            .map(|chart| {
                let what = format!("chart {}", chart.name);
                Change::live("workloads", Action::Create, what, "helm will install it")
            });
        let created = |step, key: ObjectKey| Change::live(step, Action::Create, key.to_string(), "it is not there");
        Ok(steps
            .into_iter()
            .flat_map(|(step, manifests)| manifests.into_iter().map(move |manifest| created(step, manifest.key())))
            .chain(charts)
            .collect())
    }

    async fn dns_ahead(self) -> Result<Vec<Change>, CliError> {
        let Self { platform, options, .. } = self;
        let (engine, name) = (&platform.engine, &platform.environment.name);
        let wanted = platform.environment.network.dns_port;
        let (port, facts) = futures_util::try_join!(
            loko_dns::driver::choose_port(engine, name, platform.address, wanted),
            loko_dns::driver::facts(engine, name),
        )?;
        let zone = super::zone(platform, port);
        let planned = loko_dns::plan::plan(&zone, &super::placement(platform), None, &facts);
        let mut changes: Vec<Change> = plan::edge::dns(&planned).into_iter().collect();
        // Who may neither write nor be asked is told what to do, and nothing is done.
        let may = rustix::process::geteuid().is_root() || std::io::stdin().is_terminal();
        if may && !options.no_resolver {
            let zone = zone.with_names(facts.cluster_names());
            let told = resolver::set(&zone, &Host::this().facts(&zone).await);
            changes.extend(told.iter().flat_map(|told| plan::edge::resolver(&told.actions)));
        }
        Ok(changes)
    }

    async fn edge_ahead(self, division: Option<Division>) -> Result<Vec<Change>, CliError> {
        let Self { platform, observed, .. } = self;
        let placed = match &division {
            Some(division) => loko_cluster::nodes::place(&platform.environment, division, &observed.containers)
                .map_err(ClusterError::from)?,
            None => Vec::new(),
        };
        let upstreams = super::edge::upstreams(platform, &placed);
        let routes = Routes::new(&platform.environment, platform.address, upstreams, &observed.slots);
        let (edge, relay) = (super::edge(platform), super::edge::relay(platform));
        let change = EdgeChange::Put(Box::new(routes.clone()));
        let (haproxy, relay) = futures_util::try_join!(edge.ahead(&change), relay.ahead(&routes))?;
        Ok(plan::edge::way_in(&haproxy, relay))
    }
}
