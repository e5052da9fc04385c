//! Values that can be written in two ways: a word, or a map.

use serde_json::json;

use crate::model::{MirrorSource, Protocol};
use crate::problem::{Cause, Span};
use crate::read::{Choice, Cx, Field, Port, Read, Spanned, choice, integer, near, section};
use crate::shape::{Branch, Shape, Tree};
use crate::yaml::{Node, Value, plain};

/// One of `registry.mirroring.sources`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RawSource {
    pub(crate) name: String,
    pub(crate) known: Option<MirrorSource>,
    pub(crate) enabled: bool,
    pub(crate) url: Option<Spanned<String>>,
    pub(crate) prefix: Option<Spanned<String>>,
    pub(crate) credentials: Option<Spanned<RawCredentials>>,
}

impl RawSource {
    fn known(name: MirrorSource) -> Self {
        Self {
            name: name.word().to_owned(),
            known: Some(name),
            enabled: true,
            url: None,
            prefix: None,
            credentials: None,
        }
    }

    /// Every source, enabled.
    pub(crate) fn all() -> Vec<Spanned<Self>> {
        let each = MirrorSource::WORDS.iter().map(|(_, name)| Spanned {
            value: Self::known(*name),
            span: Span::default(),
        });
        each.collect()
    }
}

section! {
    /// A registry that can be mirrored.
    RawSourceMap "registry.mirroring.sources[]" {
        /// `docker_hub`, `quay`, `ghcr`, `k8s_registry`, `mcr`, or a name of your own.
        name "name": String, required;
        /// Whether nodes pull from it through the registry.
        enabled "enabled": bool, default(true);
        /// Where images come from, `http://` or `https://`. Needed for a name of your own; for the others instead of
        /// their own address.
        url "url": String, optional;
        /// The host by which images are named, such as `registry.corp.example:5000`. Default: the host of `url`.
        prefix "prefix": String, optional;
        /// How the mirror is known there, for images that not everybody may pull and for higher limits. Whoever reaches the
        /// registry may pull what it may.
        credentials "credentials": RawCredentials, optional;
    }
}

section! {
    /// A name and a password for a registry that is mirrored. They reach the registry in a Secret, and no other file.
    RawCredentials "registry.mirroring.sources[].credentials" {
        /// The user.
        username "username": String, required;
        /// The password or token; `${env:NAME}` keeps it out of the file.
        password "password": String, required;
    }
}

impl Field for RawSource {
    fn read(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        if !matches!(node.value, Value::Map(_)) {
            return choice(node, cx).map(Self::known);
        }
        let map = RawSourceMap::read(node, cx)?;
        let name = map.name?;
        let known = MirrorSource::WORDS.iter().find(|(word, _)| *word == name.value);
        if known.is_none() && map.url.is_none() {
            let near = near(&name.value, MirrorSource::WORDS.iter().map(|(word, _)| *word));
            let remedy = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => "add `url: https://…` for a registry of your own".to_owned(),
            };
            let cause = Cause::UnknownValue {
                found: name.value,
                allowed: MirrorSource::listed(),
                remedy,
            };
            cx.error(name.span, cause);
            return None;
        }
        Some(Self {
            name: name.value,
            known: known.map(|(_, source)| *source),
            enabled: map.enabled.value,
            url: map.url,
            prefix: map.prefix,
            credentials: map.credentials,
        })
    }

    fn shape() -> Shape {
        Shape::Either(Box::new(MirrorSource::shape()), Box::new(RawSourceMap::shape()))
    }

    fn tree(&self) -> Tree {
        if self.enabled && self.url.is_none() && self.prefix.is_none() && self.credentials.is_none() {
            return Tree::Json(json!(self.name));
        }
        let text = |value: &Option<Spanned<String>>| {
            let text = value.as_ref()?;
            Some((Tree::Json(json!(text.value)), Some(text.span)))
        };
        let credentials = self.credentials.as_ref();
        let branches = [
            ("name", Some((Tree::Json(json!(self.name)), None))),
            ("enabled", Some((Tree::Json(json!(self.enabled)), None))),
            ("url", text(&self.url)),
            ("prefix", text(&self.prefix)),
            ("credentials", credentials.map(|it| (it.value.tree(), Some(it.span)))),
        ];
        let branches = branches.into_iter().filter_map(|(key, value)| {
            let (value, span) = value?;
            Some(Branch {
                key: key.to_owned(),
                value,
                span,
            })
        });
        Tree::Map(branches.collect())
    }
}

/// One of a workload's `ports`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RawPort {
    pub(crate) port: Port,
    pub(crate) protocol: Protocol,
    pub(crate) sni: bool,
}

/// How a TCP port is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PortTls {
    Sni,
}

impl Choice for Protocol {
    const WORDS: &'static [(&'static str, Self)] = &[("tcp", Self::Tcp), ("udp", Self::Udp)];
}

impl Choice for PortTls {
    const WORDS: &'static [(&'static str, Self)] = &[("sni", Self::Sni)];
}

macro_rules! word_field {
    ($($name:ident)+) => {
        $(impl Field for $name {
            fn read(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
                choice(node, cx)
            }

            fn shape() -> Shape {
                let words: Vec<_> = Self::WORDS.iter().map(|(word, _)| *word).collect();
                Shape::Scalar { words: format!("one of {}", Self::listed()), schema: json!({"enum": words}) }
            }

            fn tree(&self) -> Tree {
                Tree::Json(json!(self.word()))
            }
        })+
    };
}

word_field!(Protocol PortTls);

section! {
    /// A port of a workload, written out.
    RawPortMap "workloads.user[].ports[]" {
        /// In the container.
        port "port": Port, required;
        /// `tcp` or `udp`.
        protocol "protocol": Protocol, default(Protocol::Tcp);
        /// `sni`: clients speak TLS to this port and the host name they ask for chooses the workload, so that several
        /// workloads share one port of the host.
        tls "tls": PortTls, optional;
    }
}

const WANTED: &str = "a port such as `5432`, or with its protocol `9001/udp`";

impl Field for RawPort {
    fn read(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let scalar = match &node.value {
            Value::Scalar(scalar) => scalar,
            Value::Map(_) => {
                let map = RawPortMap::read(node, cx)?;
                return Self::of_map(&map, cx);
            }
            Value::List(_) => {
                cx.wrong_kind(node, WANTED, "");
                return None;
            }
        };
        let Some((number, protocol)) = scalar.text.split_once('/') else {
            if scalar.text.contains(':') {
                let cause = Cause::BadValue {
                    found: scalar.text.clone(),
                    reason: "looks like a pair of ports".to_owned(),
                    wanted: "the workload's own port alone (the host's stands in `network.port-overrides`)".to_owned(),
                };
                cx.error(node.span, cause);
                return None;
            }
            let port = integer(node, cx, 1, u16::MAX, WANTED).and_then(Port::new)?;
            return Some(Self {
                port,
                protocol: Protocol::Tcp,
                sni: false,
            });
        };
        let protocol = match protocol.to_ascii_lowercase().as_str() {
            "tcp" => Some(Protocol::Tcp),
            "udp" => Some(Protocol::Udp),
            _ => None,
        };
        let digits = plain(number) == crate::yaml::Plain::Integer && !number.starts_with(['0', '+', '-']);
        let port = number.parse::<u16>().ok().and_then(Port::new).filter(|_| digits);
        if let (Some(port), Some(protocol)) = (port, protocol) {
            return Some(Self {
                port,
                protocol,
                sni: false,
            });
        }
        let reason = if port.is_none() {
            "has no port from 1 to 65535 before the `/`"
        } else {
            "has neither `tcp` nor `udp` after the `/`"
        };
        let cause = Cause::BadValue {
            found: crate::yaml::shorten(&scalar.text),
            reason: reason.to_owned(),
            wanted: WANTED.to_owned(),
        };
        cx.error(node.span, cause);
        None
    }

    fn shape() -> Shape {
        let scalar = Shape::Scalar {
            words: WANTED.to_owned(),
            schema: json!({"oneOf": [
                {"type": "integer", "minimum": 1, "maximum": 65535},
                {"type": "string", "pattern": "^[1-9][0-9]{0,4}/([tT][cC][pP]|[uU][dD][pP])$"},
            ]}),
        };
        Shape::Either(Box::new(scalar), Box::new(RawPortMap::shape()))
    }

    fn tree(&self) -> Tree {
        Tree::Json(match (self.sni, self.protocol) {
            (true, _) => json!({"port": self.port.get(), "tls": "sni"}),
            (false, Protocol::Tcp) => json!(self.port.get()),
            (false, Protocol::Udp) => json!(format!("{}/udp", self.port)),
        })
    }
}

impl RawPort {
    fn of_map(map: &RawPortMap, cx: &mut Cx<'_>) -> Option<Self> {
        let port = map.port.as_ref()?.value;
        let Read { value: protocol, .. } = map.protocol;
        if let (Some(tls), Protocol::Udp) = (&map.tls, protocol) {
            let cause = Cause::NoEffect {
                reason: "a UDP port has no TLS to look into".to_owned(),
                remedy: "remove `tls`".to_owned(),
            };
            cx.error(tls.span, cause);
            return None;
        }
        Some(Self {
            port,
            protocol,
            sni: map.tls.is_some(),
        })
    }
}
