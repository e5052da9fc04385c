//! What each way needs, writes and runs. Pure: facts in, texts out.

use std::collections::BTreeMap;

use loko_config::names::EnvName;
use loko_engine::container::short_hash;

use super::action::Action;
use super::resolv_conf::{Owner, ResolvConf, host_sources};
use super::{Facts, Kind, Version};
use crate::zone::Zone;

mod files;
mod resolved;

/// Directory of macOS (resolver(5)).
pub(super) const MACOS: &str = "/etc/resolver";
/// Directory of systemd.dns-delegate(5).
pub(super) const DELEGATES: &str = "/etc/systemd/dns-delegate.d";
/// Directory of resolved.conf(5): nothing is written there, because a server in it also gets queries of other domains.
pub(super) const DROP_INS: &str = "/etc/systemd/resolved.conf.d";
/// Directory of systemd.unit(5).
pub(super) const UNITS: &str = "/etc/systemd/system";
/// Directory of NetworkManager.conf(5), `dns=dnsmasq`.
pub(super) const NETWORK_MANAGER: &str = "/etc/NetworkManager/dnsmasq.d";
/// The usual directory of dnsmasq(8), `conf-dir`.
pub(super) const DNSMASQ: &str = "/etc/dnsmasq.d";
/// hosts(5).
pub const HOSTS: &str = "/etc/hosts";

/// One way to make the host's resolver know a domain.
pub(super) trait Backend {
    /// Why it does not suit; `None`: it does.
    fn refuse(&self, zone: &Zone, facts: &Facts) -> Option<String>;

    /// Files that it needs, path → content without the marker line.
    fn files(&self, _zone: &Zone, _facts: &Facts) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// Whether what the files say is also done.
    fn in_force(&self, _zone: &Zone, _facts: &Facts) -> bool {
        true
    }

    /// What makes it so, once the files are there.
    fn enforce(&self, _zone: &Zone) -> Vec<Action> {
        Vec::new()
    }
}

pub(super) fn of(kind: Kind) -> Box<dyn Backend> {
    match kind {
        Kind::Macos => Box::new(files::Macos),
        Kind::ResolvedDelegate => Box::new(resolved::Delegate),
        Kind::ResolvedLink => Box::new(resolved::Link),
        Kind::NetworkManager => Box::new(files::NetworkManager),
        Kind::Dnsmasq => Box::new(files::Dnsmasq),
        Kind::Resolvconf => Box::new(files::Resolvconf),
        Kind::Hosts => Box::new(files::Hosts),
    }
}

/// What goes with the removal of a file.
#[derive(Debug, Default)]
pub(super) struct Undo {
    /// While it is as it was.
    pub(super) before: Vec<Action>,
    /// While it is blank; empty where nobody reads it until it is gone.
    pub(super) reload: Vec<Action>,
    /// When it is gone. Missed, it does no harm.
    pub(super) after: Vec<Action>,
}

/// By the file's directory: it may be of another version, or of a backend that suits no more.
pub(super) fn undo(path: &str) -> Undo {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut undo = Undo::default();
    match directory {
        // Programs look there at each query; only what they remember must go.
        MACOS => undo.after = files::flush_macos(),
        DELEGATES | DROP_INS => undo.reload = resolved::reload(),
        UNITS => {
            undo.before = vec![Action::run(["systemctl", "disable", "--now", name])];
            undo.after = vec![Action::run(["systemctl", "daemon-reload"])];
        }
        NETWORK_MANAGER => undo.reload = files::reload_network_manager(),
        _ => undo.reload = files::restart_dnsmasq(),
    }
    undo
}

/// Name of the link that carries an environment's domain: at most 15 bytes (`IFNAMSIZ`).
#[must_use]
pub fn link_name(environment: &EnvName) -> String {
    format!("loko-{}", &short_hash(environment.as_str().as_bytes())[..8])
}

/// Name of the unit that sets that link up.
#[must_use]
pub fn unit_name(environment: &EnvName) -> String {
    format!("loko-{environment}-dns.service")
}

/// What a person should know about the way that was chosen.
pub(super) fn notes(zone: &Zone, facts: &Facts, chosen: Option<Kind>) -> Vec<String> {
    let mut notes = Vec::new();
    if chosen == Some(Kind::Hosts) && zone.wildcard {
        notes.push(format!(
            "/etc/hosts knows no wildcard: only the {} known names under {} resolve on this host",
            zone.hosts.len(),
            zone.domain
        ));
    }
    if chosen == Some(Kind::Macos) && zone.server().ip().is_loopback() {
        notes.push(
            "macOS 15.6 and newer may ignore the port of a server on 127.0.0.1: if names do not resolve, set `network.dns-port: 53`, or `network.ip: lan`"
                .to_owned(),
        );
    }
    if facts.wsl || facts.os == "windows" {
        notes.push(format!(
            "programs of Windows itself need a rule, which knows no port, so `network.dns-port: 53` too; in PowerShell as administrator: Add-DnsClientNrptRule -Namespace \".{}\" -NameServers \"{}\"",
            zone.domain, zone.address
        ));
    }
    notes
}
