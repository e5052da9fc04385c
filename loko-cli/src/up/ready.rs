//! When an environment is up: every object is ready, and an HTTPS request by name is answered through the whole path.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::{join_all, try_join_all};
use jiff::Timestamp;
use loko_cluster::driver::KubeApi;
use loko_cluster::{ClusterError, ObjectKey, nodes};
use loko_config::Environment;
use loko_config::model::{Protocol, Workload, WorkloadPort};
use loko_engine::error::root_cause;
use loko_engine::labels;
use reqwest::{Certificate, StatusCode};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::context::{Context, Platform};
use crate::error::CliError;
use crate::progress::Line;
use crate::state;

/// Limit for each object; images may have to be pulled meanwhile.
pub(super) const OBJECT_LIMIT: Duration = Duration::from_mins(5);
/// Limit for the way in, once everything behind it is ready.
const PATH_LIMIT: Duration = Duration::from_secs(30);
/// Limit for Traefik to answer after its node was started.
const START_LIMIT: Duration = Duration::from_mins(1);
/// How long a route may be unknown to Traefik, which learns of it by watching.
const ROUTE_LIMIT: Duration = Duration::from_secs(5);
/// How long a connection to a TCP port has to stay open to count as one with the workload: Traefik closes it at once where it
/// knows no pod to lead it to.
const HELD: Duration = Duration::from_millis(60);
/// Limit for the pods of a node that was started to tell of themselves.
const TOLD_LIMIT: Duration = Duration::from_mins(2);

/// Waits for nodes, objects and the way in. `charts`: whose the objects of charts are.
pub(super) async fn wait(
    context: &Context,
    platform: &Platform,
    api: &KubeApi,
    keys: &[ObjectKey],
    charts: &BTreeMap<ObjectKey, String>,
    line: &Line,
) -> Result<(), CliError> {
    let nodes = nodes::names(&platform.environment).map(|(name, ..)| ObjectKey {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        namespace: None,
        name,
    });
    told_since_the_start(platform, api, keys, line).await?;
    let all: Vec<ObjectKey> = nodes
        .chain(keys.iter().filter(|key| is_waited_for(key)).cloned())
        .collect();
    let told = |key: &ObjectKey, why: &str| line.tell(&format!("{key}: {why}"));
    let waited = api.wait_all_ready(&all, OBJECT_LIMIT, told).await;
    waited.map_err(|(key, error)| of_workload(platform, charts, &key, error))?;
    let urls = urls(platform);
    routes_are_known(platform, api, line).await;
    line.tell("asking by name through the whole path");
    let asked = if urls.is_empty() { vec![unnamed(platform)] } else { urls };
    try_join_all(asked.iter().map(|url| answers(context, platform, url))).await?;
    let workloads = platform.environment.enabled_workloads();
    let ports = workloads.flat_map(|workload| workload.ports.iter().map(move |port| (workload, port)));
    let ports = ports.filter(|(_, port)| port.protocol == Protocol::Tcp);
    let asked = ports.map(|(workload, port)| async move {
        let stays_open = stays_open(platform, port.host_port.get()).await;
        (!stays_open).then(|| {
            let WorkloadPort { port, host_port, .. } = port;
            let name = &workload.name;
            format!("{name}: connections to port {host_port} are closed at once; does its program listen on {port}?")
        })
    });
    for warning in join_all(asked).await.into_iter().flatten() {
        context.progress.say(&warning);
    }
    Ok(())
}

/// Waits until what the API knows of pods is from after their nodes were started: until a node's kubelet speaks again, its
/// pods are as ready as they were when it was stopped.
async fn told_since_the_start(
    platform: &Platform,
    api: &KubeApi,
    keys: &[ObjectKey],
    line: &Line,
) -> Result<(), CliError> {
    let name = platform.environment.name.as_str();
    let nodes = BTreeMap::from([
        (labels::ENVIRONMENT.to_owned(), name.to_owned()),
        (labels::ROLE.to_owned(), "node".to_owned()),
    ]);
    let nodes = platform.engine.containers(&nodes).await?;
    let started: BTreeMap<String, Timestamp> = nodes
        .into_iter()
        .filter_map(|node| Some((node.name, node.started_at.parse().ok()?)))
        .collect();
    let ours: BTreeSet<(String, String)> = keys
        .iter()
        .filter(|key| is_waited_for(key))
        .filter_map(|key| Some((key.namespace.clone()?, key.name.clone())))
        .collect();
    api.wait_told(&started, &ours, TOLD_LIMIT, |what| line.tell(what)).await;
    Ok(())
}

/// Waits until each Traefik knows a route for each host of the workloads: one that was just started learns them in its own time,
/// and answers 404 until then. Where Traefik does not tell, or knows none for long, the answers that follow are what counts.
async fn routes_are_known(platform: &Platform, api: &KubeApi, line: &Line) {
    let workloads = platform.environment.enabled_workloads();
    let hosts: BTreeSet<String> = workloads
        .flat_map(|workload| hosts_of(platform, workload))
        .filter(|host| !is_of_acme(platform, host))
        .collect();
    let hosts: BTreeSet<&str> = hosts.iter().map(String::as_str).collect();
    let started = Instant::now();
    while !hosts.is_empty() && started.elapsed() < START_LIMIT {
        match api.traefiks_without(&hosts).await {
            Ok(None) => return,
            Ok(Some(told)) => line.tell(&told),
            Err(error) => line.tell(&format!("asking Traefik for its routes: {error}")),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// How many ways lead into the environment: each node has a Traefik of its own, which learns of pods by itself.
fn ways(platform: &Platform) -> usize {
    nodes::names(&platform.environment).count().max(1)
}

/// Waits until connections to a TCP port lead to a workload, by every way. False where they do not: the workload is ready and
/// Traefik answers, so what is left is a route that it has yet to learn of, or a program that does not listen there or closes
/// connections by itself.
async fn stays_open(platform: &Platform, port: u16) -> bool {
    let address = SocketAddr::new(platform.address, port);
    let started = Instant::now();
    loop {
        // Held together, they go to different nodes: HAProxy leads each to the one with the fewest.
        let held = join_all((0..ways(platform)).map(|_| is_held(address))).await;
        if held.into_iter().all(|held| held) {
            return true;
        }
        if started.elapsed() > ROUTE_LIMIT {
            return false;
        }
        tokio::time::sleep(HELD).await;
    }
}

async fn is_held(address: SocketAddr) -> bool {
    let Ok(Ok(mut stream)) = tokio::time::timeout(Duration::from_secs(5), TcpStream::connect(address)).await else {
        return false;
    };
    // An answer before any question is as good as silence: only the end of the stream, or an error, is not.
    match tokio::time::timeout(HELD, stream.read(&mut [0; 1])).await {
        Err(_) => true,
        Ok(read) => read.is_ok_and(|length| length > 0),
    }
}

/// Not for metrics-server, nor for a mirror that is a program of its own: it starts only once its upstream is reached, and
/// until then nodes ask the upstream themselves. Nor for the provisioner of volumes: who needs one waits for it as a part of
/// a workload, and after a `start` it ends once before the cluster's services answer, and is started again 10 s later.
fn is_waited_for(key: &ObjectKey) -> bool {
    !matches!(key.name.as_str(), "metrics-server" | "local-path-provisioner")
        && !key.name.starts_with("registry-mirror-")
}

/// A failure of a workload's own object is the workload's. `charts`: whose the objects of charts are.
pub(super) fn of_workload(
    platform: &Platform,
    charts: &BTreeMap<ObjectKey, String>,
    key: &ObjectKey,
    error: ClusterError,
) -> CliError {
    let environment = &platform.environment;
    let is_there = key.namespace.as_deref() == Some(environment.workloads.namespace.as_str());
    let own = environment.workloads.list.iter().map(|workload| workload.name.as_str());
    let own = own
        .filter(|name| is_there && *name == key.name)
        .map(str::to_owned)
        .next();
    match (charts.get(key).cloned().or(own), error) {
        (
            Some(name),
            ClusterError::NotReady {
                reason,
                image,
                evidence,
                seconds,
                ..
            },
        ) => CliError::Workload {
            name,
            reason: format!("{reason} (after {seconds} s)"),
            evidence: with_places(environment, image.as_deref(), evidence),
        },
        (_, error) => error.into(),
    }
}

/// Evidence, and where an image was looked for that could not be had.
pub(super) fn with_places(environment: &Environment, image: Option<&str>, evidence: String) -> String {
    match image {
        Some(image) => {
            let places = super::registry::looked_for(environment, image);
            format!("{image} was looked for at {places}\n{evidence}")
        }
        None => evidence,
    }
}

/// Every URL of the enabled workloads.
pub(crate) fn urls(platform: &Platform) -> Vec<String> {
    platform
        .environment
        .enabled_workloads()
        .flat_map(|workload| urls_of(platform, workload))
        .collect()
}

/// Every URL of one workload.
pub(crate) fn urls_of(platform: &Platform, workload: &Workload) -> Vec<String> {
    let hosts = hosts_of(platform, workload).into_iter();
    hosts.map(|host| url_of(platform, &host)).collect()
}

/// Every host name of one workload.
fn hosts_of(platform: &Platform, workload: &Workload) -> Vec<String> {
    let Some(http) = &workload.http else { return Vec::new() };
    if http.hosts.is_empty() {
        return vec![format!("{}.{}", workload.name, platform.environment.network.domain)];
    }
    http.hosts.iter().map(ToString::to_string).collect()
}

/// Every way into one workload: its URLs, then its ports, `tcp://valkey.dev.me:6379`.
pub(crate) fn addresses_of(platform: &Platform, workload: &Workload) -> Vec<String> {
    let domain = &platform.environment.network.domain;
    let port = |port: &WorkloadPort| format!("{}://{}.{domain}:{}", port.protocol, workload.name, port.host_port);
    urls_of(platform, workload)
        .into_iter()
        .chain(workload.ports.iter().map(port))
        .collect()
}

/// A URL that no workload has: Traefik answers it, which shows the path.
fn unnamed(platform: &Platform) -> String {
    format!(
        "https://loko.{}{}",
        platform.environment.network.domain,
        port_suffix(platform)
    )
}

fn port_suffix(platform: &Platform) -> String {
    match platform.environment.network.lb_ports.https.get() {
        443 => String::new(),
        port => format!(":{port}"),
    }
}

/// A client that comes to the edge's address by name, trusting our authority alone: what a user's does once DNS is set up.
fn client(context: &Context, platform: &Platform, url: &str) -> Result<reqwest::Client, String> {
    let parsed = reqwest::Url::parse(url).map_err(|error| error.to_string())?;
    let host = parsed.host_str().unwrap_or_default();
    trusting(context, platform, host)?
        .tls_danger_accept_invalid_certs(is_of_acme(platform, host))
        .build()
        .map_err(|error| error.to_string())
}

/// One that finds a host at the edge, and trusts our authority alone.
fn trusting(context: &Context, platform: &Platform, host: &str) -> Result<reqwest::ClientBuilder, String> {
    let port = platform.environment.network.lb_ports.https.get();
    let (authority, _) = context.home.authority();
    let pem = state::read(&authority)
        .map_err(|error| error.to_string())?
        .unwrap_or_default();
    let root = Certificate::from_pem(pem.as_bytes()).map_err(|error| error.to_string())?;
    Ok(reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([root])
        .resolve(host, SocketAddr::new(platform.address, port))
        .redirect(reqwest::redirect::Policy::none())
        // Each request a connection of its own: HAProxy leads them to the nodes in turn.
        .pool_max_idle_per_host(0)
        .timeout(Duration::from_secs(5)))
}

/// Whether an ACME server signs a host's certificate. That may take minutes, and whoever signs it is not known here: where the
/// way leads is asked all the same.
fn is_of_acme(platform: &Platform, host: &str) -> bool {
    let environment = &platform.environment;
    let is_own = loko_dns::zone::is_within(host, environment.network.domain.as_str());
    environment.components.ingress_controller.acme.is_some() && !is_own
}

/// Whether a host is answered for with a certificate that our authority signed, whatever its names. Waits a while for an answer:
/// the way in may be coming up.
pub(super) async fn shows_our_certificate(context: &Context, platform: &Platform, host: &str) -> bool {
    if !answers_so(context, platform, host, START_LIMIT, |status| !is_behind(status)).await {
        return false;
    }
    let Ok(builder) = trusting(context, platform, host) else {
        return false;
    };
    match builder.tls_danger_accept_invalid_hostnames(true).build() {
        Ok(client) => client.get(url_of(platform, host)).send().await.is_ok(),
        Err(_) => false,
    }
}

/// Waits until Traefik knows no route for a host whose certificate an ACME server signs.
pub(super) async fn is_forgotten(context: &Context, platform: &Platform, host: &str) -> bool {
    answers_so(context, platform, host, ROUTE_LIMIT, |status| {
        status == StatusCode::NOT_FOUND
    })
    .await
}

/// Whether a host gives an answer that is looked for, within a limit.
async fn answers_so(
    context: &Context,
    platform: &Platform,
    host: &str,
    limit: Duration,
    wanted: impl Fn(StatusCode) -> bool,
) -> bool {
    let url = url_of(platform, host);
    let Ok(client) = client(context, platform, &url) else {
        return false;
    };
    let started = Instant::now();
    loop {
        if client
            .get(&url)
            .send()
            .await
            .is_ok_and(|answer| wanted(answer.status()))
        {
            return true;
        }
        if started.elapsed() > limit {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn url_of(platform: &Platform, host: &str) -> String {
    format!("https://{host}{}", port_suffix(platform))
}

/// Whether nothing stands behind the way in.
fn is_behind(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}

/// Asks one way in once: a URL, or `tcp://host:port`, as [`addresses_of`] gives them. Fails with the reason.
pub(crate) async fn ask(context: &Context, platform: &Platform, address: &str) -> Result<(), String> {
    if let Some(rest) = address.strip_prefix("tcp://") {
        let port = rest
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok())
            .unwrap_or_default();
        let held = is_held(SocketAddr::new(platform.address, port)).await;
        return if held {
            Ok(())
        } else {
            Err("connections are closed at once".to_owned())
        };
    }
    let asked = client(context, platform, address)?.get(address).send().await;
    let status = asked.map_err(|error| root_cause(&error))?.status();
    if is_behind(status) {
        Err(status.to_string())
    } else {
        Ok(())
    }
}

async fn answers(context: &Context, platform: &Platform, url: &str) -> Result<(), CliError> {
    let unreachable = |reason: String| CliError::Unreachable {
        url: url.to_owned(),
        reason,
    };
    let client = client(context, platform, url).map_err(unreachable)?;
    let started = Instant::now();
    let mut answered = 0;
    loop {
        let reason = match client.get(url).send().await {
            Ok(response) => {
                let status = response.status();
                let unknown = status == StatusCode::NOT_FOUND && started.elapsed() < ROUTE_LIMIT;
                let of_workload = !url.starts_with("https://loko.");
                if !(is_behind(status) || unknown && of_workload) {
                    answered += 1;
                    if answered >= ways(platform) {
                        return Ok(());
                    }
                    continue;
                }
                status.to_string()
            }
            Err(error) => root_cause(&error),
        };
        answered = 0;
        if started.elapsed() > PATH_LIMIT {
            return Err(unreachable(reason));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
