//! `loko secrets show`

use std::collections::BTreeMap;

use crate::args::Secrets;
use crate::context::Context;
use crate::error::CliError;
use crate::{output, secrets};

/// Prints secrets; hidden unless they are to be revealed.
pub(crate) fn run(context: &Context, command: &Secrets) -> Result<(), CliError> {
    let Secrets::Show { workload, reveal } = command;
    let (_, loaded) = context.load()?;
    let all = secrets::read(context, loaded.environment.name.as_str())?;
    let shown: BTreeMap<&str, BTreeMap<&str, &str>> = all
        .workloads()
        .filter(|name| workload.as_deref().is_none_or(|wanted| wanted == *name))
        .map(|name| {
            let fields = all
                .of(name)
                .map(|(field, secret)| (field, if *reveal { secret.reveal() } else { "••••" }));
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
