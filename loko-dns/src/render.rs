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

/// How many hosts files there are at most, fixed for good: with another number names would move between files.
///
/// dnsmasq reads a file of [`HOSTS_DIRECTORY`] anew as a whole when it changes, and answers nobody meanwhile, so that files should be
/// small. But all of them are read to see what is there, and the engine takes 0.15 ms for each. With 64, a change among 10,000 names
/// makes dnsmasq read 160 lines.
const FILES: u8 = 64;
/// What the names of hosts files start with.
const PREFIX: &str = "names-";
/// Comment at a name that was found in the cluster alone.
pub(crate) const FOUND: &str = "cluster";
/// Comment at a name that follows from loko.yaml, and was found in the cluster too.
pub(crate) const BOTH: &str = "loko.yaml, cluster";

/// Names, by who knows them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Those that follow from loko.yaml.
    pub zone: BTreeSet<HostName>,
    /// Those that were found in the cluster; they may be in `zone` too.
    pub cluster: BTreeSet<HostName>,
}

impl Names {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> BTreeSet<HostName> {
        self.zone.union(&self.cluster).cloned().collect()
    }

    /// Takes in those of another file.
    pub fn extend(&mut self, other: Self) {
        self.zone.extend(other.zone);
        self.cluster.extend(other.cluster);
    }
}

/// Whether a file of [`HOSTS_DIRECTORY`] has one of the names that [`hosts`] gives, or is the [`README`]. Others may hold names that
/// are in these as well.
#[must_use]
pub fn is_known(file: &str) -> bool {
    file.starts_with(PREFIX) || file == README.0
}

/// A file of [`HOSTS_DIRECTORY`] that is always there: dnsmasq does not start without the directory.
pub const README: (&str, &str) = (
    "README",
    "# Written by LoKO; changes are overwritten. Which file a name is in follows from its hash. `cluster`: found there.\n",
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

/// The hosts files of a zone, name of the file → content: one line for each name, all with the same address, and a comment where
/// it was found in the cluster (hosts(5)).
///
/// A name is in one file, always the same, whoever knows it. In two it would be lost: dnsmasq keeps one record for what two files say
/// alike, the first, and drops that when the first file loses the name or goes (`add_hosts_entry`, `cache_remove_uid` in `cache.c`).
#[must_use]
pub fn hosts(address: IpAddr, names: &Names) -> BTreeMap<String, String> {
    use std::fmt::Write as _;
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for name in names.zone.union(&names.cluster) {
        let comment = match (names.zone.contains(name), names.cluster.contains(name)) {
            (_, false) => "",
            (false, true) => FOUND,
            (true, true) => BOTH,
        };
        let before = if comment.is_empty() { "" } else { " # " };
        let file = files.entry(file_of(name)).or_default();
        let _ = writeln!(file, "{address} {name}{before}{comment}");
    }
    files
}

fn file_of(name: &HostName) -> String {
    let hash = short_hash(name.as_str().as_bytes());
    // A hash is of hexadecimal digits.
    let first = u8::from_str_radix(&hash[..2], 16).unwrap_or_default();
    format!("{PREFIX}{:02}", first % FILES)
}

#[cfg(test)]
mod tests;
