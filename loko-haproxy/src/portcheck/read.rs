//! Reads who listens on this host, from `/proc`. Where there is none, a port is tried by binding it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::path::Path;

use loko_config::model::Protocol;
use loko_engine::ContainerFacts;

use super::{Conflict, Facts, Owner, Process, Wanted, conflicts, container_of_cgroup, parse_table, parse_users};

/// Which of `wanted` somebody on this host has; see [`conflicts`] for `containers` and `ours`.
#[must_use]
pub fn check(wanted: &[Wanted], containers: &[ContainerFacts], ours: &BTreeSet<String>) -> Vec<Conflict> {
    let proc = Path::new("/proc");
    let facts = read(proc, Path::new("/etc/passwd"), &|facts| {
        !conflicts(wanted, facts, containers, ours).is_empty()
    });
    let mut found = conflicts(wanted, &facts, containers, ours);
    if facts.sockets.is_empty() {
        let tried = wanted
            .iter()
            .filter(|wanted| !found.iter().any(|c| c.wanted == wanted.address));
        let busy: Vec<Conflict> = tried.filter(|wanted| is_busy(wanted)).map(unseen).collect();
        found.extend(busy);
    }
    found
}

/// Whether an address is one of this host's. HAProxy listens on one that is not without complaint.
#[must_use]
pub fn address_is_here(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok_and(|socket| socket.local_addr().is_ok())
}

/// The facts below `proc`, which is `/proc`. Looking through all processes takes time on a busy machine and is done only
/// where `worth_it` says so of the sockets.
#[must_use]
pub fn read(proc: &Path, passwd: &Path, worth_it: &dyn Fn(&Facts) -> bool) -> Facts {
    let text = |path: &Path| fs_err::read_to_string(path).unwrap_or_default();
    let mut facts = Facts::default();
    for (file, protocol) in [
        ("net/tcp", Protocol::Tcp),
        ("net/tcp6", Protocol::Tcp),
        ("net/udp", Protocol::Udp),
        ("net/udp6", Protocol::Udp),
    ] {
        facts.sockets.extend(parse_table(&text(&proc.join(file)), protocol));
    }
    if !worth_it(&facts) {
        return facts;
    }
    facts.users = parse_users(&text(passwd));
    let wanted: BTreeSet<u64> = facts.sockets.iter().map(|socket| socket.inode).collect();
    let mut processes = BTreeMap::new();
    for entry in fs_err::read_dir(proc).into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let inodes: BTreeSet<u64> = sockets_of(&entry.path()).intersection(&wanted).copied().collect();
        if !inodes.is_empty() {
            let process = Process {
                pid,
                name: text(&entry.path().join("comm")).trim_end().to_owned(),
                inodes,
                container: container_of_cgroup(&text(&entry.path().join("cgroup"))),
            };
            processes.insert(pid, process);
        }
    }
    facts.processes = processes.into_values().collect();
    facts
}

/// The sockets among a process's open files: links named `socket:[inode]`. Empty where they may not be seen.
fn sockets_of(process: &Path) -> BTreeSet<u64> {
    let files = fs_err::read_dir(process.join("fd")).into_iter().flatten().flatten();
    let inode = |entry: fs_err::DirEntry| {
        let link = fs_err::read_link(entry.path()).ok()?;
        link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    files.filter_map(inode).collect()
}

fn is_busy(wanted: &Wanted) -> bool {
    let bound = match wanted.protocol {
        Protocol::Tcp => TcpListener::bind(wanted.address).map(drop),
        Protocol::Udp => UdpSocket::bind(wanted.address).map(drop),
    };
    // A low port that may not be bound, or an address that is not here, says nothing of anybody else.
    bound.is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
}

fn unseen(wanted: &Wanted) -> Conflict {
    Conflict {
        wanted: wanted.address,
        protocol: wanted.protocol,
        bound: wanted.address,
        owner: Owner::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_here_and_a_test_network_is_not() {
        assert!(address_is_here("127.0.0.1".parse().unwrap()));
        // TEST-NET-3 of RFC 5737.
        assert!(!address_is_here("203.0.113.77".parse().unwrap()));
    }

    #[test]
    fn our_own_listener_is_found_with_its_process() {
        if !Path::new("/proc/net/tcp").exists() {
            println!("skipped: no /proc");
            return;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wanted = Wanted {
            address: listener.local_addr().unwrap(),
            protocol: Protocol::Tcp,
        };
        let found = check(&[wanted], &[], &BTreeSet::new());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].owner.pid, Some(std::process::id()));
        drop(listener);
        assert_eq!(check(&[wanted], &[], &BTreeSet::new()), []);
    }
}
