//! Reads the facts of a status, all at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use jiff::Timestamp;
use loko_cluster::ObjectKey;
use loko_cluster::driver::KubeApi;
use loko_cluster::nodes::{self, Role};
use loko_config::model::Source;
use loko_dns::probe::{Kind, Limits};
use loko_engine::{ContainerFacts, ContainerState};
use loko_registry::{RegistrySpec, manifests};
use serde_json::Value;

use super::{InCluster, Item, State, Status, container, in_cluster, verdict};
use crate::context::{Context, Platform};
use crate::error::CliError;
use crate::{state, up};

/// Reads and judges.
pub(crate) async fn read(context: &Context, platform: &Platform) -> Result<Status, CliError> {
    let environment = &platform.environment;
    let containers = platform.cluster.containers().await?;
    let names: Vec<(String, Role, u8)> = nodes::names(environment).collect();
    let kubeconfig = state::read(&context.home.kubeconfig(environment.name.as_str()))?;
    let api = match &kubeconfig {
        Some(text) => KubeApi::new(text).await.ok(),
        None => None,
    };
    let ready = match &api {
        Some(api) => api.is_ready().await,
        None => false,
    };
    // One control plane that runs speaks for all.
    let planes = names.iter().filter(|(_, role, _)| *role == Role::ControlPlane);
    let mut planes: Vec<&ContainerFacts> = planes.filter_map(|(name, ..)| find(&containers, name)).collect();
    planes.sort_by_key(|facts| !facts.is_running());
    let first = planes.first().copied();
    let cluster = cluster(platform, first, ready);
    let api = api.filter(|_| ready);
    let now = Timestamp::now();
    let started = first.and_then(|facts| age(&facts.started_at, now));
    let view = View {
        api: api.as_ref(),
        state: cluster.state,
        now,
        started,
    };

    let (nodes, dns, edge, traefik, metrics, registry, workloads) = futures_util::join!(
        view.nodes(&names, &containers),
        dns(platform, &containers),
        edge(platform),
        view.component("traefik", "DaemonSet", "loko-system"),
        metrics(&view, platform),
        registry(&view, platform),
        view.workloads(platform),
    );
    let components = vec![dns, edge, traefik, metrics, registry];
    let mut status = Status {
        environment: environment.name.to_string(),
        domain: environment.network.domain.to_string(),
        address: platform.address.to_string(),
        verdict: State::Up,
        summary: String::new(),
        cluster,
        nodes,
        components,
        workloads,
    };
    (status.verdict, status.summary) = verdict(status.items());
    if !up::exists(platform, &containers) {
        "it was never created, or was destroyed; `loko create` brings it up".clone_into(&mut status.summary);
    } else if first.is_none() {
        "its nodes are gone, removed by something else than loko; `loko create` makes them anew"
            .clone_into(&mut status.summary);
    }
    Ok(status)
}

fn find<'a>(containers: &'a [ContainerFacts], name: &str) -> Option<&'a ContainerFacts> {
    containers.iter().find(|container| container.name == name)
}

/// Seconds since a time as the engine or the API writes it.
fn age(at: &str, now: Timestamp) -> Option<i64> {
    Some(now.as_second() - at.parse::<Timestamp>().ok()?.as_second())
}

fn cluster(platform: &Platform, first: Option<&ContainerFacts>, ready: bool) -> Item {
    let version = platform.environment.cluster.kubernetes.tag.as_str();
    let name = format!("Kubernetes {version}");
    if ready {
        return container(&name, first.map(|facts| facts.state), None, "the API answers");
    }
    let young = first
        .and_then(|facts| age(&facts.started_at, Timestamp::now()))
        .is_some_and(|age| age < super::GRACE);
    let mut item = container(
        &name,
        first.map(|facts| facts.state),
        Some("the API does not answer"),
        "",
    );
    if item.state == State::Down && young && first.is_some() {
        item.state = State::Starting;
    }
    item
}

/// What the cluster is looked at through.
struct View<'a> {
    api: Option<&'a KubeApi>,
    state: State,
    now: Timestamp,
    started: Option<i64>,
}

impl View<'_> {
    async fn get(&self, key: &ObjectKey) -> Option<Value> {
        let mut object = self.api?.get(key).await.ok()??;
        object["kind"] = key.kind.clone().into();
        Some(object)
    }

    /// Whatever started last: the object, or the node below it.
    fn age_of(&self, object: Option<&Value>) -> Option<i64> {
        let created = object?.pointer("/metadata/creationTimestamp")?.as_str()?;
        let own = age(created, self.now)?;
        Some(self.started.map_or(own, |started| own.min(started)))
    }

    async fn one(&self, name: &str, key: &ObjectKey, addresses: Vec<String>) -> Item {
        let object = self.get(key).await;
        let age = self.age_of(object.as_ref());
        in_cluster(
            InCluster {
                name: name.to_owned(),
                object,
                age,
                addresses,
            },
            self.state,
        )
    }

    async fn component(&self, name: &str, kind: &str, namespace: &str) -> Item {
        let key = ObjectKey {
            api_version: "apps/v1".to_owned(),
            kind: kind.to_owned(),
            namespace: Some(namespace.to_owned()),
            name: name.to_owned(),
        };
        self.one(name, &key, Vec::new()).await
    }

    async fn nodes(&self, names: &[(String, Role, u8)], containers: &[ContainerFacts]) -> Vec<Item> {
        let items = names.iter().map(|(name, role, _)| async move {
            let facts = find(containers, name);
            let running = facts.is_some_and(ContainerFacts::is_running);
            if !running {
                return container(name, facts.map(|facts| facts.state), None, "");
            }
            let key = ObjectKey {
                api_version: "v1".to_owned(),
                kind: "Node".to_owned(),
                namespace: None,
                name: name.clone(),
            };
            let mut item = self.one(name, &key, Vec::new()).await;
            if item.state == State::Up {
                role.as_str().clone_into(&mut item.detail);
            }
            item
        });
        futures_util::future::join_all(items).await
    }

    async fn workloads(&self, platform: &Platform) -> Vec<Item> {
        let environment = &platform.environment;
        let has_charts = environment
            .enabled_workloads()
            .any(|workload| matches!(workload.source, Source::Chart(_)));
        let mut charts = BTreeMap::new();
        if let (Some(api), true) = (self.api, has_charts) {
            charts = api.release_objects().await.unwrap_or_default();
        }
        let namespace = environment.workloads.namespace.as_str();
        let items = environment.enabled_workloads().map(|workload| {
            let name = workload.name.to_string();
            let addresses = up::addresses_of(platform, workload);
            let of_chart = charts.get(&(namespace.to_owned(), name.clone()));
            async move {
                if !matches!(workload.source, Source::Chart(_)) {
                    return self
                        .one(&name, &up::workload_key(environment, workload), addresses)
                        .await;
                }
                self.chart(
                    &name,
                    namespace,
                    of_chart.map(Vec::as_slice).unwrap_or_default(),
                    addresses,
                )
                .await
            }
        });
        futures_util::future::join_all(items).await
    }

    /// A chart is as well as the worst of its objects; one without any, as its release.
    async fn chart(&self, name: &str, namespace: &str, keys: &[ObjectKey], addresses: Vec<String>) -> Item {
        let whole = |state, detail: &str| Item {
            name: name.to_owned(),
            state,
            detail: detail.to_owned(),
            addresses: addresses.clone(),
        };
        let Some(api) = self.api else {
            return whole(self.state, "the Kubernetes API does not answer");
        };
        let releases = api.releases().await.unwrap_or_default();
        let release = releases
            .iter()
            .find(|one| one.name == name && one.namespace == namespace);
        match release.map(|release| release.status.as_str()) {
            None => return whole(State::Down, "its chart is not installed; `loko create` installs it"),
            Some("deployed") => {}
            Some(status) => return whole(State::Down, &format!("its release is {status}; `loko create` mends it")),
        }
        let objects = keys.iter().map(|key| self.one(name, key, addresses.clone()));
        let objects = futures_util::future::join_all(objects).await;
        let worst = objects.into_iter().max_by_key(|item| item.state);
        worst.unwrap_or_else(|| whole(State::Up, "installed"))
    }
}

/// metrics-server is up when the metrics API answers, not when its pod is ready: it needs two readings first.
async fn metrics(view: &View<'_>, platform: &Platform) -> Item {
    const NAME: &str = "metrics-server";
    if !platform.environment.components.metrics_server.enabled {
        return disabled(NAME);
    }
    let mut item = view.component(NAME, "Deployment", "loko-system").await;
    if item.state != State::Up {
        return item;
    }
    let Some(api) = view.api else { return item };
    let answer = api.text("/apis/metrics.k8s.io/v1beta1/nodes").await;
    let has_figures = answer
        .ok()
        .and_then(|text| serde_json::from_str::<Value>(&text).ok())
        .is_some_and(|list| list["items"].as_array().is_some_and(|items| !items.is_empty()));
    if !has_figures {
        let key = ObjectKey {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            namespace: Some("loko-system".to_owned()),
            name: NAME.to_owned(),
        };
        let object = view.get(&key).await;
        let young = view.age_of(object.as_ref()).is_some_and(|age| age < super::GRACE);
        item.state = if young { State::Starting } else { State::Down };
        "it has no figures yet".clone_into(&mut item.detail);
    }
    item
}

fn disabled(name: &str) -> Item {
    Item {
        name: name.to_owned(),
        state: State::Disabled,
        detail: "switched off".to_owned(),
        addresses: Vec::new(),
    }
}

async fn registry(view: &View<'_>, platform: &Platform) -> Item {
    let Ok(Some(spec)) = RegistrySpec::of(&platform.environment) else {
        return disabled("registry");
    };
    let mut item = view.component(manifests::NAME, "Deployment", "loko-system").await;
    item.addresses.push(format!("https://{}", spec.reference_host()));
    item
}

async fn dns(platform: &Platform, containers: &[ContainerFacts]) -> Item {
    let environment = &platform.environment;
    let name = loko_dns::container::name(&environment.name);
    let facts = find(containers, &name);
    let running = facts.is_some_and(|facts| facts.state == ContainerState::Running);
    let port = facts.and_then(loko_dns::container::kept_port);
    let (Some(port), true) = (port, running) else {
        return container("dnsmasq", facts.map(|facts| facts.state), None, "");
    };
    let server = SocketAddr::new(platform.address, port.get());
    let asked = format!("loko.{}", environment.network.domain);
    let answered = loko_dns::probe::ask(server, &asked, Kind::of(platform.address), Limits::default()).await;
    let problem = answered
        .err()
        .map(|error| format!("does not answer at {server}: {error}"));
    let mut item = container(
        "dnsmasq",
        Some(ContainerState::Running),
        problem.as_deref(),
        &format!("*.{}", environment.network.domain),
    );
    item.addresses.push(format!("dns://{server}"));
    item
}

async fn edge(platform: &Platform) -> Item {
    const NAME: &str = "haproxy";
    let status = match up::edge(platform).status().await {
        Ok(status) => status,
        Err(error) => {
            return container(NAME, Some(ContainerState::Running), Some(&error.to_string()), "");
        }
    };
    let environment = &platform.environment;
    let Some(routes) = status.routes.get(&environment.name) else {
        return container(NAME, None, None, "");
    };
    let name = &environment.name;
    let problem = match (status.current, status.statistics.as_ref()) {
        _ if status.away.contains(name) => Some(format!(
            "{} is no address of this host any more; `loko create` finds the new one",
            routes.address
        )),
        (None, _) | (_, None) => Some("its statistics do not answer".to_owned()),
        (Some(false), _) => Some("it serves another configuration than its file; `loko create` mends it".to_owned()),
        (Some(true), Some(statistics)) => {
            let nodes = statistics.nodes(&environment.name);
            let up = nodes.values().filter(|health| health.up).count();
            let relay = routes.udp.is_empty() || status.relays.contains(name);
            match (up, relay) {
                (0, _) => Some("no node answers its checks".to_owned()),
                (_, false) => Some("the relay of its UDP ports does not run; `loko create` mends it".to_owned()),
                (_, true) => None,
            }
        }
    };
    let mut detail = format!("{} TCP ports", 2 + routes.tcp.len());
    if !routes.udp.is_empty() {
        detail = format!("{detail}, {} UDP", routes.udp.len());
    }
    let mut item = container(NAME, status.container, problem.as_deref(), &detail);
    item.addresses = vec![
        format!("tcp://{}:{}", routes.address, routes.http),
        format!("tcp://{}:{}", routes.address, routes.https),
    ];
    item
}
