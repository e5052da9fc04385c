//! `loko env list|use`

use serde::Serialize;

use crate::args::Env;
use crate::context::Context;
use crate::error::CliError;
use crate::{output, state};

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    name: String,
    current: bool,
    domain: Option<String>,
}

/// Lists environments, or chooses one.
pub(crate) fn run(context: &Context, command: &Env) -> Result<(), CliError> {
    match command {
        Env::List => list(context),
        Env::Use { name } => choose(context, name.as_deref()),
    }
}

fn list(context: &Context) -> Result<(), CliError> {
    let current = state::read(&context.home.current())?.unwrap_or_default();
    let rows: Vec<Row> = context
        .home
        .names()
        .into_iter()
        .map(|name| {
            let text = state::read(&context.home.applied(&name))
                .ok()
                .flatten()
                .unwrap_or_default();
            let loaded = loko_config::load(&text, &loko_config::LoadOptions::default()).ok();
            Row {
                current: current.trim() == name,
                domain: loaded.map(|loaded| loaded.environment.network.domain.to_string()),
                name,
            }
        })
        .collect();
    output::formatted(context.global.output, &rows, || {
        let mark = |row: &Row| if row.current { "*" } else { "" }.to_owned();
        output::table(
            ["", "NAME", "DOMAIN"],
            rows.iter()
                .map(|row| [mark(row), row.name.clone(), row.domain.clone().unwrap_or_default()]),
        )
    });
    Ok(())
}

fn choose(context: &Context, name: Option<&str>) -> Result<(), CliError> {
    let name = name.unwrap_or_default();
    let names = context.home.names();
    if !name.is_empty() && !names.iter().any(|other| other == name) {
        return Err(CliError::NoEnvironment {
            name: name.to_owned(),
            others: names,
        });
    }
    state::write(&context.home.current(), name.as_bytes(), false)
}
