//! `loko certs …`

use jiff::Timestamp;
use loko_cluster::certificates::CertificateInfo;
use loko_registry::RegistrySpec;
use serde::Serialize;

use crate::args::Certs;
use crate::context::Context;
use crate::error::CliError;
use crate::trust::{Act, Authority, Host};
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
        Certs::Trust => trust(context),
        Certs::Untrust => untrust(context),
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

/// The system, and Docker for the environment's registry.
fn trust(context: &Context) -> Result<(), CliError> {
    let (_, loaded) = context.load()?;
    certs::ensure(
        &context.home,
        &loaded.environment,
        certs::Mode::Ensure,
        Timestamp::now(),
    )?;
    let Some(authority) = Authority::read(&context.home.authority().0)? else {
        return Ok(());
    };
    let registry = RegistrySpec::of(&loaded.environment)?.map(|spec| spec.reference_host());
    let registries: Vec<String> = registry.into_iter().collect();
    let (acts, notes) = authority.trust(&Host::this().facts(&authority), &registries);
    for note in notes {
        context.progress.say(&note);
    }
    carry_out(context, &acts, &authority)
}

/// All of it, whatever environments there are.
fn untrust(context: &Context) -> Result<(), CliError> {
    let Some(authority) = Authority::read(&context.home.authority().0)? else {
        output::data("nothing to do");
        return Ok(());
    };
    let acts = authority.untrust(&Host::this().facts(&authority));
    carry_out(context, &acts, &authority)
}

/// As root, or what root would do.
fn carry_out(context: &Context, acts: &[Act], authority: &Authority) -> Result<(), CliError> {
    let commands: Vec<String> = acts.iter().map(|act| act.command(authority)).collect();
    if !acts.is_empty() && !rustix::process::geteuid().is_root() {
        return Err(CliError::NeedsRoot { commands });
    }
    Host::this().carry_out(acts, authority)?;
    output::formatted(context.global.output, &commands, || {
        if commands.is_empty() {
            return "nothing to do".to_owned();
        }
        let done: Vec<&str> = commands.iter().map(|line| line.trim_start_matches("sudo ")).collect();
        done.join("\n")
    });
    Ok(())
}
