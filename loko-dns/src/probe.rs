//! Asks one server one question. What to send and how to read the reply is decided here, without a socket or a clock;
//! the `client` module (feature `driver`) sends and waits.
//!
//! ```text
//! Question ─→ Exchange ─ next() ─→ Step::Udp(bytes) │ Step::Tcp(bytes) ─→ socket
//!                 ↑                                                          │
//!                 └────────── Event::Reply(bytes) │ Lost │ Refused ←─────────┘   … until Step::Done(Answer) or Failed
//! ```

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use miette::Diagnostic;
use serde::Serialize;
use thiserror::Error;

#[cfg(feature = "driver")]
mod client;
#[cfg(feature = "driver")]
pub use client::ask;

/// Largest reply over UDP that is asked for, in bytes: it fits every path without fragments (DNS flag day 2020).
pub const PAYLOAD: u16 = 1232;

/// A record type (RFC 1035 §3.2.2, RFC 3596, RFC 9460).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Kind {
    /// IPv4 address.
    A,
    /// IPv6 address.
    Aaaa,
    /// Service binding for HTTPS, which browsers ask for beside addresses.
    Https,
    /// Text.
    Txt,
    /// Start of authority.
    Soa,
}

impl Kind {
    fn record_type(self) -> RecordType {
        match self {
            Self::A => RecordType::A,
            Self::Aaaa => RecordType::AAAA,
            Self::Https => RecordType::HTTPS,
            Self::Txt => RecordType::TXT,
            Self::Soa => RecordType::SOA,
        }
    }

    /// The type that holds addresses of this family.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::A } else { Self::Aaaa }
    }

    /// The type that holds addresses of the other family.
    #[must_use]
    pub fn other_family(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Aaaa } else { Self::A }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.record_type())
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Chosen at random by the caller, so that a reply of somebody else's is not taken for the server's.
    pub id: u16,
    /// A host name, with or without the last dot.
    pub name: String,
    /// The record type.
    pub kind: Kind,
}

/// How long and how often to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For each attempt. Default 1 s.
    pub timeout: Duration,
    /// Attempts over UDP, at least one. Default 3.
    pub attempts: u8,
    /// Largest reply over UDP that is asked for, by EDNS. Default [`PAYLOAD`].
    pub payload: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(1),
            attempts: 3,
            payload: PAYLOAD,
        }
    }
}

/// How a server ended a question (RFC 1035 §4.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Code {
    /// It knows the name, or at least a name below it.
    NoError,
    /// There is no such name.
    NxDomain,
    /// It does not answer for such names.
    Refused,
    /// It failed.
    ServFail,
    /// Anything else.
    Other(u16),
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoError => f.write_str("NOERROR"),
            Self::NxDomain => f.write_str("NXDOMAIN"),
            Self::Refused => f.write_str("REFUSED"),
            Self::ServFail => f.write_str("SERVFAIL"),
            Self::Other(code) => write!(f, "RCODE{code}"),
        }
    }
}

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Answer {
    /// How it ended.
    pub code: Code,
    /// Addresses in the answer.
    pub addresses: BTreeSet<IpAddr>,
    /// Records in the answer, of whatever type.
    pub records: usize,
    /// Lowest time to live in the answer, in seconds; `None` where it is empty.
    pub ttl: Option<u32>,
    /// Whether it came over TCP, because it did not fit a datagram.
    pub tcp: bool,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error, Diagnostic)]
#[non_exhaustive]
pub enum ProbeError {
    /// The name cannot be asked for.
    #[error("`{name}` is no name that can be asked for")]
    #[diagnostic(code(loko::dns::name))]
    Name {
        /// The name.
        name: String,
    },
    /// Nothing came back in time.
    #[error("no reply in {attempts} attempts")]
    #[diagnostic(
        code(loko::dns::silent),
        help("a firewall may drop the queries; `ss -lnup` shows what listens")
    )]
    Silent {
        /// How often it was asked.
        attempts: u8,
    },
    /// The host said that nothing listens there.
    #[error("nothing listens there")]
    #[diagnostic(code(loko::dns::closed), help("`loko create` starts what should listen"))]
    Closed,
    /// The answer does not fit a datagram, and TCP failed.
    #[error("the reply was cut off, and TCP fails")]
    #[diagnostic(
        code(loko::dns::tcp),
        help("a firewall may let UDP through and not TCP; both are needed on this port")
    )]
    Tcp,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send this datagram and wait at most [`Limits::timeout`].
    Udp(Vec<u8>),
    /// Send this message over TCP, two bytes of length before it (RFC 1035 §4.2.2), and wait at most [`Limits::timeout`].
    Tcp(Vec<u8>),
    /// Go on waiting: what came was not the reply.
    Wait,
    /// It is over.
    Done(Answer),
    /// It is over, without an answer.
    Failed(ProbeError),
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// A message came.
    Reply(&'a [u8]),
    /// The time of this attempt is over.
    Lost,
    /// The host said that nothing listens, or the connection broke.
    Refused,
}

/// One question from the first datagram to the answer.
#[derive(Debug, Clone)]
pub struct Exchange {
    question: Question,
    name: Name,
    limits: Limits,
    attempt: u8,
    edns: bool,
    tcp: bool,
}

impl Exchange {
    /// Starts: the first step is a datagram.
    pub fn start(question: Question, limits: Limits) -> Result<(Self, Step), ProbeError> {
        let mut name = Name::from_ascii(&question.name).map_err(|_| ProbeError::Name {
            name: question.name.clone(),
        })?;
        name.set_fqdn(true);
        let exchange = Self {
            question,
            name,
            limits,
            attempt: 1,
            edns: true,
            tcp: false,
        };
        let first = exchange.send();
        Ok((exchange, first))
    }

    /// Takes what happened and says what to do.
    pub fn next(&mut self, event: &Event<'_>) -> Step {
        match event {
            Event::Reply(bytes) => match self.read(bytes) {
                None => Step::Wait,
                // A server that does not know EDNS says so by FORMERR (RFC 6891 §7).
                Some(reply) if self.edns && reply.metadata.response_code == ResponseCode::FormErr => {
                    self.edns = false;
                    self.send()
                }
                Some(reply) if reply.metadata.truncation && !self.tcp => {
                    self.tcp = true;
                    self.send()
                }
                Some(reply) => Step::Done(self.answer(&reply)),
            },
            Event::Lost | Event::Refused if self.tcp => Step::Failed(ProbeError::Tcp),
            Event::Refused => Step::Failed(ProbeError::Closed),
            Event::Lost if self.attempt < self.limits.attempts => {
                self.attempt += 1;
                self.send()
            }
            Event::Lost => Step::Failed(ProbeError::Silent { attempts: self.attempt }),
        }
    }

    fn send(&self) -> Step {
        let mut message = Message::new(self.question.id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(self.name.clone(), self.question.kind.record_type()));
        if self.edns {
            let mut edns = Edns::new();
            edns.set_max_payload(self.limits.payload.max(512));
            message.set_edns(edns);
        }
        match message.to_vec() {
            Ok(bytes) if self.tcp => Step::Tcp(bytes),
            Ok(bytes) => Step::Udp(bytes),
            Err(_) => Step::Failed(ProbeError::Name {
                name: self.question.name.clone(),
            }),
        }
    }

    /// The message, where it is the reply to this question (RFC 5452 §9.1).
    fn read(&self, bytes: &[u8]) -> Option<Message> {
        let message = Message::from_vec(bytes).ok()?;
        let header = &message.metadata;
        let ours = header.id == self.question.id && header.message_type == MessageType::Response;
        let asked = message.queries.first();
        let same =
            asked.is_some_and(|query| query.name == self.name && query.query_type == self.question.kind.record_type());
        // A server that could not read the question cannot repeat it.
        let unread = asked.is_none() && header.response_code == ResponseCode::FormErr;
        (ours && (same || unread)).then_some(message)
    }

    fn answer(&self, reply: &Message) -> Answer {
        let code = match reply.metadata.response_code.into() {
            0u16 => Code::NoError,
            2 => Code::ServFail,
            3 => Code::NxDomain,
            5 => Code::Refused,
            other => Code::Other(other),
        };
        let addresses = reply.answers.iter().filter_map(|record| {
            if let RData::A(address) = &record.data {
                Some(IpAddr::V4(address.0))
            } else if let RData::AAAA(address) = &record.data {
                Some(IpAddr::V6(address.0))
            } else {
                None
            }
        });
        Answer {
            code,
            addresses: addresses.collect(),
            records: reply.answers.len(),
            ttl: reply.answers.iter().map(|record| record.ttl).min(),
            tcp: self.tcp,
        }
    }
}

#[cfg(test)]
mod tests;
