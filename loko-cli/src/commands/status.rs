//! `loko status`

use crate::context::Context;
use crate::error::CliError;
use crate::output;
use crate::status::{self, Item, State, Status};

/// Prints what runs and what does not. Fails, with exit code 3, where something is down.
pub(crate) async fn run(context: &Context) -> Result<(), CliError> {
    let platform = context.platform().await?;
    let status = status::read(context, &platform).await?;
    output::formatted(context.global.output, &status, || text(&status));
    match status.verdict {
        State::Up | State::Disabled | State::Starting => Ok(()),
        State::Stopped | State::Down => Err(CliError::Down {
            summary: format!("{}: {}", status.environment, status.summary),
        }),
    }
}

fn text(status: &Status) -> String {
    let row = |kind: &str, item: &Item| {
        let addresses = item.addresses.join(" ");
        [
            kind.to_owned(),
            item.name.clone(),
            item.state.as_str().to_owned(),
            item.detail.clone(),
            addresses,
        ]
    };
    let mut rows = vec![row("cluster", &status.cluster)];
    rows.extend(status.nodes.iter().map(|item| row("node", item)));
    rows.extend(status.components.iter().map(|item| row("component", item)));
    rows.extend(status.workloads.iter().map(|item| row("workload", item)));
    let table = output::table(["KIND", "NAME", "STATE", "DETAIL", "ADDRESS"], rows);
    format!(
        "{} ({}, {}): {}, {}\n\n{table}",
        status.environment,
        status.domain,
        status.address,
        status.verdict.as_str(),
        status.summary
    )
}
