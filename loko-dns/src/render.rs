//! A zone as the files that dnsmasq reads (dnsmasq(8), 2.80 and newer).

use std::collections::BTreeSet;
use std::net::IpAddr;

use askama::Template;
use loko_config::names::HostName;

use crate::zone::Zone;

/// Directory of the container that holds all that dnsmasq reads: the mount point of the environment's volume.
pub const DIRECTORY: &str = "/etc/loko-dns";
/// Path of the configuration in the container. A change of it needs a restart: dnsmasq reads it once.
pub const CONF_PATH: &str = "/etc/loko-dns/dnsmasq.conf";
/// Directory of hosts files in the container, which dnsmasq follows live.
pub const HOSTS_DIRECTORY: &str = "/etc/loko-dns/hosts.d";
/// Seconds for which an answer may be kept by who asked: short, because an environment may be made anew elsewhere.
pub const TTL: u32 = 5;

/// Which addresses dnsmasq listens on, in its own network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    /// [`Zone::listen`] alone: on the host's network.
    Address,
    /// All that the container has: the engine publishes the port on [`Zone::listen`].
    Everywhere,
}

/// A hosts file in [`HOSTS_DIRECTORY`], by who knows the names in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostsFile {
    /// Names that follow from loko.yaml.
    Zone,
    /// Names found in the cluster.
    Cluster,
}

impl HostsFile {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Zone, Self::Cluster];

    /// Name of the file. A name that starts with a dot would be ignored by dnsmasq.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Zone => "zone",
            Self::Cluster => "cluster",
        }
    }

    /// Its path in the container.
    #[must_use]
    pub fn path(self) -> String {
        format!("{HOSTS_DIRECTORY}/{}", self.name())
    }

    /// Where its next content is written before it is renamed. Records of a file that was seen under another name
    /// would outlive it, and dnsmasq sees no name that starts with a dot.
    #[must_use]
    pub fn temporary_path(self) -> String {
        format!("{HOSTS_DIRECTORY}/.{}", self.name())
    }
}

#[derive(Template)]
#[template(path = "dnsmasq.conf", escape = "none")]
struct Conf<'a> {
    zone: &'a Zone,
    listen: bool,
    hosts_directory: &'a str,
    ttl: u32,
}

/// `dnsmasq.conf` of a zone. Its [`Zone::hosts`] are not in it, but in [`hosts`].
#[must_use]
pub fn conf(zone: &Zone, listen: Listen) -> String {
    let template = Conf {
        zone,
        listen: listen == Listen::Address,
        hosts_directory: HOSTS_DIRECTORY,
        ttl: TTL,
    };
    // Writing to a String cannot fail, and the template has no fallible filter.
    template.render().unwrap_or_default() + "\n"
}

/// A hosts file that gives every name the same address, one line each (hosts(5)).
#[must_use]
pub fn hosts(address: IpAddr, names: &BTreeSet<HostName>) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("# Written by LoKO; changes are overwritten.\n");
    for name in names {
        let _ = writeln!(text, "{address} {name}");
    }
    text
}

#[cfg(test)]
mod tests;
