//! Who listens where we want to. Facts are read by the driver; whether they collide is decided here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use loko_config::model::Protocol;
use loko_engine::{ContainerFacts, PublishedPort};
use nom::bytes::complete::take_while_m_n;
use nom::character::complete::{char, digit1, hex_digit1, space0, space1};
use nom::combinator::map_opt;
use nom::multi::count;
use nom::sequence::{preceded, terminated};
use nom::{IResult, Parser};
use serde::Serialize;

#[cfg(feature = "driver")]
mod read;

#[cfg(feature = "driver")]
pub use read::{address_is_here, check, read};

/// A port that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Wanted {
    /// Address and port.
    pub address: SocketAddr,
    /// TCP or UDP.
    pub protocol: Protocol,
}

/// A socket that listens (TCP) or is bound and takes datagrams of anybody (UDP).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Socket {
    /// Where.
    pub address: SocketAddr,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Whose.
    pub uid: u32,
    /// The kernel's number for it, by which a process is found.
    pub inode: u64,
}

/// A process that holds sockets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Its id on the host.
    pub pid: u32,
    /// Its name, as the kernel has it: at most 15 bytes.
    pub name: String,
    /// The sockets it holds.
    pub inodes: BTreeSet<u64>,
    /// Id of the container it is in.
    pub container: Option<String>,
}

/// All that is known of who listens on this host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Sockets.
    pub sockets: Vec<Socket>,
    /// Processes that hold them, as far as they may be seen: without root only one's own.
    pub processes: Vec<Process>,
    /// User ids and names.
    pub users: BTreeMap<u32, String>,
}

/// Somebody has a port that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, thiserror::Error, miette::Diagnostic)]
#[error("{protocol} port {wanted} is in use{} by {owner}", self.elsewhere())]
#[diagnostic(code(loko::haproxy::port_in_use))]
pub struct Conflict {
    /// What is wanted.
    pub wanted: SocketAddr,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Where they listen: the same, or all addresses.
    pub bound: SocketAddr,
    /// Who.
    pub owner: Owner,
}

/// Who has a port.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Owner {
    /// Process id, where it may be seen.
    pub pid: Option<u32>,
    /// Name of the process, where it may be seen.
    pub process: Option<String>,
    /// User, by name where it has one.
    pub user: Option<String>,
    /// Name of the container, or its id where the engine was not asked.
    pub container: Option<String>,
}

impl Conflict {
    fn elsewhere(&self) -> String {
        if self.bound == self.wanted {
            String::new()
        } else {
            format!(" (as {})", self.bound)
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.user.as_deref();
        match (&self.container, &self.process, self.pid) {
            (Some(container), _, _) => write!(f, "the container {container}"),
            (None, Some(process), Some(pid)) => {
                write!(f, "{process}, process {pid} of the user {}", user.unwrap_or("unknown"))
            }
            (None, _, _) => match user {
                Some(user) => write!(f, "a process of the user {user}; `sudo ss -ltnup` names it"),
                None => f.write_str("a process that may not be seen; `sudo ss -ltnup` names it"),
            },
        }
    }
}

/// Which of `wanted` somebody has. Sockets of processes in `ours` (containers, by id or name) do not count.
#[must_use]
pub fn conflicts(
    wanted: &[Wanted],
    facts: &Facts,
    containers: &[ContainerFacts],
    ours: &BTreeSet<String>,
) -> Vec<Conflict> {
    let mut found = BTreeSet::new();
    for wanted in wanted {
        for socket in facts
            .sockets
            .iter()
            .filter(|socket| collide(wanted, socket.address, socket.protocol))
        {
            let owner = owner(facts, socket, containers);
            let id = facts.holder(socket).and_then(|process| process.container.clone());
            if owner.container.iter().chain(&id).any(|name| ours.contains(name)) {
                continue;
            }
            found.insert(Conflict {
                wanted: wanted.address,
                protocol: wanted.protocol,
                bound: socket.address,
                owner,
            });
        }
        // An engine without a proxy of its own publishes by packet filter alone, and no socket shows it.
        for (container, port) in published(containers).filter(|(container, _)| !ours.contains(&container.name)) {
            let bound = SocketAddr::new(port.host_ip, port.host_port);
            let known = found
                .iter()
                .any(|c| c.wanted == wanted.address && c.owner.container.as_ref() == Some(&container.name));
            if !known && collide(wanted, bound, if port.udp { Protocol::Udp } else { Protocol::Tcp }) {
                found.insert(Conflict {
                    wanted: wanted.address,
                    protocol: wanted.protocol,
                    bound,
                    owner: Owner {
                        container: Some(container.name.clone()),
                        ..Owner::default()
                    },
                });
            }
        }
    }
    found.into_iter().collect()
}

/// Whether two binds of one port exclude each other. A socket bound to `::` takes IPv4 as well unless it says otherwise,
/// which cannot be seen from outside; so it counts as taking it (ipv6(7), `IPV6_V6ONLY`).
fn collide(wanted: &Wanted, bound: SocketAddr, protocol: Protocol) -> bool {
    let (wanted_ip, bound_ip) = (wanted.address.ip(), bound.ip());
    let any_v6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    wanted.protocol == protocol
        && wanted.address.port() == bound.port()
        && (wanted_ip == bound_ip
            || bound_ip == any_v6
            || wanted_ip == any_v6
            || (wanted_ip.is_ipv4() == bound_ip.is_ipv4() && (wanted_ip.is_unspecified() || bound_ip.is_unspecified())))
}

fn owner(facts: &Facts, socket: &Socket, containers: &[ContainerFacts]) -> Owner {
    let process = facts.holder(socket);
    let user = facts
        .users
        .get(&socket.uid)
        .cloned()
        .unwrap_or_else(|| socket.uid.to_string());
    let container = match process {
        Some(Process {
            container: Some(id), ..
        }) => Some(
            containers
                .iter()
                .find(|c| c.id == *id)
                .map_or_else(|| id.clone(), |c| c.name.clone()),
        ),
        // The engine's proxy listens for a container.
        Some(process) if process.name == "docker-proxy" => publisher(socket, containers),
        None => publisher(socket, containers),
        Some(_) => None,
    };
    Owner {
        pid: process.map(|process| process.pid),
        process: process.map(|process| process.name.clone()),
        user: Some(user),
        container,
    }
}

fn publisher(socket: &Socket, containers: &[ContainerFacts]) -> Option<String> {
    let udp = socket.protocol == Protocol::Udp;
    let same =
        |port: &PublishedPort| port.udp == udp && SocketAddr::new(port.host_ip, port.host_port) == socket.address;
    published(containers)
        .find(|(_, port)| same(port))
        .map(|(container, _)| container.name.clone())
}

fn published(containers: &[ContainerFacts]) -> impl Iterator<Item = (&ContainerFacts, &PublishedPort)> {
    let running = containers.iter().filter(|container| container.is_running());
    running.flat_map(|container| container.ports.iter().map(move |port| (container, port)))
}

impl Facts {
    /// The process that holds a socket. Of several (a parent and its workers) the first.
    fn holder(&self, socket: &Socket) -> Option<&Process> {
        self.processes
            .iter()
            .find(|process| process.inodes.contains(&socket.inode))
    }
}

/// Reads `/proc/net/tcp`, `tcp6`, `udp` or `udp6` (proc(5)): the sockets that keep others from binding.
/// Lines that are not understood are passed over.
#[must_use]
pub fn parse_table(text: &str, protocol: Protocol) -> Vec<Socket> {
    // TCP_LISTEN; for UDP TCP_CLOSE, which is bound and not connected (kernel: include/net/tcp_states.h).
    let wanted = match protocol {
        Protocol::Tcp => 0x0A,
        Protocol::Udp => 0x07,
    };
    let lines = text.lines().skip(1).filter_map(|line| table_line(line).ok());
    let sockets = lines.filter(|(_, line)| line.state == wanted).map(|(_, line)| Socket {
        address: line.local,
        protocol,
        uid: line.uid,
        inode: line.inode,
    });
    sockets.collect()
}

struct TableLine {
    local: SocketAddr,
    state: u8,
    uid: u32,
    inode: u64,
}

/// `sl local rem st tx:rx tr:when retrnsmt uid timeout inode …`
fn table_line(input: &str) -> IResult<&str, TableLine> {
    let (input, _) = (space0, digit1, char(':'), space1).parse(input)?;
    let (input, local) = hex_address(input)?;
    let (input, _) = (space1, hex_address, space1).parse(input)?;
    let (input, state) = map_opt(hex_digit1, |text| u8::from_str_radix(text, 16).ok()).parse(input)?;
    let (input, _) = (
        space1,
        hex_digit1,
        char(':'),
        hex_digit1,
        space1,
        hex_digit1,
        char(':'),
        hex_digit1,
    )
        .parse(input)?;
    let (input, _) = (space1, hex_digit1).parse(input)?;
    let (input, uid) = preceded(space1, map_opt(digit1, |text: &str| text.parse().ok())).parse(input)?;
    let (input, inode) = preceded(
        (space1, digit1, space1),
        map_opt(digit1, |text: &str| text.parse().ok()),
    )
    .parse(input)?;
    Ok((
        input,
        TableLine {
            local,
            state,
            uid,
            inode,
        },
    ))
}

/// `0100007F:1538`: words of 32 bits in the byte order of the machine, then the port.
fn hex_address(input: &str) -> IResult<&str, SocketAddr> {
    let word = |input| {
        let eight = take_while_m_n(8, 8, |c: char| c.is_ascii_hexdigit());
        map_opt(eight, |text| u32::from_str_radix(text, 16).ok().map(u32::to_ne_bytes)).parse(input)
    };
    let v6 = |input| {
        let bytes = |words: Vec<[u8; 4]>| <[u8; 16]>::try_from(words.concat()).ok();
        map_opt(count(word, 4), move |words| bytes(words).map(Ipv6Addr::from)).parse(input)
    };
    let port = |input| map_opt(hex_digit1, |text| u16::from_str_radix(text, 16).ok()).parse(input);
    let long: IResult<&str, (Ipv6Addr, u16)> = (terminated(v6, char(':')), port).parse(input);
    if let Ok((rest, (address, port))) = long {
        // An IPv6 socket that is bound to an IPv4 address.
        let ip = address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4);
        return Ok((rest, SocketAddr::new(ip, port)));
    }
    let (rest, (bytes, port)) = (terminated(word, char(':')), port).parse(input)?;
    Ok((rest, SocketAddr::new(Ipv4Addr::from(bytes).into(), port)))
}

/// The id of the container that a process is in, from its `/proc/<pid>/cgroup`: 64 hexadecimal digits in a row, however the
/// engine and the cgroup version put them (`/docker/<id>`, `/system.slice/docker-<id>.scope`). Where the engine itself runs in a
/// container, a path holds the ids of both, the inner one last; and with cgroup v1 the unified hierarchy's line names only the
/// outer one, so the deepest line counts.
#[must_use]
pub fn container_of_cgroup(text: &str) -> Option<String> {
    let ids = |line: &str| -> Vec<String> {
        line.split(|c: char| !c.is_ascii_hexdigit())
            .filter(|run| run.len() == 64)
            .map(str::to_ascii_lowercase)
            .collect()
    };
    text.lines().map(ids).max_by_key(Vec::len)?.pop()
}

/// Reads `/etc/passwd` (passwd(5)): user ids and names.
#[must_use]
pub fn parse_users(text: &str) -> BTreeMap<u32, String> {
    let user = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        Some((fields.nth(1)?.parse().ok()?, name.to_owned()))
    };
    text.lines().filter_map(user).collect()
}

#[cfg(test)]
mod tests {
    use loko_engine::ContainerState;

    use super::*;

    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
        \u{20}  0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000   111        0 5001 1 0 100\n\
        \u{20}  1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5002 1 0 100\n\
        \u{20}  2: 0100007F:1538 0100007F:D431 01 00000000:00000000 00:00000000 00000000   111        0 5003 1 0 100\n";
    const TCP6: &str = "  sl  local_address                         remote_address\n\
        \u{20}  0: 00000000000000000000000000000000:01BB 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 6001 1 0\n\
        \u{20}  1: 0000000000000000FFFF00000100007F:18EB 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 6002 1 0\n";

    fn wanted(address: &str, protocol: Protocol) -> Wanted {
        Wanted {
            address: address.parse().unwrap(),
            protocol,
        }
    }

    fn facts() -> Facts {
        let mut sockets = parse_table(TCP, Protocol::Tcp);
        sockets.extend(parse_table(TCP6, Protocol::Tcp));
        Facts {
            sockets,
            processes: vec![Process {
                pid: 42,
                name: "postgres".into(),
                inodes: BTreeSet::from([5001, 5003]),
                container: None,
            }],
            users: parse_users("root:x:0:0:root:/root:/bin/sh\npostgres:x:111:112::/:/bin/false\n"),
        }
    }

    fn text(wanted: &[Wanted], facts: &Facts, containers: &[ContainerFacts]) -> Vec<String> {
        let found = conflicts(wanted, facts, containers, &BTreeSet::new());
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_process_and_its_user_are_named() {
        assert_eq!(
            text(&[wanted("127.0.0.1:5432", Protocol::Tcp)], &facts(), &[]),
            ["tcp port 127.0.0.1:5432 is in use by postgres, process 42 of the user postgres"]
        );
        assert_eq!(text(&[wanted("127.0.0.2:5432", Protocol::Tcp)], &facts(), &[]), [""; 0]);
        assert_eq!(text(&[wanted("127.0.0.1:5432", Protocol::Udp)], &facts(), &[]), [""; 0]);
    }

    #[test]
    fn all_addresses_and_ipv6_any_count() {
        let found = text(
            &[
                wanted("127.0.0.1:80", Protocol::Tcp),
                wanted("127.0.0.2:443", Protocol::Tcp),
                wanted("[::1]:80", Protocol::Tcp),
                wanted("127.0.0.1:6379", Protocol::Tcp),
            ],
            &facts(),
            &[],
        );
        assert_eq!(
            found,
            [
                "tcp port 127.0.0.1:80 is in use (as 0.0.0.0:80) by a process of the user root; `sudo ss -ltnup` names it",
                "tcp port 127.0.0.1:6379 is in use by a process of the user root; `sudo ss -ltnup` names it",
                "tcp port 127.0.0.2:443 is in use (as [::]:443) by a process of the user root; `sudo ss -ltnup` names it",
            ]
        );
    }

    fn container(name: &str, id: &str) -> ContainerFacts {
        ContainerFacts {
            id: id.into(),
            name: name.into(),
            image: String::new(),
            image_id: String::new(),
            state: ContainerState::Running,
            started_at: String::new(),
            labels: BTreeMap::new(),
            addresses: BTreeMap::new(),
            ports: Vec::new(),
        }
    }

    #[test]
    fn a_container_is_named_whether_it_listens_itself_or_is_published() {
        let id = "0123456789abcdef".repeat(4);
        let mut facts = facts();
        facts.processes[0].container = Some(id.clone());
        let own = container("db", &id);
        let port = wanted("127.0.0.1:5432", Protocol::Tcp);
        assert_eq!(
            text(&[port], &facts, std::slice::from_ref(&own)),
            ["tcp port 127.0.0.1:5432 is in use by the container db"]
        );
        assert_eq!(
            conflicts(&[port], &facts, &[own], &BTreeSet::from(["db".to_owned()])),
            []
        );
        let mut other = container("web", "2");
        other.ports.push(PublishedPort {
            host_ip: "0.0.0.0".parse().unwrap(),
            host_port: 8080,
            container_port: 80,
            udp: false,
        });
        assert_eq!(
            text(&[wanted("127.0.0.1:8080", Protocol::Tcp)], &Facts::default(), &[other]),
            ["tcp port 127.0.0.1:8080 is in use (as 0.0.0.0:8080) by the container web"]
        );
    }

    #[test]
    fn the_container_of_a_process_is_in_its_cgroup() {
        let id = "f".repeat(64);
        for text in [
            format!("12:pids:/docker/{id}\n"),
            format!("0::/system.slice/docker-{id}.scope\n"),
            format!("0::/../{id}/kubelet\n"),
        ] {
            assert_eq!(container_of_cgroup(&text), Some(id.clone()));
        }
        let outer = "0".repeat(64);
        let nested = format!("8:pids:/docker/{outer}/docker/{id}\n0::/docker/{outer}\n");
        assert_eq!(container_of_cgroup(&nested), Some(id));
        assert_eq!(container_of_cgroup("0::/user.slice/user-0.slice\n"), None);
    }
}
