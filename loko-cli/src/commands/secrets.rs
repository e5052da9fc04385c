//! `loko secrets show|rotate`

use std::collections::BTreeMap;

use crate::args::{Create, Secrets};
use crate::commands::create;
use crate::context::Context;
use crate::error::CliError;
use crate::{output, secrets, up};

/// Runs one of the commands.
pub(crate) async fn run(context: &Context, command: Secrets) -> Result<(), CliError> {
    match command {
        Secrets::Show { workload, reveal } => show(context, workload.as_deref(), reveal),
        Secrets::Rotate { workload } => rotate(context, workload.as_str()).await,
    }
}

/// Makes the secrets of a workload anew, and where the environment is up has the workload follow.
async fn rotate(context: &Context, workload: &str) -> Result<(), CliError> {
    let platform = context.platform().await?;
    context.confirm(&format!(
        "make the secrets of {workload} anew? whoever uses the old ones is locked out"
    ))?;
    let made = secrets::rotate(context, &platform, workload)?;
    context
        .progress
        .say(&format!("made anew for {workload}: {}", made.join(", ")));
    if !up::exists(&platform, &platform.cluster.containers().await?) {
        return Ok(());
    }
    create::run(context, &Create::default()).await
}

/// Prints secrets; hidden unless they are to be revealed.
fn show(context: &Context, workload: Option<&str>, reveal: bool) -> Result<(), CliError> {
    let (_, loaded) = context.load()?;
    let all = secrets::read(context, loaded.environment.name.as_str())?;
    let shown: BTreeMap<&str, BTreeMap<&str, &str>> = all
        .workloads()
        .filter(|name| workload.is_none_or(|wanted| wanted == *name))
        .map(|name| {
            let fields = all
                .of(name)
                .map(|(field, secret)| (field, if reveal { secret.reveal() } else { "••••" }));
            (name, fields.collect())
        })
        .collect();
    if let (Some(workload), true) = (workload, shown.is_empty()) {
        return Err(CliError::Usage {
            message: format!("`{workload}` has no secrets in {}", loaded.environment.name),
            help: "`loko create` makes them; `loko secrets show` lists all".to_owned(),
        });
    }
    output::formatted(context.global.output, &shown, || {
        let rows = shown.iter().flat_map(|(name, fields)| {
            fields
                .iter()
                .map(|(field, secret)| [(*name).to_owned(), (*field).to_owned(), (*secret).to_owned()])
        });
        output::table(["WORKLOAD", "FIELD", "SECRET"], rows)
    });
    Ok(())
}
