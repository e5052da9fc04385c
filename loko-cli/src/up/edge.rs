//! The steps on the host: dnsmasq, the host's resolver, HAProxy.

use std::io::IsTerminal as _;
use std::net::IpAddr;
use std::num::NonZeroU16;

use loko_cluster::nodes::{NETWORK, Node, Role};
use loko_cluster::{ClusterError, scheduling};
use loko_dns::container::Placement;
use loko_dns::resolver::host::{Host, Privilege};
use loko_dns::resolver::{self, Action};
use loko_dns::zone::Zone;
use loko_engine::subnet::Division;
use loko_haproxy::driver::{Change, Done, Edge, Relay, Report};
use loko_haproxy::routes::{Routes, Upstream};

use super::{Observed, Stepped, Up, changed};
use crate::context::{Context, Platform};
use crate::error::CliError;
use crate::progress::{Line, Outcome};
use crate::state;

/// HAProxy of a platform.
pub(crate) fn edge(platform: &Platform) -> Edge {
    Edge::new(
        platform.engine.clone(),
        platform.environment.components.haproxy.reference(),
        platform.mode,
    )
}

/// The UDP relays of a platform's engine.
pub(crate) fn relay(platform: &Platform) -> Relay {
    let image = platform.environment.components.ingress_controller.reference();
    Relay::new(&edge(platform), image)
}

/// Brings the way in to `upstreams`: HAProxy, and the relay while there is a UDP port.
pub(crate) async fn route(
    context: &Context,
    platform: &Platform,
    observed: &Observed,
    upstreams: Vec<Upstream>,
) -> Result<Outcome, CliError> {
    let routes = Routes::new(&platform.environment, platform.address, upstreams, &observed.slots);
    let waits = |holder: &str| context.progress.say(&format!("the edge waits for {holder}"));
    let _lock = state::lock_edge(waits)?;
    let report = edge(platform).apply(&Change::Put(Box::new(routes.clone()))).await?;
    let relayed = relay(platform).apply(&routes).await?;
    Ok(outcome(&report, relayed))
}

/// How the environment's dnsmasq is run.
pub(crate) fn placement(platform: &Platform) -> Placement {
    Placement {
        image: platform.environment.components.dnsmasq.reference(),
        mode: platform.mode,
        network: NETWORK.to_owned(),
    }
}

/// The environment's zone, heard at a port.
pub(crate) fn zone(platform: &Platform, port: NonZeroU16) -> Zone {
    Zone::of(&platform.environment, platform.address, port, [])
}

impl Up<'_> {
    pub(super) async fn dns(self) -> Stepped<NonZeroU16> {
        let Self { platform, .. } = self;
        let environment = &platform.environment;
        let wanted = environment.network.dns_port;
        let port = loko_dns::driver::choose_port(&platform.engine, &environment.name, platform.address, wanted).await?;
        let zone = zone(platform, port);
        let report = loko_dns::driver::ensure(&platform.engine, &zone, &placement(platform)).await?;
        let outcome = changed(report.change != loko_dns::plan::Change::Nothing, || {
            format!("*.{} answered at {}:{port}", zone.domain, platform.address)
        });
        Ok((port, outcome))
    }

    pub(super) async fn resolver(self, port: NonZeroU16, line: Line) -> Stepped<()> {
        if self.options.no_resolver {
            return Ok(((), Outcome::Unchanged));
        }
        let known = loko_dns::driver::facts(&self.platform.engine, &self.platform.environment.name).await?;
        let zone = zone(self.platform, port).with_names(known.cluster_names());
        Ok(((), tell_resolver(self.context, &zone, &line).await))
    }

    pub(super) async fn edge(self, division: Division) -> Stepped<()> {
        let Self {
            context,
            platform,
            observed,
            ..
        } = self;
        let placed = loko_cluster::nodes::place(&platform.environment, &division, &observed.containers);
        let upstreams = upstreams(platform, &placed.map_err(ClusterError::from)?);
        Ok(((), route(context, platform, observed, upstreams).await?))
    }
}

fn outcome(report: &Report, relayed: Done) -> Outcome {
    let word = |done| match done {
        Done::Nothing => None,
        Done::Reloaded => Some("reloaded"),
        Done::Removed => Some("removed"),
        Done::Started => Some("started"),
        Done::Recreated => Some("made anew: connections through it were ended"),
    };
    let relay = word(relayed).map(|word| format!("UDP relay {word}"));
    let Some(mut text) = word(report.done).map(str::to_owned) else {
        return relay.map_or(Outcome::Unchanged, Outcome::Changed);
    };
    for (what, addresses) in [("listens on", &report.opened), ("gave up", &report.closed)] {
        if !addresses.is_empty() {
            let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            text = format!("{text}, {what} {}", list.join(", "));
        }
    }
    text.extend(relay.map(|relay| format!("; {relay}")));
    Outcome::Changed(text)
}

/// Nodes that run Traefik, where they are now.
pub(crate) fn upstreams_there(platform: &Platform, observed: &Observed) -> Vec<Upstream> {
    let there = |(name, role, index): (String, Role, u8)| {
        let container = observed.containers.iter().find(|container| container.name == name)?;
        let IpAddr::V4(address) = *container.addresses.get(NETWORK)? else {
            return None;
        };
        Some(Node {
            name,
            role,
            index,
            address,
        })
    };
    let nodes: Vec<Node> = loko_cluster::nodes::names(&platform.environment)
        .filter_map(there)
        .collect();
    upstreams(platform, &nodes)
}

/// Nodes that run Traefik.
pub(super) fn upstreams(platform: &Platform, nodes: &[Node]) -> Vec<Upstream> {
    let runs_traefik = |node: &&Node| {
        let marks = scheduling::node(&platform.environment.cluster.nodes, node.role, node.index);
        marks.labels.contains_key(scheduling::RUNS_COMPONENTS)
    };
    nodes
        .iter()
        .filter(runs_traefik)
        .filter_map(|node| {
            Some(Upstream {
                name: node.name.parse().ok()?,
                address: node.address.into(),
            })
        })
        .collect()
}

/// Sends queries under the domain, and no others, from this host's resolver to dnsmasq. It needs root: without it a person
/// at a terminal is asked, and otherwise it is said what is missing; nothing else depends on it.
pub(crate) async fn tell_resolver(context: &Context, zone: &Zone, line: &Line) -> Outcome {
    let host = Host::this();
    let plan = match resolver::set(zone, &host.facts(zone).await) {
        Ok(plan) => plan,
        Err(error) => {
            context
                .progress
                .say(&format!("this host's resolver is left alone: {error}"));
            return Outcome::Unchanged;
        }
    };
    if plan.actions.is_empty() {
        return Outcome::Unchanged;
    }
    for note in &plan.notes {
        context.progress.say(&format!("note: {note}"));
    }
    let what: Vec<String> = plan.actions.iter().map(Action::to_string).collect();
    let privilege = if rustix::process::geteuid().is_root() {
        Privilege::Own
    } else {
        Privilege::Sudo
    };
    if privilege == Privilege::Sudo {
        context.progress.say(&format!(
            "names resolve on this host after, as root:\n  {}",
            what.join("\n  ")
        ));
        if !std::io::stdin().is_terminal() {
            context
                .progress
                .say("run `sudo loko dns set` for it; until then ask dnsmasq itself");
            return Outcome::Unchanged;
        }
        line.tell("sudo may ask for your password");
    }
    match host.apply(&plan.actions, privilege).await {
        Ok(()) => Outcome::Changed(what.join(", ")),
        Err(error) => {
            context
                .progress
                .say(&format!("this host's resolver is not told: {error}"));
            Outcome::Unchanged
        }
    }
}

/// Takes back what was written on this host for an environment. Returns what was done; without the rights it says so.
pub(crate) async fn forget_resolver(context: &crate::context::Context, platform: &Platform) -> Vec<Action> {
    let host = Host::this();
    let facts = host.files(Some(&platform.environment.name)).await;
    let plan = resolver::unset(&platform.environment.name, &facts);
    if plan.actions.is_empty() {
        return Vec::new();
    }
    let root = rustix::process::geteuid().is_root();
    if !root && !std::io::stdin().is_terminal() {
        let what: Vec<String> = plan.actions.iter().map(Action::to_string).collect();
        context.progress.say(&format!(
            "left on this host, because it needs root:\n  {}",
            what.join("\n  ")
        ));
        return Vec::new();
    }
    let privilege = if root { Privilege::Own } else { Privilege::Sudo };
    if let Err(error) = host.apply(&plan.actions, privilege).await {
        context.progress.say(&format!("left on this host: {error}"));
        return Vec::new();
    }
    plan.actions
}
