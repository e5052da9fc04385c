//! The host's resolver: one domain goes to one dnsmasq, and every other query goes where it went before.
//!
//! ```text
//! Facts (what runs, what it is told, what we wrote) ─┬─ choose ─→ backend, and why not the others
//! Zone ──────────────────────────────────────────────┴─ set │ unset ─→ Plan: actions ─→ driver, or printed
//! ```
//!
//! Backends in their order: `/etc/resolver` (macOS), systemd-resolved by a delegate file (258 and newer), by a link of its
//! own, NetworkManager's dnsmasq, the host's own dnsmasq, and `/etc/hosts`, which knows no wildcard but is everywhere.

use std::collections::{BTreeMap, BTreeSet};

use loko_config::names::EnvName;
use miette::Diagnostic;
use serde::Serialize;
use thiserror::Error;

use crate::zone::Zone;

pub mod action;
mod backend;
pub mod block;
#[cfg(feature = "driver")]
pub mod host;
pub mod marker;
pub mod resolv_conf;
pub mod version;

pub use action::Action;
pub use backend::{HOSTS, link_name, unit_name};
use marker::Marker;
pub use version::Version;

/// A way to make the host's resolver know a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A file in `/etc/resolver` (macOS, resolver(5)).
    Macos,
    /// A file in `/etc/systemd/dns-delegate.d` (systemd.dns-delegate(5), 258 and newer).
    ResolvedDelegate,
    /// A network link that carries the domain, set up by a systemd unit (resolvectl(1)).
    ResolvedLink,
    /// A file in `/etc/NetworkManager/dnsmasq.d`.
    NetworkManager,
    /// A file in the directory of the host's own dnsmasq.
    Dnsmasq,
    /// resolvconf or openresolv.
    Resolvconf,
    /// A block of known names in `/etc/hosts`.
    Hosts,
}

impl Kind {
    /// All, in the order in which they are tried.
    pub const ALL: [Self; 7] = [
        Self::Macos,
        Self::ResolvedDelegate,
        Self::ResolvedLink,
        Self::NetworkManager,
        Self::Dnsmasq,
        Self::Resolvconf,
        Self::Hosts,
    ];
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Macos => "/etc/resolver",
            Self::ResolvedDelegate => "systemd-resolved (delegate)",
            Self::ResolvedLink => "systemd-resolved (link)",
            Self::NetworkManager => "NetworkManager's dnsmasq",
            Self::Dnsmasq => "dnsmasq of this host",
            Self::Resolvconf => "resolvconf",
            Self::Hosts => "/etc/hosts",
        })
    }
}

/// What is so on this host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// As [`std::env::consts::OS`] names it.
    pub os: String,
    /// Whether this Linux runs inside Windows.
    pub wsl: bool,
    /// `/etc/resolv.conf`.
    pub resolv_conf: Option<String>,
    /// `/etc/nsswitch.conf`.
    pub nsswitch: Option<String>,
    /// `/etc/hosts`.
    pub hosts: Option<String>,
    /// systemd-resolved's version, where it runs.
    pub resolved: Option<Version>,
    /// `dns=` of NetworkManager, where it runs; empty where not set.
    pub network_manager: Option<String>,
    /// The directory from which the host's own dnsmasq reads, where it runs; empty where it reads none.
    pub dnsmasq: Option<String>,
    /// Whether the command `resolvconf` is there.
    pub resolvconf: bool,
    /// Files in [`DIRECTORIES`], path → content: all of `/etc/resolver`, elsewhere those named `loko*`.
    pub written: BTreeMap<String, String>,
    /// What systemd-resolved does with the link of this environment, where there is one.
    pub link: Option<LinkFacts>,
    /// Whether the host's resolver gives the right address for a name of the zone; `None` where dnsmasq itself does not
    /// answer, or it was not asked.
    pub resolves: Option<bool>,
}

/// A link as `resolvectl` shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LinkFacts {
    /// Servers, for example `127.0.0.1:5453`.
    pub servers: BTreeSet<String>,
    /// Domains, for example `~dev.me`.
    pub domains: BTreeSet<String>,
    /// Whether it gets queries for which nothing better is known.
    pub default_route: bool,
}

/// Where files of ours may be, also those of other versions.
pub const DIRECTORIES: [&str; 6] = [
    backend::MACOS,
    backend::DELEGATES,
    backend::DROP_INS,
    backend::UNITS,
    backend::NETWORK_MANAGER,
    backend::DNSMASQ,
];

/// Why a backend was not chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Refusal {
    /// The backend.
    pub backend: Kind,
    /// A fragment that follows its name.
    pub reason: String,
}

/// What will be done to the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    /// The way that was chosen; `None` where there is none, or all is taken back.
    pub backend: Option<Kind>,
    /// Why those before it were not.
    pub refused: Vec<Refusal>,
    /// In this order. Empty: all is as wanted. All of them need root.
    pub actions: Vec<Action>,
    /// What a person should know, or do by hand.
    pub notes: Vec<String>,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, Error, Diagnostic)]
#[non_exhaustive]
pub enum ResolverError {
    /// A file that is not ours is where ours would be.
    #[error("{path} exists and is not LoKO's")]
    #[diagnostic(
        code(loko::dns::resolver::foreign),
        help("move it away, or choose another `network.domain`; `loko dns status` shows what LoKO would write")
    )]
    Foreign {
        /// The file.
        path: String,
    },
}

/// Chooses the first backend that suits, and says why those before it do not.
#[must_use]
pub fn choose(zone: &Zone, facts: &Facts) -> (Option<Kind>, Vec<Refusal>) {
    let mut refused = Vec::new();
    for kind in Kind::ALL {
        match backend::of(kind).refuse(zone, facts) {
            None => return (Some(kind), refused),
            Some(reason) => refused.push(Refusal { backend: kind, reason }),
        }
    }
    (None, refused)
}

/// Plans that the host's resolver sends queries under the zone's domain to its dnsmasq. What other backends hold of this
/// environment is taken back. With nothing to do the plan is empty.
pub fn set(zone: &Zone, facts: &Facts) -> Result<Plan, ResolverError> {
    let (kind, refused) = choose(zone, facts);
    let mut plan = Plan {
        backend: kind,
        refused,
        notes: backend::notes(zone, facts, kind),
        ..Plan::default()
    };
    let chosen = kind.map(backend::of);
    let wanted = chosen
        .as_ref()
        .map(|backend| backend.files(zone, facts))
        .unwrap_or_default();
    let keep: BTreeSet<&String> = wanted.keys().collect();
    take_back(&mut plan, &zone.environment, facts, &keep);
    let taken_back = plan.actions.len();
    for (path, body) in &wanted {
        let contents = Marker::mark(&zone.environment, body);
        match facts.written.get(path) {
            Some(found) if *found == contents => continue,
            Some(found) => match Marker::of(found) {
                Some(marker) if marker.environment == zone.environment => plan.actions.extend(keep_edits(path, found)),
                _ => return Err(ResolverError::Foreign { path: path.clone() }),
            },
            None => {}
        }
        plan.actions.push(Action::Write {
            path: path.clone(),
            contents,
        });
    }
    let hosts = facts.hosts.clone().unwrap_or_default();
    let wanted_hosts = if kind == Some(Kind::Hosts) {
        block::set(&hosts, zone)
    } else {
        block::remove(&hosts, &zone.environment)
    };
    write_hosts(&mut plan, &hosts, wanted_hosts);
    if let Some(backend) = chosen {
        let changed = plan.actions.len() > taken_back;
        if changed || facts.resolves == Some(false) || !backend.in_force(zone, facts) {
            plan.actions.extend(backend.enforce(zone));
        }
    }
    Ok(plan)
}

/// Plans to take back everything that was written for an environment, by whatever version and backend.
#[must_use]
pub fn unset(environment: &EnvName, facts: &Facts) -> Plan {
    let mut plan = Plan::default();
    take_back(&mut plan, environment, facts, &BTreeSet::new());
    let hosts = facts.hosts.clone().unwrap_or_default();
    let without = block::remove(&hosts, environment);
    write_hosts(&mut plan, &hosts, without);
    plan
}

fn write_hosts(plan: &mut Plan, now: &str, wanted: String) {
    if now != wanted {
        plan.actions.push(Action::Write {
            path: backend::HOSTS.to_owned(),
            contents: wanted,
        });
    }
}

/// What is read by a program that goes on is blanked first, and removed when that program has read it again: killed in
/// between, the next run finds the blank file and ends what was begun.
fn take_back(plan: &mut Plan, environment: &EnvName, facts: &Facts, keep: &BTreeSet<&String>) {
    let mut reloads: Vec<Action> = Vec::new();
    let mut removals: Vec<Action> = Vec::new();
    let mut last: Vec<Action> = Vec::new();
    for (path, contents) in &facts.written {
        let ours = Marker::of(contents).is_some_and(|marker| marker.environment == *environment);
        if !ours || keep.contains(path) {
            continue;
        }
        let undo = backend::undo(path);
        let blank = Marker::mark(environment, "");
        plan.actions.extend(undo.before);
        plan.actions.extend(keep_edits(path, contents));
        if !undo.reload.is_empty() && *contents != blank {
            plan.actions.push(Action::Write {
                path: path.clone(),
                contents: blank,
            });
        }
        let new = |known: &[Action], list: Vec<Action>| -> Vec<Action> {
            list.into_iter().filter(|action| !known.contains(action)).collect()
        };
        reloads.extend(new(&reloads, undo.reload));
        removals.push(Action::Remove { path: path.clone() });
        last.extend(new(&last, undo.after));
    }
    plan.actions.extend(reloads.into_iter().chain(removals).chain(last));
}

/// A file of ours that a person changed is kept beside it before it is replaced or removed.
fn keep_edits(path: &str, contents: &str) -> Option<Action> {
    let edited = Marker::of(contents).is_none_or(|marker| marker.is_edited(contents));
    edited.then(|| Action::Write {
        path: format!("{path}~"),
        contents: contents.to_owned(),
    })
}

#[cfg(test)]
mod tests;
