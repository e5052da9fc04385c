//! When an environment is up: every object is ready, and an HTTPS request by name is answered through the whole path.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use loko_cluster::driver::KubeApi;
use loko_cluster::{ClusterError, ObjectKey, nodes};
use loko_config::model::{Workload, WorkloadPort};
use reqwest::{Certificate, StatusCode};

use crate::context::{Context, Platform};
use crate::error::CliError;
use crate::progress::Line;
use crate::state;

/// Limit for each object; images may have to be pulled meanwhile.
pub(super) const OBJECT_LIMIT: Duration = Duration::from_mins(5);
/// Limit for the way in, once everything behind it is ready.
const PATH_LIMIT: Duration = Duration::from_secs(30);
/// How long a route may be unknown to Traefik, which learns of it by watching.
const ROUTE_LIMIT: Duration = Duration::from_secs(5);

/// Waits for nodes, objects and the way in.
pub(super) async fn wait(
    context: &Context,
    platform: &Platform,
    api: &KubeApi,
    keys: &[ObjectKey],
    line: &Line,
) -> Result<(), CliError> {
    let nodes = nodes::names(&platform.environment).map(|(name, ..)| ObjectKey {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        namespace: None,
        name,
    });
    let all: Vec<ObjectKey> = nodes
        .chain(keys.iter().filter(|key| is_waited_for(key)).cloned())
        .collect();
    try_join_all(all.iter().map(|key| async move {
        let told = |why: &str| line.tell(&format!("{key}: {why}"));
        api.wait_ready(key, OBJECT_LIMIT, told)
            .await
            .map_err(|error| of_workload(platform, key, error))
    }))
    .await?;
    line.tell("asking by name through the whole path");
    let urls = urls(platform);
    let asked = if urls.is_empty() { vec![unnamed(platform)] } else { urls };
    try_join_all(asked.iter().map(|url| answers(context, platform, url))).await?;
    Ok(())
}

/// Not for metrics-server, nor for a mirror that is a program of its own: it starts only once its upstream is reached, and
/// until then nodes ask the upstream themselves.
fn is_waited_for(key: &ObjectKey) -> bool {
    key.name != "metrics-server" && !key.name.starts_with("registry-mirror-")
}

/// A failure of a workload's own object is the workload's.
fn of_workload(platform: &Platform, key: &ObjectKey, error: ClusterError) -> CliError {
    let is_one = platform
        .environment
        .workloads
        .list
        .iter()
        .any(|workload| workload.name.as_str() == key.name);
    let is_there = key.namespace.as_deref() == Some(platform.environment.workloads.namespace.as_str());
    if let (
        true,
        true,
        ClusterError::NotReady {
            reason,
            evidence,
            seconds,
            ..
        },
    ) = (is_one, is_there, &error)
    {
        let reason = format!("{reason} after {seconds} s");
        return CliError::Workload {
            name: key.name.clone(),
            reason,
            evidence: evidence.clone(),
        };
    }
    error.into()
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
fn urls_of(platform: &Platform, workload: &Workload) -> Vec<String> {
    let Some(http) = &workload.http else { return Vec::new() };
    let own = format!("{}.{}", workload.name, platform.environment.network.domain);
    let hosts: Vec<String> = http.hosts.iter().map(ToString::to_string).collect();
    let hosts = if hosts.is_empty() { vec![own] } else { hosts };
    hosts
        .into_iter()
        .map(|host| format!("https://{host}{}", port_suffix(platform)))
        .collect()
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

async fn answers(context: &Context, platform: &Platform, url: &str) -> Result<(), CliError> {
    let unreachable = |reason: String| CliError::Unreachable {
        url: url.to_owned(),
        reason,
    };
    let parsed = reqwest::Url::parse(url).map_err(|error| unreachable(error.to_string()))?;
    let host = parsed.host_str().unwrap_or_default().to_owned();
    let port = platform.environment.network.lb_ports.https.get();
    let (authority, _) = context.home.authority();
    let pem = state::read(&authority)?.unwrap_or_default();
    let root = Certificate::from_pem(pem.as_bytes()).map_err(|error| unreachable(error.to_string()))?;
    // By name, to the edge's address, trusting our authority alone: what a user's client does once DNS is set up.
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([root])
        .resolve(&host, SocketAddr::new(platform.address, port))
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(5))
        .build()
        .map_err(|error| unreachable(error.to_string()))?;
    let started = Instant::now();
    loop {
        let reason = match client.get(url).send().await {
            Ok(response) => {
                let status = response.status();
                let behind = matches!(
                    status,
                    StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
                );
                let unknown = status == StatusCode::NOT_FOUND && started.elapsed() < ROUTE_LIMIT;
                let of_workload = !url.starts_with("https://loko.");
                if !(behind || unknown && of_workload) {
                    return Ok(());
                }
                status.to_string()
            }
            Err(error) => innermost(&error),
        };
        if started.elapsed() > PATH_LIMIT {
            return Err(unreachable(reason));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
