//! `loko create`: bring the environment up, or to what loko.yaml says now.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use loko_cluster::nodes::NETWORK;
use loko_cluster::wanted;
use loko_config::Environment;
use loko_engine::subnet;
use serde::Serialize;

use crate::args::{Create, Format};
use crate::commands::{destroy, diff, recreate};
use crate::context::{Context, Platform};
use crate::error::CliError;
use crate::plan::{self, Effect};
use crate::progress::Outcome;
use crate::steps::StepReport;
use crate::up::{self, Inputs, Observed, Options};
use crate::{bundle, certs, output, preflight, secrets};

/// What `create` did.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    environment: String,
    changed: bool,
    seconds: f64,
    steps: Vec<StepReport>,
    urls: Vec<String>,
    address: String,
    kubeconfig: String,
}

/// Runs the command.
pub(crate) async fn run(context: &Context, options: &Create) -> Result<(), CliError> {
    let started = Instant::now();
    let (source, loaded) = context.load()?;
    let environment = switched(loaded.environment, options);
    let mut platform = context.platform_of(source, environment).await?;
    if let Some(file) = &options.bundle {
        platform = bundle::with(platform, file, options.recreate).await?;
    }
    let settings = Options {
        no_kubeconfig: options.no_kubeconfig,
        no_resolver: options.no_resolver,
    };
    if options.dry_run {
        return Box::pin(dry_run(context, &platform, settings)).await;
    }
    let name = platform.environment.name.as_str();
    let renamed = context.home.renamed(&platform.source.path, name)?;
    if let (Some(old), false) = (&renamed, options.recreate) {
        let reason = format!("name: {old} → {name}: this loko.yaml is that of {old}, which is another environment");
        return Err(CliError::NeedsRecreate { reasons: vec![reason] });
    }
    // What is refused is refused before anything is touched, and leaves not even a directory.
    let mut observed = up::observe(&platform).await?;
    if renamed.is_none() {
        preflight::check(context, &platform, &observed).await?;
    }
    let is_new = !context.home.environment(name).exists();
    let mut waited = false;
    let _lock = context.home.lock_environment(name, |holder| {
        waited = true;
        context.progress.say(&format!("{name} waits for {holder}"));
    })?;
    if options.recreate {
        Box::pin(recreate::clear(context, &platform, renamed.as_deref(), options.purge)).await?;
    }
    if waited || options.recreate {
        observed = up::observe(&platform).await?;
        preflight::check(context, &platform, &observed).await?;
    }
    let is_there = up::exists(&platform, &observed.containers);
    // Data that outlived its nodes is not this create's to take back.
    let first = !is_there && !destroy::has_data(&platform).await?;
    let ahead = if is_there {
        let before = diff::before(context, &platform)?;
        let ahead = Box::pin(up::ahead(context, &platform, &observed, settings, before.as_ref())).await?;
        plan::cluster::refuse(&ahead.plan.changes)?;
        for change in ahead.plan.of(Effect::RestartsComponent) {
            context
                .progress
                .say(&format!("{} restarts: {}", change.what, change.reason));
        }
        Some(ahead)
    } else {
        None
    };
    bundle::into_engine(context, &platform).await?;
    // From here on there is something that `-e` can name, whether or not all of it comes up.
    if let Err(error) = context.home.remember(name, &platform.source) {
        if is_new {
            let _ = fs_err::remove_dir_all(context.home.environment(name));
        }
        return Err(error);
    }
    if let Some(ahead) = ahead.and_then(|ahead| ahead.plan.is_empty().then_some(ahead)) {
        let steps = up::settle(context, &platform, ahead).await?;
        report(context, &platform, steps, started);
        return Ok(());
    }
    let steps = match Box::pin(up::up(context, &platform, &observed, settings)).await {
        Ok(steps) => steps,
        Err(error) => {
            // Stopped by the user, it goes on from here at the next create.
            if first && !options.keep && !matches!(error, CliError::Interrupted) {
                context.progress.say(&format!(
                    "{name} could not be created; what was made is taken away again"
                ));
                // Why it failed is what is asked for, whatever else fails then.
                if let Err(left) = Box::pin(destroy::everything(context, &platform, false)).await {
                    context.progress.say(&format!(
                        "not all of it could be taken away: {left}; `loko destroy` tries again"
                    ));
                }
            }
            return Err(error);
        }
    };
    report(context, &platform, steps, started);
    Ok(())
}

/// The environment with what the command line switches off.
fn switched(mut environment: Environment, options: &Create) -> Environment {
    let Create {
        disable_metrics_server,
        disable_registry,
        ..
    } = options;
    if *disable_metrics_server {
        environment.components.metrics_server.enabled = false;
    }
    if *disable_registry {
        environment.registry.enabled = false;
    }
    environment
}

fn report(context: &Context, platform: &Platform, steps: Vec<StepReport>, started: Instant) {
    let name = &platform.environment.name;
    let changed = steps.iter().any(|step| step.outcome != Outcome::Unchanged);
    let report = Report {
        environment: name.to_string(),
        changed,
        seconds: started.elapsed().as_secs_f64(),
        steps,
        urls: up::urls(platform),
        address: platform.address.to_string(),
        kubeconfig: context.home.kubeconfig(name.as_str()).to_string(),
    };
    output::formatted(context.global.output, &report, || {
        if !report.changed {
            return format!("{name}: nothing to do ({:.1} s)", report.seconds);
        }
        let mut text = format!("{name} is up ({:.1} s)", report.seconds);
        for url in &report.urls {
            text.push_str("\n  ");
            text.push_str(url);
        }
        for workload in platform.environment.enabled_workloads() {
            for port in &workload.ports {
                let domain = &platform.environment.network.domain;
                let _ = write!(
                    text,
                    "\n  {}.{domain}:{} ({})",
                    workload.name, port.host_port, port.protocol
                );
            }
        }
        text
    });
}

/// What would be done, from what is there; with `-o yaml` the objects themselves.
async fn dry_run(context: &Context, platform: &Platform, settings: Options) -> Result<(), CliError> {
    let observed = up::observe(platform).await?;
    if context.global.output == Format::Yaml {
        preflight::check(context, platform, &observed).await?;
        let manifests = planned(context, platform, &observed)?;
        let documents: Vec<String> = manifests
            .iter()
            .map(|manifest| loko_config::to_yaml(manifest.value()))
            .collect();
        output::data(&documents.join("---\n"));
        return Ok(());
    }
    diff::show(context, platform, &observed, settings).await.map(drop)
}

fn planned(
    context: &Context,
    platform: &Platform,
    observed: &Observed,
) -> Result<Vec<loko_cluster::Manifest>, CliError> {
    let certificates = Arc::new(certs::ensure(
        &context.home,
        &platform.environment,
        certs::Mode::Look,
        Timestamp::now(),
    )?);
    let network = observed
        .containers
        .iter()
        .find_map(|container| match container.addresses.get(NETWORK)? {
            std::net::IpAddr::V4(address) => ipnet::Ipv4Net::new(*address, 24).ok().map(|net| net.trunc()),
            std::net::IpAddr::V6(_) => None,
        })
        .or_else(|| subnet::choose(&crate::host::routes()))
        .unwrap_or_default();
    let inputs = Inputs::new(
        platform,
        certificates,
        network,
        up::COREDNS_IMAGE.to_owned(),
        BTreeSet::new(),
    )?;
    let input = inputs.wanted(platform, &observed.slots);
    let mut manifests = wanted::foundation(&platform.environment, &input)?;
    manifests.extend(wanted::platform(
        &platform.environment,
        &input,
        &secrets::read(context, platform.environment.name.as_str())?,
    )?);
    manifests.extend(wanted::metrics(&platform.environment)?);
    Ok(manifests)
}
