//! systemd-resolved: by a delegate file, or by a link.

use std::net::Ipv4Addr;

use askama::Template;

use super::{
    Action, BTreeMap, Backend, DELEGATES, Facts, ResolvConf, UNITS, Version, Zone, host_sources, link_name, unit_name,
};

const fn version(major: u16, minor: u16) -> Version {
    Version { major, minor }
}

/// First version with systemd.dns-delegate(5).
const DELEGATE: Version = version(258, 0);
/// First version that takes a port with a server (resolvectl(1)).
const PORTS: Version = version(246, 0);
/// From here a query of a link was sent through that link, also to 127.0.0.1 where nothing hears it …
const LOOPBACK_LOST: Version = version(250, 0);
/// … until here (systemd pull request 25438).
const LOOPBACK_FOUND: Version = version(252, 3);

/// Why systemd-resolved cannot be used at all.
fn unused(facts: &Facts) -> Option<String> {
    if facts.resolved.is_none() {
        return Some("does not run".to_owned());
    }
    let sources = facts.nsswitch.as_deref().map(host_sources).unwrap_or_default();
    let file = facts.resolv_conf.as_deref().map(ResolvConf::parse).unwrap_or_default();
    let asked = sources.contains(&"resolve") || file.asks_resolved();
    (!asked).then(|| {
        "runs, but nothing asks it: /etc/resolv.conf names other servers and /etc/nsswitch.conf has no `resolve`"
            .to_owned()
    })
}

/// What makes systemd-resolved read its files again. From 257 it can without a restart.
pub(super) fn reload() -> Vec<Action> {
    vec![
        Action::run(["systemctl", "try-reload-or-restart", "systemd-resolved.service"]),
        flush(),
    ]
}

fn flush() -> Action {
    Action::run(["resolvectl", "flush-caches"])
}

#[derive(Template)]
#[template(path = "loko.dns-delegate", escape = "none")]
struct DelegateFile<'a> {
    zone: &'a Zone,
}

#[derive(Template)]
#[template(path = "loko-dns.service", escape = "none")]
struct Unit<'a> {
    zone: &'a Zone,
    link: &'a str,
    address: Ipv4Addr,
}

/// 258 and newer.
pub(super) struct Delegate;

impl Backend for Delegate {
    fn refuse(&self, _zone: &Zone, facts: &Facts) -> Option<String> {
        unused(facts).or_else(|| {
            let old = facts.resolved.filter(|version| *version < DELEGATE)?;
            Some(format!("needs systemd 258, this is {old}"))
        })
    }

    fn files(&self, zone: &Zone, _facts: &Facts) -> BTreeMap<String, String> {
        let path = format!("{DELEGATES}/loko-{}.dns-delegate", zone.environment);
        let body = DelegateFile { zone }.render().unwrap_or_default() + "\n";
        BTreeMap::from([(path, body)])
    }

    fn enforce(&self, _zone: &Zone) -> Vec<Action> {
        reload()
    }
}

/// 246 to 249, and 252.3 to 257.
pub(super) struct Link;

impl Backend for Link {
    fn refuse(&self, _zone: &Zone, facts: &Facts) -> Option<String> {
        unused(facts).or_else(|| {
            let found = facts.resolved?;
            if found < PORTS {
                return Some(format!("systemd {found} takes no port with a server; 246 does"));
            }
            (LOOPBACK_LOST..LOOPBACK_FOUND)
                .contains(&found)
                .then(|| format!("systemd {found} does not reach a server on 127.0.0.1 through a link; 252.3 does"))
        })
    }

    fn files(&self, zone: &Zone, _facts: &Facts) -> BTreeMap<String, String> {
        let link = link_name(&zone.environment);
        let unit = Unit {
            zone,
            link: &link,
            address: link_address(&link),
        };
        let path = format!("{UNITS}/{}", unit_name(&zone.environment));
        BTreeMap::from([(path, unit.render().unwrap_or_default() + "\n")])
    }

    fn in_force(&self, zone: &Zone, facts: &Facts) -> bool {
        facts.link.as_ref().is_some_and(|link| {
            link.servers.iter().eq([&zone.server().to_string()])
                && link.domains.iter().eq([&format!("~{}", zone.domain)])
                && !link.default_route
        })
    }

    fn enforce(&self, zone: &Zone) -> Vec<Action> {
        let unit = unit_name(&zone.environment);
        vec![
            Action::run(["systemctl", "daemon-reload"]),
            Action::run(["systemctl", "enable", &unit]),
            Action::run(["systemctl", "restart", &unit]),
            flush(),
        ]
    }
}

/// systemd-resolved uses no link without an address. This one is of a block for documentation (RFC 5737), for this host
/// alone, and the same at each run.
fn link_address(link: &str) -> Ipv4Addr {
    let sum = link
        .bytes()
        .fold(0u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    Ipv4Addr::new(192, 0, 2, sum.clamp(1, 254))
}
