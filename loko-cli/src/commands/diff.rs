//! `loko diff`, and `create --dry-run`: what create would do, from what is there.

use camino::Utf8PathBuf;
use loko_config::{Environment, LoadOptions};

use crate::args::Diff;
use crate::context::{Context, Platform};
use crate::error::CliError;
use crate::output;
use crate::plan::Plan;
use crate::up::{self, Observed, Options};
use crate::{find, preflight, state};

/// Prints the plan; fails where it is not empty, as `diff` does.
pub(crate) async fn run(context: &Context, options: Diff) -> Result<(), CliError> {
    let Diff {
        no_kubeconfig,
        no_resolver,
    } = options;
    let options = Options {
        no_kubeconfig,
        no_resolver,
    };
    let platform = context.platform().await?;
    let observed = up::observe(&platform).await?;
    let plan = show(context, &platform, &observed, options).await?;
    if plan.is_empty() {
        return Ok(());
    }
    Err(CliError::Differs {
        environment: plan.environment,
        count: plan.changes.len() + plan.unknown.len(),
    })
}

/// Prints the plan, and returns it.
pub(crate) async fn show(
    context: &Context,
    platform: &Platform,
    observed: &Observed,
    options: Options,
) -> Result<Plan, CliError> {
    preflight::check(context, platform, observed).await?;
    let before = before(context, platform)?;
    let ahead = Box::pin(up::ahead(context, platform, observed, options, before.as_ref())).await?;
    let ahead = Box::pin(ahead.with_charts(context, platform)).await?;
    output::formatted(context.global.output, &ahead.plan, || ahead.plan.text());
    Ok(ahead.plan)
}

/// loko.yaml as it was last applied, where it can still be read.
pub(crate) fn before(context: &Context, platform: &Platform) -> Result<Option<Environment>, CliError> {
    let text = state::read(&context.home.applied(platform.environment.name.as_str()))?;
    let options = LoadOptions {
        directory: find::directory(&platform.source, &context.home).map(Utf8PathBuf::into_string),
        environment_variables: std::env::vars().collect(),
        ..LoadOptions::default()
    };
    Ok(text.and_then(|text| Some(loko_config::load(&text, &options).ok()?.environment)))
}
