//! HAProxy's statistics (CSV, HAProxy management guide §9.1) → health, connections and bytes of each route.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use loko_config::names::NodeName;
use nom::branch::alt;
use nom::bytes::complete::{is_not, tag, take_till};
use nom::character::complete::char;
use nom::combinator::{map, value};
use nom::multi::{fold_many0, separated_list1};
use nom::sequence::delimited;
use nom::{IResult, Parser};
use serde::Serialize;

use crate::configuration::{BackendId, Target};
use crate::parse::bare_address;

/// One line of the statistics, as far as we read it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Frontend or backend.
    pub proxy: String,
    /// `FRONTEND`, `BACKEND`, or the server's name.
    pub server: String,
    /// `UP`, `DOWN`, `OPEN`, `no check`, …
    pub status: String,
    /// Sessions now.
    pub now: u64,
    /// Sessions since the process started.
    pub total: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
    /// What the last check said, for example `L7OK` or `L4CON`.
    pub check: String,
    /// Seconds since the status last changed.
    pub since: u64,
}

/// Everything that is served, by where it is and whose.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Statistics {
    /// By the name in haproxy.cfg.
    pub frontends: BTreeMap<String, Traffic>,
    /// By environment and purpose.
    pub backends: BTreeMap<BackendId, BackendStatistics>,
}

/// How much went through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Connections now.
    pub now: u64,
    /// Connections since the process started, which is the last change.
    pub total: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
}

/// The nodes of an environment, and what went to them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BackendStatistics {
    /// All of it.
    pub traffic: Traffic,
    /// Each node.
    pub nodes: BTreeMap<NodeName, NodeHealth>,
}

/// Whether a node takes connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeHealth {
    /// Whether it is up. A node that was not checked yet counts as up, as HAProxy has it.
    pub up: bool,
    /// HAProxy's own words: `UP`, `DOWN`, `UP 1/2`.
    pub status: String,
    /// What the last check said.
    pub check: String,
    /// Seconds since that changed.
    pub since: u64,
}

/// A text that is not HAProxy's statistics.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not HAProxy's statistics: {problem}")]
pub struct StatsError {
    /// From 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: &'static str,
}

impl BackendStatistics {
    /// How many of its nodes are up.
    #[must_use]
    pub fn up(&self) -> usize {
        self.nodes.values().filter(|node| node.up).count()
    }
}

impl Statistics {
    /// Traffic at a TCP port of the host.
    #[must_use]
    pub fn at(&self, listen: SocketAddr) -> Option<Traffic> {
        let found = self.frontends.iter().find(|(name, _)| {
            let address = name.split_once(':').and_then(|(_, address)| bare_address(address));
            address == Some(listen)
        });
        found.map(|(_, traffic)| *traffic)
    }

    /// Sorts rows by what they are of; rows of LoKO itself are left out.
    #[must_use]
    pub fn of(rows: &[Row]) -> Self {
        let mut statistics = Self::default();
        for row in rows {
            let traffic = Traffic {
                now: row.now,
                total: row.total,
                bytes_in: row.bytes_in,
                bytes_out: row.bytes_out,
            };
            if row.server == "FRONTEND" {
                if !row.proxy.starts_with("loko:") {
                    statistics.frontends.insert(row.proxy.clone(), traffic);
                }
                continue;
            }
            let Ok(id) = row.proxy.parse::<BackendId>() else {
                continue;
            };
            let backend = statistics.backends.entry(id).or_default();
            if row.server == "BACKEND" {
                backend.traffic = traffic;
            } else if let Ok(node) = row.server.parse() {
                backend.nodes.insert(node, NodeHealth::of(row));
            }
        }
        statistics
    }

    /// Health of an environment's nodes, by their one check.
    #[must_use]
    pub fn nodes(&self, environment: &loko_config::names::EnvName) -> BTreeMap<NodeName, NodeHealth> {
        let id = BackendId {
            environment: environment.clone(),
            target: Target::Nodes,
        };
        self.backends
            .get(&id)
            .map(|backend| backend.nodes.clone())
            .unwrap_or_default()
    }
}

impl NodeHealth {
    fn of(row: &Row) -> Self {
        Self {
            // `UP`, `UP 1/2` (going down), `no check`; a draining or stopped one takes nothing new.
            up: row.status.starts_with("UP") || row.status == "no check",
            status: row.status.clone(),
            check: row.check.clone(),
            since: row.since,
        }
    }
}

/// Reads the whole text. Columns are found by their names, because each version adds some.
pub fn parse(text: &str) -> Result<Vec<Row>, StatsError> {
    let mut lines = text.lines().enumerate();
    let at = |line: usize, problem| StatsError {
        line: line + 1,
        problem,
    };
    let header = lines.next().and_then(|(_, line)| line.strip_prefix("# "));
    let names = fields(header.ok_or(at(0, "the names of the columns are missing"))?);
    let names = names.map_err(|problem| at(0, problem))?;
    let columns: BTreeMap<&str, usize> = names.iter().enumerate().map(|(i, name)| (name.as_str(), i)).collect();
    for needed in ["pxname", "svname", "status"] {
        if !columns.contains_key(needed) {
            return Err(at(0, "a column that is always there is missing"));
        }
    }
    let mut rows = Vec::new();
    for (index, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let values = fields(line).map_err(|problem| at(index, problem))?;
        let text = |name: &str| {
            columns
                .get(name)
                .and_then(|i| values.get(*i))
                .cloned()
                .unwrap_or_default()
        };
        // A number that a kind of row does not have is empty.
        let number = |name: &str| text(name).parse::<u64>().unwrap_or_default();
        if text("pxname").is_empty() || text("svname").is_empty() {
            return Err(at(index, "it names nothing"));
        }
        rows.push(Row {
            proxy: text("pxname"),
            server: text("svname"),
            status: text("status"),
            now: number("scur"),
            total: number("stot"),
            bytes_in: number("bin"),
            bytes_out: number("bout"),
            check: text("check_status"),
            since: number("lastchg"),
        });
    }
    Ok(rows)
}

fn fields(line: &str) -> Result<Vec<String>, &'static str> {
    match separated_list1(char(','), alt((quoted, plain))).parse(line) {
        Ok(("", fields)) => Ok(fields),
        Ok(_) | Err(_) => Err("it is not separated by commas"),
    }
}

/// RFC 4180: quotes around, doubled inside.
fn quoted(input: &str) -> IResult<&str, String> {
    let piece = alt((is_not("\""), value("\"", tag("\"\""))));
    let inside = fold_many0(piece, String::new, |mut text, piece: &str| {
        text.push_str(piece);
        text
    });
    delimited(char('"'), inside, char('"')).parse(input)
}

fn plain(input: &str) -> IResult<&str, String> {
    map(take_till(|c| matches!(c, ',' | '"')), str::to_owned).parse(input)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "# pxname,svname,scur,stot,bin,bout,status,lastchg,check_status,last_chk,\n\
        loko:statistics,FRONTEND,1,9,100,200,OPEN,,,,\n\
        https:127.0.0.1:443,FRONTEND,2,12,300,400,OPEN,,,,\n\
        tcp:::1:5432,FRONTEND,1,7,30,40,OPEN,,,,\n\
        dev:nodes,loko-dev-worker,0,0,0,0,DOWN,3,L4CON,\"Connection \"\"refused\"\", at once\",\n\
        dev:nodes,BACKEND,0,0,0,0,DOWN,3,,,\n\
        dev:tcp:postgres:5432,loko-dev-worker,1,7,30,40,UP 1/2,8,,,\n\
        dev:tcp:postgres:5432,BACKEND,1,7,30,40,UP,8,,,\n";

    #[test]
    fn each_route_has_its_numbers() {
        let statistics = Statistics::of(&parse(TEXT).unwrap());
        assert_eq!(statistics.frontends.len(), 2, "LoKO's own is left out");
        assert_eq!(statistics.at("[::1]:5432".parse().unwrap()).unwrap().total, 7);
        assert_eq!(statistics.at("127.0.0.1:443".parse().unwrap()).unwrap().bytes_out, 400);
        let nodes = statistics.nodes(&"dev".parse().unwrap());
        let worker = nodes.values().next().unwrap();
        assert_eq!((worker.up, worker.check.as_str(), worker.since), (false, "L4CON", 3));
        let postgres = &statistics.backends[&"dev:tcp:postgres:5432".parse().unwrap()];
        assert_eq!((postgres.up(), postgres.traffic.now), (1, 1));
    }

    #[test]
    fn what_is_no_statistics_is_named() {
        assert_eq!(parse("").unwrap_err().line, 1);
        assert_eq!(parse("<html>").unwrap_err().line, 1);
        assert_eq!(parse("# pxname,svname,status\n,,\n").unwrap_err().line, 2);
        assert_eq!(parse("# pxname,svname,status\na,\"b,c\n").unwrap_err().line, 2);
    }

    proptest! {
        #[test]
        fn fields_come_back_whatever_is_in_them(values in prop::collection::vec("[ -~]{0,12}", 1..8)) {
            let line: Vec<String> = values.iter().map(|v| format!("\"{}\"", v.replace('"', "\"\""))).collect();
            prop_assert_eq!(fields(&line.join(",")).unwrap(), values);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            let _ = parse(&text);
            let _ = parse(&format!("# pxname,svname,status\n{text}"));
        }
    }
}
