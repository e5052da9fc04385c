//! `loko workloads deploy|undeploy|endpoints|health`: what runs, and how it is reached.

use std::collections::BTreeMap;

use loko_cluster::driver::KubeApi;
use loko_cluster::{ClusterError, plan, workloads};
use loko_config::model::{Source, Workload};
use loko_config::names::WorkloadName;
use serde::Serialize;

use super::find;
use crate::args::Create;
use crate::commands::create;
use crate::context::{Context, Platform};
use crate::error::CliError;
use crate::status::{self, Item, State};
use crate::{output, up};

/// A way into a workload.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Endpoint {
    workload: String,
    /// `https`, `tcp` or `udp`.
    protocol: String,
    /// From the host and from pods: a URL, or host and port.
    address: String,
    /// From pods alone, past the edge: a service and its port.
    service: String,
}

/// How a workload is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Health {
    #[serde(flatten)]
    item: Item,
    /// Whether each way in answers; those over UDP are not asked.
    answers: BTreeMap<String, bool>,
}

/// Those that a name means: one, or all that are enabled.
fn meant<'a>(platform: &'a Platform, name: Option<&WorkloadName>) -> Result<Vec<&'a Workload>, CliError> {
    match name {
        Some(name) => Ok(vec![enabled(platform, name)?]),
        None => Ok(platform.environment.enabled_workloads().collect()),
    }
}

fn enabled<'a>(platform: &'a Platform, name: &WorkloadName) -> Result<&'a Workload, CliError> {
    let workload = find(platform, name)?;
    if workload.enabled {
        return Ok(workload);
    }
    Err(CliError::Usage {
        message: format!("`{name}` is switched off in loko.yaml"),
        help: format!("`loko workloads enable {name} --now` switches it on"),
    })
}

/// Brings the environment to loko.yaml, after a look whether the workload is in it.
pub(super) async fn deploy(context: &Context, name: Option<&WorkloadName>) -> Result<(), CliError> {
    if let Some(name) = name {
        let (_, loaded) = context.load()?;
        let list = &loaded.environment.workloads.list;
        super::among(&loaded.environment.name, list, name)?;
        let is_off = list.iter().any(|one| one.name == *name && !one.enabled);
        if is_off {
            return Err(CliError::Usage {
                message: format!("`{name}` is switched off in loko.yaml"),
                help: format!("`loko workloads enable {name} --now` switches it on"),
            });
        }
    }
    create::run(context, &Create::default()).await
}

/// Takes a workload out of the cluster; loko.yaml, its secrets and its data stay.
pub(super) async fn undeploy(context: &Context, name: &WorkloadName) -> Result<(), CliError> {
    let platform = context.platform().await?;
    let workload = find(&platform, name)?;
    let environment = platform.environment.name.as_str();
    let api = context.api(environment).await?;
    let _lock = context.home.lock_environment(environment, |holder| {
        context.progress.say(&format!("{environment} waits for {holder}"));
    })?;
    let removed = take_away(context, &platform, &api, workload).await?;
    output::formatted(context.global.output, &removed, || {
        if removed.is_empty() {
            return format!("{name} is not in the cluster");
        }
        format!("{name} is taken away, its data is kept; `loko workloads deploy {name}` brings it back")
    });
    Ok(())
}

/// What was taken away, by name.
async fn take_away(
    context: &Context,
    platform: &Platform,
    api: &KubeApi,
    workload: &Workload,
) -> Result<Vec<String>, CliError> {
    let name = workload.name.as_str();
    let mut removed = Vec::new();
    if matches!(workload.source, Source::Chart(_)) {
        let releases = api.releases().await?;
        let own = releases.iter().find(|one| one.workload.as_deref() == Some(name));
        if let Some(release) = own {
            let gone = up::helm(context, platform)
                .uninstall(&release.name, &release.namespace)
                .await;
            gone.map_err(ClusterError::from)?;
            removed.push(format!("chart {name}"));
        }
    }
    let part = workloads::part(name);
    let live = api
        .live_objects()
        .await?
        .into_iter()
        .filter(|(_, object)| object.part == part);
    let plan = plan::objects(Vec::new(), &live.collect());
    api.carry_out(&plan).await?;
    removed.extend(plan.changes().map(|change| change.key().to_string()));
    Ok(removed)
}

/// Every way in.
pub(super) async fn endpoints(context: &Context, name: Option<&WorkloadName>) -> Result<(), CliError> {
    let platform = context.platform().await?;
    let all: Vec<Endpoint> = meant(&platform, name)?
        .into_iter()
        .flat_map(|workload| endpoints_of(&platform, workload))
        .collect();
    output::formatted(context.global.output, &all, || {
        let row = |one: &Endpoint| {
            [
                one.workload.clone(),
                one.protocol.clone(),
                one.address.clone(),
                one.service.clone(),
            ]
        };
        output::table(
            ["WORKLOAD", "PROTOCOL", "ADDRESS", "IN THE CLUSTER"],
            all.iter().map(row),
        )
    });
    Ok(())
}

fn endpoints_of(platform: &Platform, workload: &Workload) -> Vec<Endpoint> {
    let environment = &platform.environment;
    let service = |port: u16| {
        let name = workloads::service_of(workload);
        format!("{name}.{}.svc.cluster.local:{port}", environment.workloads.namespace)
    };
    let endpoint = |protocol: String, address: String, port: u16| Endpoint {
        workload: workload.name.to_string(),
        protocol,
        address,
        service: service(port),
    };
    let http = workload.http.iter().flat_map(|http| {
        let urls = up::urls_of(platform, workload);
        urls.into_iter().map(|url| ("https".to_owned(), url, http.port.get()))
    });
    let ports = workload.ports.iter().map(|port| {
        let address = format!("{}.{}:{}", workload.name, environment.network.domain, port.host_port);
        (port.protocol.to_string(), address, port.port.get())
    });
    http.chain(ports)
        .map(|(protocol, address, port)| endpoint(protocol, address, port))
        .collect()
}

/// How workloads are, in the cluster and through the whole path. Fails, with exit code 4, where one is down.
pub(super) async fn health(context: &Context, name: Option<&WorkloadName>) -> Result<(), CliError> {
    let platform = context.platform().await?;
    let wanted = meant(&platform, name)?;
    let status = status::read(context, &platform).await?;
    let mut found = Vec::new();
    for workload in wanted {
        let Some(item) = status.workloads.iter().find(|item| item.name == workload.name.as_str()) else {
            continue;
        };
        let asked = item.addresses.iter().filter(|address| !address.starts_with("udp://"));
        let answers = asked.map(|address| async {
            let answer = up::ask(context, &platform, address).await;
            (address.clone(), answer)
        });
        let mut item = item.clone();
        let mut answers_by = BTreeMap::new();
        for (address, answer) in futures_util::future::join_all(answers).await {
            if let (Err(why), State::Up) = (&answer, item.state) {
                item.state = State::Down;
                item.detail = format!("{address} does not answer: {why}");
            }
            answers_by.insert(address, answer.is_ok());
        }
        found.push(Health {
            item,
            answers: answers_by,
        });
    }
    output::formatted(context.global.output, &found, || text(&found));
    let down: Vec<&Health> = found.iter().filter(|one| one.item.state > State::Starting).collect();
    let Some(first) = down.first() else { return Ok(()) };
    let names: Vec<&str> = down.iter().map(|one| one.item.name.as_str()).collect();
    Err(CliError::Workload {
        name: names.join(", "),
        reason: first.item.detail.clone(),
        evidence: format!(
            "`loko logs {}` shows what it said; `loko create` mends what it can",
            first.item.name
        ),
    })
}

fn text(found: &[Health]) -> String {
    let row = |one: &Health| {
        let answering = one.answers.values().filter(|answers| **answers).count();
        [
            one.item.name.clone(),
            one.item.state.as_str().to_owned(),
            format!("{answering}/{}", one.answers.len()),
            one.item.detail.clone(),
        ]
    };
    output::table(["NAME", "STATE", "ANSWERS", "DETAIL"], found.iter().map(row))
}
