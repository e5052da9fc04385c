//! `loko stop` and `loko start`.

use std::collections::BTreeMap;

use loko_engine::{ContainerFacts, labels};
use loko_haproxy::driver::Change;
use serde::Serialize;

use crate::args::Create;
use crate::commands::create;
use crate::context::Context;
use crate::error::CliError;
use crate::{output, state, up};

/// Seconds that a node has to end its pods: databases write what they hold.
const NODE_SECONDS: i32 = 20;
/// Seconds that a container of the edge has.
const EDGE_SECONDS: i32 = 3;

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    environment: String,
    stopped: Vec<String>,
}

/// Stops the nodes and frees the host's ports. Everything is kept.
pub(crate) async fn stop(context: &Context) -> Result<(), CliError> {
    let platform = context.platform().await?;
    let name = platform.environment.name.to_string();
    let _lock = context.home.lock_environment(&name, |holder| {
        context.progress.say(&format!("{name} waits for {holder}"));
    })?;
    {
        let _edge = state::lock_edge(|holder| context.progress.say(&format!("the edge waits for {holder}")))?;
        up::edge(&platform)
            .apply(&Change::Remove(platform.environment.name.clone()))
            .await?;
    }
    let ours = BTreeMap::from([
        (labels::ENVIRONMENT.to_owned(), name.clone()),
        (labels::ROLE.to_owned(), String::new()),
    ]);
    let running: Vec<_> = platform
        .engine
        .containers(&ours)
        .await?
        .into_iter()
        .filter(ContainerFacts::is_running)
        .collect();
    let line = context
        .progress
        .start("stop", &format!("stopping {} containers", running.len()));
    let stops = running.iter().map(|container| {
        let is_node = container.labels.get(labels::ROLE).is_some_and(|role| role == "node");
        platform
            .engine
            .stop_container(&container.name, if is_node { NODE_SECONDS } else { EDGE_SECONDS })
    });
    futures_util::future::try_join_all(stops).await?;
    let stopped: Vec<String> = running.into_iter().map(|container| container.name).collect();
    line.done(&crate::progress::Outcome::Changed(format!(
        "{} containers",
        stopped.len()
    )));
    let report = Report {
        environment: name,
        stopped,
    };
    output::formatted(context.global.output, &report, || {
        if report.stopped.is_empty() {
            format!("{}: nothing to do, it is stopped", report.environment)
        } else {
            format!("{} is stopped; `loko start` goes on", report.environment)
        }
    });
    Ok(())
}

/// Starts what was stopped, and brings it to what loko.yaml says.
pub(crate) async fn start(context: &Context) -> Result<(), CliError> {
    let platform = context.platform().await?;
    let containers = platform.cluster.containers().await?;
    if !up::exists(&platform, &containers) {
        return Err(CliError::Down {
            summary: format!(
                "there is nothing to start: {} was never created, or was destroyed",
                platform.environment.name
            ),
        });
    }
    create::run(context, &Create::default()).await
}
