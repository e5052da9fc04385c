//! `loko stop` and `loko start`.

use std::collections::BTreeMap;

use loko_engine::{ContainerFacts, labels};
use loko_haproxy::driver::{Change, Done};
use serde::Serialize;

use crate::args::Create;
use crate::commands::create;
use crate::context::Context;
use crate::error::CliError;
use crate::progress::Outcome;
use crate::{interrupt, output, state, up};

/// Seconds that each container of a pod has: databases write what they hold.
pub(crate) const POD_SECONDS: u64 = 20;
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
    let held = interrupt::hold();
    let progress = &context.progress;
    let free = async {
        let _edge = state::lock_edge(|holder| progress.say(&format!("the edge waits for {holder}")))?;
        let change = Change::Remove(platform.environment.name.clone());
        let report = up::edge(&platform).apply(&change).await?;
        let outcome = match report.done {
            Done::Nothing => Outcome::Unchanged,
            Done::Started | Done::Reloaded | Done::Recreated | Done::Removed => Outcome::Changed("freed".to_owned()),
        };
        Ok(((), outcome))
    };
    held.step(progress, ("routes", "freeing the host's ports"), Box::pin(free))
        .await?;
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
    let is_node = |container: &&ContainerFacts| container.labels.get(labels::ROLE).is_some_and(|role| role == "node");
    let (nodes, edge): (Vec<&ContainerFacts>, Vec<&ContainerFacts>) = running.iter().partition(is_node);
    let end = async {
        let stops = nodes
            .iter()
            .map(|node| platform.cluster.stop_node(&node.name, POD_SECONDS));
        futures_util::future::try_join_all(stops).await?;
        Ok(((), stopped(&nodes)))
    };
    let title = "ending what runs in the nodes, then the nodes";
    held.step(progress, ("nodes", title), Box::pin(end)).await?;
    // Names are answered until nobody can ask any more.
    let end = async {
        let stops = edge
            .iter()
            .map(|container| platform.engine.stop_container(&container.name, EDGE_SECONDS));
        futures_util::future::try_join_all(stops).await?;
        Ok(((), stopped(&edge)))
    };
    held.step(progress, ("edge", "stopping DNS and the UDP relay"), Box::pin(end))
        .await?;
    let stopped = running.into_iter().map(|container| container.name).collect();
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
    // What was asked for is done, but nothing is to follow, such as the start of a restart.
    if held.is_pressed() {
        Err(CliError::Interrupted)
    } else {
        Ok(())
    }
}

fn stopped(containers: &[&ContainerFacts]) -> Outcome {
    let names: Vec<&str> = containers.iter().map(|container| container.name.as_str()).collect();
    match names.as_slice() {
        [] => Outcome::Unchanged,
        names => Outcome::Changed(format!("stopped {}", names.join(", "))),
    }
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
