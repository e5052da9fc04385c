//! `loko certs …`

use jiff::Timestamp;
use loko_cluster::certificates::CertificateInfo;
use serde::Serialize;

use crate::args::Certs;
use crate::context::Context;
use crate::error::CliError;
use crate::{certs, output, state};

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    what: &'static str,
    file: String,
    #[serde(flatten)]
    info: CertificateInfo,
}

/// Runs one of the commands.
pub(crate) async fn run(context: &Context, command: &Certs) -> Result<(), CliError> {
    match command {
        Certs::Show => show(context),
        Certs::Renew => renew(context).await,
    }
}

fn show(context: &Context) -> Result<(), CliError> {
    let (_, loaded) = context.load()?;
    let name = loaded.environment.name.as_str();
    let files = [
        ("authority", context.home.authority().0),
        ("domain", context.home.leaf(name, "tls").0),
        ("registry", context.home.leaf(name, "registry").0),
    ];
    let mut rows = Vec::new();
    for (what, file) in files {
        if let Some(pem) = state::read(&file)? {
            rows.push(Row {
                what,
                file: file.to_string(),
                info: CertificateInfo::read(&pem)?,
            });
        }
    }
    output::formatted(context.global.output, &rows, || {
        let row = |row: &Row| {
            [
                row.what.to_owned(),
                row.info.names.join(" "),
                row.info.not_after.to_string(),
                row.info.fingerprint.clone(),
                row.file.clone(),
            ]
        };
        output::table(
            ["WHAT", "NAMES", "VALID UNTIL", "SHA-256", "FILE"],
            rows.iter().map(row),
        )
    });
    Ok(())
}

/// Issues anew; `create` brings it to where it is used.
async fn renew(context: &Context) -> Result<(), CliError> {
    let (_, loaded) = context.load()?;
    let lock = context
        .home
        .lock_environment(loaded.environment.name.as_str(), |holder| {
            context
                .progress
                .say(&format!("{} waits for {holder}", loaded.environment.name));
        })?;
    certs::ensure(&context.home, &loaded.environment, certs::Mode::Renew, Timestamp::now())?;
    drop(lock);
    crate::commands::create::run(context, &crate::args::Create::default()).await
}
