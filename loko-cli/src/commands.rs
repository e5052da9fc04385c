//! One file a command.

pub(crate) mod bundle;
mod catalog;
mod certs;
mod config;
mod create;
mod destroy;
mod diff;
mod dns;
mod doctor;
mod env;
mod images;
mod logs;
mod port_check;
mod power;
mod recreate;
pub(crate) mod registry;
mod secrets;
mod status;
mod tunnel;
mod validate;
mod version;
mod workloads;

use clap::CommandFactory as _;

use crate::args::{Cli, Command};
use crate::context::Context;
use crate::error::CliError;

/// Runs a command to its end.
pub(crate) fn run(cli: Cli) -> Result<(), CliError> {
    let Cli { global, command } = cli;
    let context = Context::new(global)?;
    let runtime = tokio::runtime::Runtime::new().map_err(|source| CliError::File {
        action: "start the runtime for",
        path: context.home.root().to_owned(),
        source,
    })?;
    let ended = runtime.block_on(async {
        match command {
            Command::Create(options) => Box::pin(create::run(&context, &options)).await,
            Command::Destroy(options) => Box::pin(destroy::run(&context, &options)).await,
            Command::Diff(options) => diff::run(&context, options).await,
            Command::Recreate(options) => Box::pin(recreate::run(&context, &options)).await,
            Command::Start => power::start(&context).await,
            Command::Stop => power::stop(&context).await,
            Command::Restart => {
                power::stop(&context).await?;
                power::start(&context).await
            }
            Command::Status => Box::pin(status::run(&context)).await,
            Command::Logs(options) => logs::run(&context, &options).await,
            Command::Registry(command) => registry::run(&context, command).await,
            Command::Tunnel(command) => tunnel::run(&context, &command).await,
            Command::Workloads(command) => Box::pin(workloads::run(&context, command)).await,
            Command::Catalog(command) => catalog::run(&context, &command),
            Command::Secrets(command) => secrets::run(&context, command).await,
            Command::Dns(command) => dns::run(&context, &command).await,
            Command::Certs(command) => certs::run(&context, &command).await,
            Command::Config(command) => config::run(&context, command).await,
            Command::Validate => Box::pin(validate::run(&context)).await,
            Command::Images(command) => images::run(&context, &command),
            Command::Bundle(command) => bundle::run(&context, command).await,
            Command::Doctor => doctor::run(&context).await,
            Command::Env(command) => env::run(&context, &command),
            Command::Completion { shell } => {
                clap_complete::generate(shell, &mut Cli::command(), "loko", &mut std::io::stdout());
                Ok(())
            }
            Command::Man => {
                let mut page = Vec::new();
                if clap_mangen::Man::new(Cli::command()).render(&mut page).is_ok() {
                    crate::output::data(&String::from_utf8_lossy(&page));
                }
                Ok(())
            }
            Command::Version => version::run(&context).await,
        }
    });
    // What was ended before its end may still have something under way on another thread.
    runtime.shutdown_background();
    ended
}
