//! A zone as the files that dnsmasq reads (dnsmasq(8), 2.80 and newer).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use askama::Template;
use loko_config::names::HostName;
use loko_engine::container::short_hash;

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

/// Who knows a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// It follows from loko.yaml.
    Zone,
    /// It was found in the cluster.
    Cluster,
}

impl Source {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Zone, Self::Cluster];

    fn prefix(self) -> &'static str {
        match self {
            Self::Zone => "zone-",
            Self::Cluster => "cluster-",
        }
    }

    /// Whether a file of [`HOSTS_DIRECTORY`] holds names of this source.
    #[must_use]
    pub fn owns(self, file: &str) -> bool {
        file.starts_with(self.prefix())
    }
}

/// A file of [`HOSTS_DIRECTORY`] that is always there: dnsmasq does not start without the directory.
pub const README: (&str, &str) = (
    "README",
    "# Written by LoKO; changes are overwritten. Each file holds those names whose hash starts with its last two digits.\n",
);

/// Where the next content of a hosts file is written before it is renamed. Records of a file that was seen under another
/// name would outlive it, and dnsmasq sees no name that starts with a dot.
#[must_use]
pub fn temporary(file: &str) -> String {
    format!(".{file}")
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

/// The hosts files of a source, name of the file → content: one line for each name, all with the same address (hosts(5)).
///
/// There are up to 256, because dnsmasq reads a file anew as a whole, and answers nobody meanwhile: a change of one name
/// must not cost what all names cost.
#[must_use]
pub fn hosts(source: Source, address: IpAddr, names: &BTreeSet<HostName>) -> BTreeMap<String, String> {
    use std::fmt::Write as _;
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for name in names {
        let hash = short_hash(name.as_str().as_bytes());
        let file = files.entry(format!("{}{}", source.prefix(), &hash[..2])).or_default();
        let _ = writeln!(file, "{address} {name}");
    }
    files
}

#[cfg(test)]
mod tests;
