//! Ways that are a file and a reload.

use super::{Action, BTreeMap, Backend, Facts, Kind, MACOS, NETWORK_MANAGER, Owner, ResolvConf, Zone};

/// What makes macOS forget what it knew.
pub(super) fn flush_macos() -> Vec<Action> {
    vec![
        Action::run(["dscacheutil", "-flushcache"]),
        Action::run(["killall", "-HUP", "mDNSResponder"]),
    ]
}

/// What starts NetworkManager's dnsmasq anew (nmcli(1)).
pub(super) fn reload_network_manager() -> Vec<Action> {
    vec![Action::run(["nmcli", "general", "reload", "dns-full"])]
}

/// dnsmasq reads its configuration at its start alone.
pub(super) fn restart_dnsmasq() -> Vec<Action> {
    vec![Action::run(["systemctl", "try-restart", "dnsmasq.service"])]
}

/// `server=/dev.me/127.0.0.1#5453`: that domain, and nothing else, goes to that server (dnsmasq(8)). A server on loopback
/// may answer with loopback: no `rebind-domain-ok` is needed unless the host's dnsmasq refuses such answers.
fn server_line(zone: &Zone) -> String {
    let server = zone.server();
    format!(
        "server=/{0}/{1}#{2}\nrebind-domain-ok=/{0}/\n",
        zone.domain,
        server.ip(),
        server.port()
    )
}

/// macOS.
pub(super) struct Macos;

impl Backend for Macos {
    fn refuse(&self, _zone: &Zone, facts: &Facts) -> Option<String> {
        (facts.os != "macos").then(|| "is macOS' own".to_owned())
    }

    fn files(&self, zone: &Zone, _facts: &Facts) -> BTreeMap<String, String> {
        // The port of a server on 127.0.0.1 may be ignored, that of another address is not.
        let body = format!("nameserver {}\nport {}\n", zone.address, zone.port);
        BTreeMap::from([(format!("{MACOS}/{}", zone.domain), body)])
    }

    fn enforce(&self, _zone: &Zone) -> Vec<Action> {
        flush_macos()
    }
}

/// NetworkManager with `dns=dnsmasq`.
pub(super) struct NetworkManager;

impl Backend for NetworkManager {
    fn refuse(&self, _zone: &Zone, facts: &Facts) -> Option<String> {
        match facts.network_manager.as_deref() {
            None => Some("NetworkManager does not run".to_owned()),
            Some("dnsmasq") => None,
            Some("systemd-resolved") => Some("NetworkManager hands names over to systemd-resolved".to_owned()),
            Some("" | "default") => Some(
                "NetworkManager writes /etc/resolv.conf itself, which knows no domains; `dns=dnsmasq` in its configuration would"
                    .to_owned(),
            ),
            Some(other) => Some(format!("NetworkManager has `dns={other}`, not `dns=dnsmasq`")),
        }
    }

    fn files(&self, zone: &Zone, _facts: &Facts) -> BTreeMap<String, String> {
        let path = format!("{NETWORK_MANAGER}/loko-{}.conf", zone.environment);
        BTreeMap::from([(path, server_line(zone))])
    }

    fn enforce(&self, _zone: &Zone) -> Vec<Action> {
        reload_network_manager()
    }
}

/// A dnsmasq that the host itself asks, as with openresolv.
pub(super) struct Dnsmasq;

impl Backend for Dnsmasq {
    fn refuse(&self, _zone: &Zone, facts: &Facts) -> Option<String> {
        let Some(directory) = &facts.dnsmasq else {
            return Some("does not run".to_owned());
        };
        if directory.is_empty() {
            return Some("reads no directory: its configuration has no `conf-dir`".to_owned());
        }
        let file = facts.resolv_conf.as_deref().map(ResolvConf::parse).unwrap_or_default();
        (!file.asks_this_host()).then(|| "runs, but /etc/resolv.conf names another server first".to_owned())
    }

    fn files(&self, zone: &Zone, facts: &Facts) -> BTreeMap<String, String> {
        let directory = facts.dnsmasq.as_deref().unwrap_or_default();
        let path = format!("{directory}/loko-{}.conf", zone.environment);
        BTreeMap::from([(path, server_line(zone))])
    }

    fn enforce(&self, _zone: &Zone) -> Vec<Action> {
        restart_dnsmasq()
    }
}

/// resolvconf and openresolv write one list of servers for all names.
pub(super) struct Resolvconf;

impl Backend for Resolvconf {
    fn refuse(&self, _zone: &Zone, facts: &Facts) -> Option<String> {
        let file = facts.resolv_conf.as_deref().map(ResolvConf::parse).unwrap_or_default();
        Some(if facts.resolvconf || file.owner == Some(Owner::Resolvconf) {
            "writes a list of servers for all names, without ports; a local dnsmasq beside it would do".to_owned()
        } else {
            "is not there".to_owned()
        })
    }
}

/// `/etc/hosts`, the last resort.
pub(super) struct Hosts;

impl Backend for Hosts {
    fn refuse(&self, _zone: &Zone, facts: &Facts) -> Option<String> {
        let unix = matches!(facts.os.as_str(), "linux" | "macos" | "freebsd");
        (!unix).then(|| {
            format!(
                "{} is for systems that have that file, this is {}",
                Kind::Hosts,
                facts.os
            )
        })
    }
}
