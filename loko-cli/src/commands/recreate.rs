//! `loko recreate`, and `create --recreate`: the nodes anew, with everything that is kept outside them.

use crate::args::{Create, Recreate};
use crate::commands::{create, destroy, diff};
use crate::context::{Context, Platform};
use crate::error::CliError;
use crate::find::Source;
use crate::up;

/// Runs the command.
pub(crate) async fn run(context: &Context, options: &Recreate) -> Result<(), CliError> {
    create::run(context, &as_create(options.clone())).await
}

/// The `create` that it is.
fn as_create(options: Recreate) -> Create {
    let Recreate {
        purge,
        bundle,
        no_kubeconfig,
        no_resolver,
    } = options;
    Create {
        recreate: true,
        purge,
        bundle,
        no_kubeconfig,
        no_resolver,
        ..Create::default()
    }
}

/// Asks, then takes away what is made anew: the nodes, and with `purge` the data. Where loko.yaml has another name than when
/// it was last applied, the environment of the old name goes as a whole.
pub(crate) async fn clear(
    context: &Context,
    platform: &Platform,
    renamed: Option<&str>,
    purge: bool,
) -> Result<(), CliError> {
    let name = platform.environment.name.as_str();
    if let Some(old) = renamed {
        context.confirm(&format!(
            "replace the environment {old} by {name}? {old} is destroyed, and with it its workloads' data and its registry's images"
        ))?;
        let waits = |holder: &str| context.progress.say(&format!("{old} waits for {holder}"));
        let _lock = context.home.lock_environment(old, waits)?;
        let path = context.home.applied(old);
        let bytes = fs_err::read(&path).map_err(|source| CliError::File {
            action: "read",
            path: path.clone(),
            source,
        })?;
        let source = Source { path, bytes };
        let loaded = crate::find::load(&source, &context.home, false)?;
        let former = context.platform_of(source, loaded.environment).await?;
        destroy::everything(context, &former, true).await?;
        context.progress.say(&format!("{old} is gone"));
    }
    let containers = platform.cluster.containers().await?;
    if !up::exists(platform, &containers) {
        return Ok(());
    }
    let moved = diff::before(context, platform)?
        .map(|before| before.network.domain)
        .filter(|domain| *domain != platform.environment.network.domain)
        .map(|old| {
            format!(
                ", and its names move from {old} to {}",
                platform.environment.network.domain
            )
        })
        .unwrap_or_default();
    let data = if purge {
        "what runs in them is lost, and so are the workloads' data and the registry's images"
    } else {
        "what was made in the cluster by hand is lost, the workloads' data and the registry's images stay"
    };
    context.confirm(&format!("make the nodes of {name} anew? {data}{moved}"))?;
    destroy::remove_nodes(platform).await?;
    if purge {
        destroy::remove_data(platform).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    #[test]
    fn every_option_of_recreate_is_one_of_create() {
        let words = ["--purge", "--bundle", "all.tar", "--no-kubeconfig", "--no-resolver"];
        let parsed = |command: &[&str]| {
            Cli::try_parse_from([&["loko"], command, &words].concat())
                .unwrap()
                .command
        };
        let Command::Recreate(recreate) = parsed(&["recreate"]) else {
            panic!()
        };
        let Command::Create(create) = parsed(&["create", "--recreate"]) else {
            panic!()
        };
        assert_eq!(format!("{:?}", as_create(recreate)), format!("{create:?}"));
    }
}
