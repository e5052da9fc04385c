//! `loko tunnel …`

use loko_haproxy::tunnel::{State, Tunnel};
use serde::Serialize;

use crate::args;
use crate::context::Context;
use crate::error::CliError;
use crate::progress::Outcome;
use crate::{output, preflight, up};

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    environment: String,
    /// Whether HAProxy serves its file; none: it does not answer.
    current: Option<bool>,
    /// Workers that serve connections of before the last change.
    old_workers: usize,
    /// For how many seconds connections and bytes have been counted: since the last change, of any environment.
    counted_seconds: Option<u64>,
    tunnels: Vec<Tunnel>,
}

/// Runs one of its commands.
pub(crate) async fn run(context: &Context, command: &args::Tunnel) -> Result<(), CliError> {
    match command {
        args::Tunnel::Status => status(context).await,
        args::Tunnel::Sync => sync(context).await,
    }
}

async fn status(context: &Context) -> Result<(), CliError> {
    let platform = context.platform().await?;
    let name = &platform.environment.name;
    let status = up::edge(&platform).status().await?;
    let report = Report {
        environment: name.to_string(),
        current: status.current,
        old_workers: status.old_workers,
        counted_seconds: status.counted,
        tunnels: status.tunnels(name),
    };
    output::formatted(context.global.output, &report, || text(&report));
    let down = report.tunnels.iter().filter(|tunnel| tunnel.state != State::Up).count();
    let summary = match (report.tunnels.len(), down) {
        (0, _) => format!("{name} has no ports on this host"),
        (_, 0) => return Ok(()),
        (all, down) => format!("{down} of {all} ports of {name} lead nowhere"),
    };
    Err(CliError::Down { summary })
}

fn text(report: &Report) -> String {
    let header = [
        "PORT",
        "TO",
        "ENTRY POINT",
        "NODES",
        "NOW",
        "TOTAL",
        "IN",
        "OUT",
        "STATE",
    ];
    let mut text = output::table(header, report.tunnels.iter().map(row));
    if report.current == Some(false) {
        text.push_str("\n\nHAProxy serves another configuration than its file; `loko tunnel sync` mends it.");
    }
    if let Some(seconds) = report.counted_seconds {
        let since = jiff::SignedDuration::from_secs(seconds.try_into().unwrap_or(i64::MAX));
        text = format!("{text}\n\nCounted since HAProxy's last change, {since:#} ago.");
    }
    match report.old_workers {
        0 => {}
        1 => text.push_str("\nA worker of before serves connections that began before it."),
        old => text = format!("{text}\n{old} workers of before serve connections that began before it."),
    }
    text
}

fn row(tunnel: &Tunnel) -> [String; 9] {
    let to = tunnel
        .workload
        .as_ref()
        .map_or_else(|| "HTTP hosts".to_owned(), ToString::to_string);
    let up = tunnel.nodes.values().flatten().filter(|node| node.up).count();
    let number = |of: fn(&loko_haproxy::stats::Traffic) -> u64| {
        tunnel
            .traffic
            .as_ref()
            .map_or_else(|| "-".to_owned(), |traffic| of(traffic).to_string())
    };
    let state = match tunnel.state {
        State::Up => "up",
        State::Down => "down",
        State::AddressAway => "address not on this host",
    };
    [
        format!("{}/{}", tunnel.address, tunnel.protocol),
        to,
        tunnel.entry_point.clone(),
        format!("{up}/{}", tunnel.nodes.len()),
        number(|traffic| traffic.now),
        number(|traffic| traffic.total),
        number(|traffic| traffic.bytes_in),
        number(|traffic| traffic.bytes_out),
        state.to_owned(),
    ]
}

async fn sync(context: &Context) -> Result<(), CliError> {
    let platform = context.platform().await?;
    let name = platform.environment.name.to_string();
    let _lock = context.home.lock_environment(&name, |holder| {
        context.progress.say(&format!("{name} waits for {holder}"));
    })?;
    let observed = up::observe(&platform).await?;
    let upstreams = up::upstreams_there(&platform, &observed);
    if upstreams.is_empty() {
        return Err(CliError::Down {
            summary: format!("{name} has no node that its ports could lead to"),
        });
    }
    preflight::check(context, &platform, &observed).await?;
    let line = context.progress.start("edge", "looking at HAProxy");
    let outcome = up::route(context, &platform, &observed, upstreams).await?;
    let changed = matches!(outcome, Outcome::Changed(_));
    line.done(&outcome);
    output::formatted(
        context.global.output,
        &serde_json::json!({"environment": name, "changed": changed}),
        || {
            if changed {
                format!("{name}: synced")
            } else {
                format!("{name}: nothing to do")
            }
        },
    );
    Ok(())
}
