//! `loko images …`

use loko_cluster::wanted;
use serde::Serialize;

use crate::args::Images;
use crate::context::{self, Context};
use crate::error::CliError;
use crate::output;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    image: String,
    /// What it is for.
    uses: Vec<String>,
}

/// Lists every image that loko.yaml needs; no engine is asked.
pub(crate) fn run(context: &Context, command: &Images) -> Result<(), CliError> {
    let Images::List = command;
    let (_, loaded) = context.load()?;
    let environment = context::catalogue(&context.home)?
        .resolve(&loaded.environment)?
        .environment;
    let rows: Vec<Row> = wanted::all_images(&environment)
        .into_iter()
        .map(|(image, uses)| Row { image, uses })
        .collect();
    output::formatted(context.global.output, &rows, || {
        let lines = rows.iter().map(|row| [row.image.clone(), row.uses.join(", ")]);
        output::table(["IMAGE", "FOR"], lines)
    });
    Ok(())
}
