//! `loko catalog …`

use serde::Serialize;

use crate::args::Catalog;
use crate::context::{self, Context};
use crate::error::CliError;
use crate::output;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    name: String,
    category: String,
    image: String,
    description: String,
}

/// Lists the entries, or prints one.
pub(crate) fn run(context: &Context, command: &Catalog) -> Result<(), CliError> {
    let catalogue = context::catalogue(&context.home)?;
    match command {
        Catalog::List => {
            let mut rows = Vec::new();
            for name in catalogue.names() {
                let entry = catalogue.entry(name)?;
                let category = serde_json::to_value(entry.category).ok();
                rows.push(Row {
                    name: name.to_owned(),
                    category: category
                        .as_ref()
                        .and_then(|c| c.as_str())
                        .unwrap_or_default()
                        .to_owned(),
                    image: entry.reference(),
                    description: entry.description,
                });
            }
            output::formatted(context.global.output, &rows, || {
                let row = |row: &Row| {
                    [
                        row.name.clone(),
                        row.category.clone(),
                        row.image.clone(),
                        row.description.clone(),
                    ]
                };
                output::table(["NAME", "CATEGORY", "IMAGE", "DESCRIPTION"], rows.iter().map(row))
            });
        }
        Catalog::Info { name } => {
            let entry = catalogue.entry(name)?;
            output::formatted(context.global.output, &entry, || {
                loko_config::to_yaml(&serde_json::to_value(&entry).unwrap_or_default())
            });
        }
    }
    Ok(())
}
