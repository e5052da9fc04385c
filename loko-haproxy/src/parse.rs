//! haproxy.cfg → [`Configuration`]: what is being served, read from where it is served.
//!
//! Lines that are the same in every file are passed over; whether a file is as we wrote it, its revision tells
//! ([`is_as_written`]).

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::str::FromStr;

use loko_config::names::{EnvName, NodeName};
use nom::branch::alt;
use nom::bytes::complete::{tag, take_till, take_while1};
use nom::character::complete::{space0, space1};
use nom::combinator::{all_consuming, map, map_opt, opt, rest, value};
use nom::sequence::{delimited, preceded, terminated};
use nom::{IResult, Parser};
use semver::Version;

use crate::configuration::{
    Backend, BackendId, Configuration, Frontend, FrontendKind, Limits, NamePattern, RELAY_PATH, RelayDocument, Rule,
    Target,
};
use crate::render;
use crate::routes::Upstream;

/// A text that is no haproxy.cfg of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct ParseError {
    /// From 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: &'static str,
}

/// Reads a file that [`crate::render::render`] wrote.
pub fn parse(text: &str) -> Result<Configuration, ParseError> {
    let mut reader = Reader::default();
    for (index, line) in text.lines().enumerate() {
        reader.line(line).map_err(|problem| ParseError {
            line: index + 1,
            problem,
        })?;
    }
    let end = text.lines().count() + 1;
    reader.end().map_err(|problem| ParseError { line: end, problem })
}

/// The revision that a file says it has.
#[must_use]
pub fn revision(text: &str) -> Option<&str> {
    text.lines()
        .find_map(|line| line.strip_prefix("# Revision "))
        .filter(|revision| !revision.is_empty())
}

/// The version of LoKO that wrote a file; `None` where it says none.
#[must_use]
pub fn version(text: &str) -> Option<Version> {
    let words = text.lines().next()?.strip_prefix("# Written by LoKO ")?;
    words.split(' ').next()?.parse().ok()
}

/// Whether nobody changed the file since this version rendered it.
#[must_use]
pub fn is_as_written(text: &str) -> bool {
    parse(text).is_ok_and(|configuration| render::render(&configuration).text == text)
}

#[derive(Default)]
struct Reader {
    section: Section,
    connections: Option<u32>,
    files: Option<u32>,
    threads: Option<u16>,
    rate: Option<u32>,
    statistics: Option<SocketAddr>,
    prometheus: bool,
    frontends: Vec<Frontend>,
    backends: Vec<Backend>,
    relays: Vec<RelayDocument>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Section {
    #[default]
    None,
    Global,
    Defaults,
    Statistics,
    UnknownHost,
    Frontend,
    Backend,
}

/// A line that carries something.
#[derive(Clone)]
enum Line {
    Section(Section),
    Frontend(FrontendKind, SocketAddr),
    Backend(BackendId),
    Connections(u32),
    Files(u32),
    Threads(u16),
    Rate(u32),
    Prometheus,
    Relay(RelayDocument),
    Bind(SocketAddr),
    Rule(Rule),
    Default(Option<BackendId>),
    Server(NodeName, SocketAddr, Option<(EnvName, NodeName)>),
    Other,
}

impl Reader {
    fn line(&mut self, text: &str) -> Result<(), &'static str> {
        let Ok((_, line)) = all_consuming(line).parse(text) else {
            return Err("is not written as it should be");
        };
        match line {
            Line::Section(section) => self.section = section,
            Line::Frontend(kind, listen) => {
                self.section = Section::Frontend;
                self.frontends.push(Frontend {
                    kind,
                    listen,
                    bind: listen,
                    rules: Vec::new(),
                    default: None,
                });
            }
            Line::Backend(id) => {
                self.section = Section::Backend;
                self.backends.push(Backend {
                    id,
                    port: NonZeroU16::MIN,
                    nodes: Vec::new(),
                });
            }
            Line::Connections(number) if self.section == Section::Global => self.connections = Some(number),
            Line::Files(number) if self.section == Section::Global => self.files = Some(number),
            Line::Threads(number) if self.section == Section::Global => self.threads = Some(number),
            Line::Rate(number) if self.section == Section::Defaults => self.rate = Some(number),
            // That of a frontend follows from what it is and how many nodes there are.
            Line::Rate(_) if self.section == Section::Frontend => {}
            Line::Prometheus if self.section == Section::Statistics => self.prometheus = true,
            Line::Relay(relay) if self.section == Section::Statistics => self.relays.push(relay),
            Line::Bind(address) if self.section == Section::Statistics => self.statistics = Some(address),
            Line::Bind(address) => self.frontend()?.bind = address,
            Line::Rule(rule) => self.frontend()?.rules.push(rule),
            Line::Default(backend) => self.frontend()?.default = backend,
            Line::Server(name, address, tracked) => self.server(name, address, tracked)?,
            Line::Connections(_)
            | Line::Files(_)
            | Line::Threads(_)
            | Line::Rate(_)
            | Line::Prometheus
            | Line::Relay(_) => return Err("belongs into another section"),
            Line::Other => {}
        }
        Ok(())
    }

    fn frontend(&mut self) -> Result<&mut Frontend, &'static str> {
        match self.section {
            Section::Frontend => self.frontends.last_mut().ok_or("belongs into a frontend"),
            Section::None
            | Section::Global
            | Section::Defaults
            | Section::Statistics
            | Section::UnknownHost
            | Section::Backend => Err("belongs into a frontend"),
        }
    }

    fn server(
        &mut self,
        name: NodeName,
        address: SocketAddr,
        tracked: Option<(EnvName, NodeName)>,
    ) -> Result<(), &'static str> {
        let backend = self.backends.last_mut().filter(|_| self.section == Section::Backend);
        let backend = backend.ok_or("belongs into a backend")?;
        let own = tracked.is_none_or(|(environment, node)| environment == backend.id.environment && node == name);
        if !own {
            return Err("tracks a server of somebody else");
        }
        let port = NonZeroU16::new(address.port()).ok_or("has the port 0")?;
        if backend.nodes.is_empty() {
            backend.port = port;
        } else if backend.port != port {
            return Err("has another port than the server before it");
        }
        backend.nodes.push(Upstream {
            name,
            address: address.ip(),
        });
        Ok(())
    }

    fn end(mut self) -> Result<Configuration, &'static str> {
        // A backend without nodes says nothing of its port.
        for backend in &mut self.backends {
            if backend.nodes.is_empty() {
                backend.port = NonZeroU16::MIN;
            }
        }
        Ok(Configuration {
            limits: Limits {
                connections: self.connections.ok_or("`maxconn` is missing")?,
                files: self.files.ok_or("`fd-hard-limit` is missing")?,
                threads: self.threads.ok_or("`nbthread` is missing")?,
                rate: self.rate.ok_or("`rate-limit sessions` is missing")?,
            },
            statistics: self.statistics.ok_or("the statistics are missing")?,
            prometheus: self.prometheus,
            frontends: self.frontends,
            backends: self.backends,
            relays: self.relays,
        })
    }
}

fn line(input: &str) -> IResult<&str, Line> {
    let directive = alt((
        map(preceded((tag("maxconn"), space1), parsed), Line::Connections),
        map(preceded((tag("fd-hard-limit"), space1), parsed), Line::Files),
        map(preceded((tag("nbthread"), space1), parsed), Line::Threads),
        map(preceded((tag("rate-limit sessions"), space1), parsed), Line::Rate),
        map(
            preceded((tag("bind"), space1), terminated(parsed, opt(tag(" transparent")))),
            Line::Bind,
        ),
        map(preceded((tag("use_backend"), space1), rule), Line::Rule),
        value(Line::Default(None), tag("default_backend loko:unknown-host")),
        map(preceded((tag("default_backend"), space1), parsed), |id| {
            Line::Default(Some(id))
        }),
        map(preceded((tag("server"), space1), server), |(name, address, tracked)| {
            Line::Server(name, address, tracked)
        }),
        value(
            Line::Prometheus,
            (tag("http-request use-service prometheus-exporter"), rest),
        ),
        map(relay, Line::Relay),
        value(Line::Other, other),
    ));
    alt((
        value(Line::Other, (space0, tag("#"), rest)),
        value(Line::Section(Section::Global), tag("global")),
        value(Line::Section(Section::Defaults), tag("defaults")),
        value(Line::Section(Section::Statistics), tag("frontend loko:statistics")),
        value(Line::Section(Section::UnknownHost), tag("backend loko:unknown-host")),
        map(preceded((tag("frontend"), space1), frontend_name), |(kind, listen)| {
            Line::Frontend(kind, listen)
        }),
        map(preceded((tag("backend"), space1), parsed), Line::Backend),
        preceded(
            (space1, nom::combinator::peek(take_while1(|c: char| !c.is_whitespace()))),
            directive,
        ),
        value(Line::Other, space0),
    ))
    .parse(input)
}

/// A directive that is the same in every file. One that carries something and was not understood is none of these.
fn other(input: &str) -> IResult<&str, &str> {
    let carries = [
        "maxconn",
        "fd-hard-limit",
        "nbthread",
        "rate-limit",
        "bind",
        "use_backend",
        "default_backend",
        "server",
    ];
    let word = input.split_whitespace().next().unwrap_or_default();
    if carries.contains(&word) {
        return Err(nom::Err::Error(nom::error::Error::new(
            input,
            nom::error::ErrorKind::Tag,
        )));
    }
    rest(input)
}

/// `http-request return … lf-string '<body>' if { path /loko/udp/dev }`
fn relay(input: &str) -> IResult<&str, RelayDocument> {
    let head = "http-request return status 200 content-type application/json lf-string '";
    let (input, body) = delimited(tag(head), take_till(|c| c == '\''), tag("' if { path ")).parse(input)?;
    let (input, environment) = delimited((tag(RELAY_PATH), tag("/")), parsed, tag(" }")).parse(input)?;
    let body = body.to_owned();
    Ok((input, RelayDocument { environment, body }))
}

/// One word, read as a value.
fn parsed<T: FromStr>(input: &str) -> IResult<&str, T> {
    map_opt(take_while1(|c: char| !c.is_whitespace()), |word: &str| {
        word.parse().ok()
    })
    .parse(input)
}

/// `https:127.0.0.1:443`; an IPv6 address has no brackets.
fn frontend_name(input: &str) -> IResult<&str, (FrontendKind, SocketAddr)> {
    let kind = alt((
        value(FrontendKind::Https, tag("https:")),
        value(FrontendKind::Http, tag("http:")),
        value(FrontendKind::Sni, tag("sni:")),
        value(FrontendKind::Tcp, tag("tcp:")),
    ));
    (kind, map_opt(rest, bare_address)).parse(input)
}

pub(crate) fn bare_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.rsplit_once(':')?;
    Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?))
}

/// `dev:https if { req.ssl_sni -i dev.me } || { req.ssl_sni -i -m end .dev.me }`
fn rule(input: &str) -> IResult<&str, Rule> {
    let (input, backend) = parsed(input)?;
    let (input, first) = preceded(tag(" if "), condition).parse(input)?;
    let (input, second) = opt(preceded(tag(" || "), condition)).parse(input)?;
    let names = match second {
        None => first.parse().ok().map(NamePattern::Host),
        Some(second) if second.strip_prefix("-m end .") == Some(first) => first.parse().ok().map(NamePattern::Domain),
        Some(_) => None,
    };
    match names {
        Some(names) => Ok((input, Rule { names, backend })),
        None => Err(nom::Err::Error(nom::error::Error::new(
            input,
            nom::error::ErrorKind::Verify,
        ))),
    }
}

/// The pattern between the sample and the closing brace.
fn condition(input: &str) -> IResult<&str, &str> {
    let sample = alt((tag("req.hdr(host),host_only"), tag("req.ssl_sni")));
    let pattern = map(take_till(|c| c == '}'), str::trim_end);
    delimited((tag("{ "), sample, tag(" -i ")), pattern, tag("}")).parse(input)
}

type Server = (NodeName, SocketAddr, Option<(EnvName, NodeName)>);

/// `loko-dev-worker 172.18.0.3:30081 track dev:nodes/loko-dev-worker send-proxy-v2`
fn server(input: &str) -> IResult<&str, Server> {
    let tracked = map_opt(take_while1(|c: char| !c.is_whitespace()), |word: &str| {
        let (backend, node) = word.split_once('/')?;
        let id: BackendId = backend.parse().ok()?;
        (id.target == Target::Nodes).then_some((id.environment, node.parse().ok()?))
    });
    terminated(
        (
            terminated(parsed, space1),
            parsed,
            opt(preceded(tag(" track "), tracked)),
        ),
        alt((
            tag(" send-proxy-v2"),
            preceded(
                tag(" "),
                alt((tag(render::CHECKS_OF_ONE), tag(render::CHECKS_OF_SEVERAL))),
            ),
            tag(""),
        )),
    )
    .parse(input)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use loko_engine::EdgeMode;
    use proptest::prelude::*;

    use super::*;
    use crate::configuration::{Settings, decide};
    use crate::routes::tests::port;
    use crate::routes::{Routes, TcpRoute, conflicts};

    fn any_routes() -> impl Strategy<Value = Routes> {
        let address = prop_oneof![Just("127.0.0.1"), Just("127.0.0.2"), Just("::1"), Just("192.0.2.7")];
        let domain = prop_oneof!["[a-c]\\.me", "[a-c]\\.[a-c]\\.me"];
        let host = prop_oneof!["[a-c]\\.[a-c]\\.me", "[a-c]\\.[a-c]\\.[a-c]\\.me", "[a-c]\\.org"];
        let tcp = (
            "[a-c]",
            5000u16..5006,
            30001u16..30065,
            prop::collection::btree_set("[a-c]\\.tls\\.me", 0..3),
        );
        let nodes = prop::collection::btree_map("[a-d]", 1u8..255, 1..4);
        (
            address,
            domain,
            prop::collection::btree_set(host, 0..4),
            prop::collection::vec(tcp, 0..5),
            nodes,
            prop_oneof![Just((80u16, 443u16)), Just((8080, 8443)), Just((443, 80))],
        )
            .prop_map(|(address, domain, hosts, tcp, nodes, (http, https))| Routes {
                environment: "x".parse().unwrap(),
                address: address.parse().unwrap(),
                http: port(http),
                https: port(https),
                domain: domain.parse().unwrap(),
                hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
                nodes: nodes
                    .iter()
                    .map(|(name, last)| Upstream {
                        name: name.parse().unwrap(),
                        address: format!("172.30.128.{last}").parse().unwrap(),
                    })
                    .collect(),
                tcp: tcp
                    .iter()
                    .map(|(workload, listen, node_port, sni)| TcpRoute {
                        workload: workload.parse().unwrap(),
                        listen: port(*listen),
                        node_port: port(*node_port),
                        sni: sni.iter().map(|host| host.parse().unwrap()).collect(),
                    })
                    .collect(),
                udp: if http == 8080 {
                    crate::relay::tests::udp()
                } else {
                    Vec::new()
                },
            })
    }

    /// Environments `a`, `b`, … as they come to be: each is added only where it collides with none before it.
    fn any_environments() -> impl Strategy<Value = BTreeMap<EnvName, Routes>> {
        prop::collection::vec(any_routes(), 0..4).prop_map(|list| {
            let mut all = BTreeMap::new();
            for (index, mut routes) in list.into_iter().enumerate() {
                let name = char::from(b'a' + u8::try_from(index).unwrap());
                routes.environment = name.to_string().parse().unwrap();
                for (node, prefix) in routes.nodes.iter_mut().zip(0u8..) {
                    node.name = format!("loko-{name}-{prefix}").parse().unwrap();
                }
                if conflicts(&all, &routes).is_empty() {
                    all.insert(routes.environment.clone(), routes);
                }
            }
            all
        })
    }

    fn any_settings() -> impl Strategy<Value = Settings> {
        (any::<u64>(), any::<u32>(), any::<bool>(), any::<bool>()).prop_map(|(files, cpus, prometheus, host)| {
            Settings {
                limits: Limits::new(files, cpus).with_local_ports(cpus),
                prometheus,
                statistics: 18404,
                mode: if host {
                    EdgeMode::HostNetwork
                } else {
                    EdgeMode::Published
                },
                published: Vec::new(),
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_rendered_is_read_back(all in any_environments(), settings in any_settings()) {
            let configuration = decide(&all, &settings);
            let rendered = render::render(&configuration);
            prop_assert_eq!(parse(&rendered.text).unwrap(), configuration);
            prop_assert_eq!(revision(&rendered.text), Some(rendered.revision.as_str()));
            prop_assert_eq!(version(&rendered.text), env!("CARGO_PKG_VERSION").parse().ok());
            prop_assert!(is_as_written(&rendered.text));
            prop_assert!(!is_as_written(&rendered.text.replace("retries 3", "retries 4")));
        }

        #[test]
        fn no_environments_route_reaches_anothers_backend(all in any_environments(), settings in any_settings()) {
            let configuration = parse(&render::render(&decide(&all, &settings)).text).unwrap();
            for routes in all.values() {
                let own: BTreeSet<_> = routes.nodes.iter().collect();
                let mut names: Vec<String> = routes.hosts.iter().map(ToString::to_string).collect();
                names.extend([routes.domain.to_string(), format!("deep.name.{}", routes.domain)]);
                for (listen, name) in [routes.http, routes.https].iter().flat_map(|p| names.iter().map(move |n| (p, n))) {
                    let backend = configuration.route(SocketAddr::new(routes.address, listen.get()), Some(name)).unwrap();
                    // A name deep below may lie in the domain of another, which is then the longer suffix.
                    let nested = all.values().any(|other| {
                        other.environment != routes.environment
                            && crate::routes::covers(&other.domain, &name.parse().unwrap())
                            && other.domain.as_str().len() > routes.domain.as_str().len()
                    });
                    prop_assert!(nested || backend.id.environment == routes.environment);
                    if !nested {
                        prop_assert_eq!(backend.nodes.iter().collect::<BTreeSet<_>>(), own.clone());
                    }
                }
            }
            for backend in &configuration.backends {
                let routes = &all[&backend.id.environment];
                prop_assert_eq!(&backend.nodes, &routes.nodes, "a backend holds its own environment's nodes");
            }
            for frontend in &configuration.frontends {
                for id in frontend.rules.iter().map(|rule| &rule.backend).chain(&frontend.default) {
                    prop_assert_eq!(all[&id.environment].address, frontend.listen.ip());
                }
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}", cut in 0usize..4000) {
            let _ = parse(&text);
            let configuration = decide(&BTreeMap::new(), &Settings {
                limits: Limits::new(1024, 1), prometheus: true, statistics: 1, mode: EdgeMode::HostNetwork, published: Vec::new(),
            });
            let whole = render::render(&configuration).text;
            let end = whole.char_indices().map(|(i, _)| i).nth(cut).unwrap_or(whole.len());
            let _ = parse(&whole[..end]);
        }
    }

    #[test]
    fn a_damaged_line_is_named() {
        let text = "global\n    maxconn many\n";
        assert_eq!(
            parse(text).unwrap_err().to_string(),
            "line 2: is not written as it should be"
        );
        let stolen = "backend dev:http\n    server a 172.30.0.1:30081 track shop:nodes/a send-proxy-v2\n";
        assert_eq!(parse(stolen).unwrap_err().problem, "tracks a server of somebody else");
    }
}
