//! `loko doctor`

use std::num::NonZeroU16;

use jiff::Timestamp;
use loko_engine::error::with_causes;
use serde::Serialize;

use crate::context::{Context, Platform};
use crate::doctor::{self, Facts, Finding, Level, Machine, ResolverView, Wanted};
use crate::error::CliError;
use crate::{find, output, preflight, up};

/// What was found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    /// The environment that was looked at; none: what a default one would want.
    environment: Option<String>,
    /// The worst of the findings.
    verdict: Level,
    findings: Vec<Finding>,
}

/// Looks at the engine and at this machine, with what loko.yaml wants of them, or its defaults where there is none. Fails,
/// with exit code 7 for the engine and 1 for the rest, where an environment cannot come up.
pub(crate) async fn run(context: &Context) -> Result<(), CliError> {
    let environment = match find::source(&context.global, &context.home) {
        Ok(source) => Some((source.clone(), find::load(&source, &context.home, false)?.environment)),
        Err(CliError::NoConfiguration { .. }) => None,
        Err(error) => return Err(error),
    };
    let name = environment
        .as_ref()
        .map(|(_, environment)| environment.name.to_string());
    let facts = match (context.engine().await, environment) {
        (Err(error), environment) => {
            let default = default()?;
            let wanted = Wanted::of(environment.as_ref().map_or(&default, |(_, environment)| environment));
            facts(
                context,
                wanted,
                Err(with_causes(&error)),
                doctor::machine(context.home.root(), None),
            )?
        }
        (Ok(engine), None) => {
            let view = doctor::whole(&engine, Timestamp::now()).await?;
            let machine = doctor::machine(context.home.root(), view.data_root());
            facts(context, Wanted::of(&default()?), Ok(view), machine)?
        }
        (Ok(_), Some((source, environment))) => {
            let platform = context.platform_of(source, environment).await?;
            of_platform(context, &platform).await?
        }
    };
    let findings = doctor::judge(&facts);
    let report = Report {
        environment: name,
        verdict: findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok),
        findings,
    };
    output::formatted(context.global.output, &report, || doctor::text(&report.findings));
    doctor::refuse(&report.findings)
}

/// With what only a known environment has: ports, names.
async fn of_platform(context: &Context, platform: &Platform) -> Result<Facts, CliError> {
    let view = doctor::whole(&platform.engine, platform.connected).await?;
    let machine = doctor::machine(context.home.root(), view.data_root());
    let observed = up::observe(platform).await?;
    let ports = preflight::sentences(&preflight::ports(platform, &observed).await?);
    Ok(Facts {
        ports: Some(ports),
        resolver: Some(resolver(platform).await?),
        ..facts(context, Wanted::of(&platform.environment), Ok(view), machine)?
    })
}

fn facts(
    context: &Context,
    wanted: Wanted,
    engine: Result<doctor::EngineView, String>,
    machine: Machine,
) -> Result<Facts, CliError> {
    Ok(Facts {
        wanted,
        engine,
        machine,
        ports: None,
        resolver: None,
        trust: Some(doctor::trust(context)?),
        proxies: doctor::proxies(&std::env::vars().collect()),
    })
}

async fn resolver(platform: &Platform) -> Result<ResolverView, CliError> {
    let known = loko_dns::driver::facts(&platform.engine, &platform.environment.name).await?;
    let port = known.container.as_ref().and_then(loko_dns::container::kept_port);
    // Which port it would be does not matter to the choice of a way.
    let zone = up::zone(platform, port.unwrap_or(NonZeroU16::MIN)).with_names(known.cluster_names());
    Ok(doctor::resolver(&zone).await)
}

/// What a loko.yaml that says nothing wants.
fn default() -> Result<loko_config::Environment, CliError> {
    Ok(loko_config::load("name: dev\n", &loko_config::LoadOptions::default())?.environment)
}
