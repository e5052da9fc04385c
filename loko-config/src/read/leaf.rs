//! Single values: texts, booleans, numbers, names.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::str::FromStr;

use ipnet::Ipv4Net;
use serde_json::json;

use super::{Cx, DictKey, Field};
use crate::model::{AutoPort, NetworkIp};
use crate::names::{Domain, EnvName, ImageName, NamespaceName, Quantity, Tag, WorkloadName};
use crate::problem::{Cause, Span};
use crate::shape::{Shape, Tree};
use crate::yaml::{Node, Plain, Value, plain};

/// Reads a scalar that is a text. Refuses what YAML 1.2 reads as a boolean or number, and what YAML 1.1 reads as a
/// boolean (`no`), because other tools that read the same file may follow either.
pub(crate) fn text<'n>(node: &'n Node, cx: &mut Cx<'_>, wanted: &str) -> Option<&'n str> {
    let Value::Scalar(scalar) = &node.value else {
        cx.wrong_kind(node, wanted, "");
        return None;
    };
    let read_as = match plain(&scalar.text) {
        _ if !scalar.plain => return Some(&scalar.text),
        Plain::Null => {
            let wanted = wanted.to_owned();
            cx.error(node.span, Cause::NoValue { wanted });
            return None;
        }
        Plain::Bool(_) => "a boolean",
        Plain::Integer | Plain::Float => "a number",
        Plain::Text if norway(&scalar.text).is_some() => "a boolean (YAML 1.1)",
        Plain::Text => return Some(&scalar.text),
    };
    let found = scalar.text.clone();
    cx.error(node.span, Cause::NeedsQuotes { found, read_as });
    None
}

/// The words that YAML 1.1 takes for booleans and YAML 1.2 does not.
fn norway(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "on" | "y" => Some(true),
        "no" | "off" | "n" => Some(false),
        _ => None,
    }
}

/// Reads a whole number within `min..=max`.
pub(crate) fn integer(node: &Node, cx: &mut Cx<'_>, min: u16, max: u16, wanted: &str) -> Option<u16> {
    let Value::Scalar(scalar) = &node.value else {
        cx.wrong_kind(node, wanted, "");
        return None;
    };
    let text = scalar.text.as_str();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let signed = text.strip_prefix(['-', '+']).unwrap_or(text);
    if scalar.plain && (signed.len() > 1 && signed.starts_with('0') && plain(text) == Plain::Integer) {
        let found = text.to_owned();
        cx.error(node.span, Cause::Octal { found });
        return None;
    }
    if !scalar.plain && digits {
        cx.wrong_kind(node, wanted, "remove the quotes");
        return None;
    }
    if !scalar.plain || plain(text) != Plain::Integer {
        cx.wrong_kind(node, wanted, "");
        return None;
    }
    match text.parse::<u16>() {
        Ok(number) if (min..=max).contains(&number) => Some(number),
        Ok(_) | Err(_) => {
            let cause = Cause::OutOfRange {
                found: text.to_owned(),
                wanted: format!("{min} to {max}"),
                remedy: format!("write {wanted}"),
            };
            cx.error(node.span, cause);
            None
        }
    }
}

impl Field for bool {
    fn read(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let Value::Scalar(scalar) = &node.value else {
            cx.wrong_kind(node, "`true` or `false`", "");
            return None;
        };
        if scalar.plain {
            if let Plain::Bool(value) = plain(&scalar.text) {
                return Some(value);
            }
            if let Some(meant) = norway(&scalar.text) {
                let cause = Cause::NotABoolean {
                    found: scalar.text.clone(),
                    instead: if meant { "true" } else { "false" },
                };
                cx.error(node.span, cause);
                return None;
            }
        }
        let quoted = !scalar.plain && matches!(plain(&scalar.text), Plain::Bool(_));
        cx.wrong_kind(node, "`true` or `false`", if quoted { "remove the quotes" } else { "" });
        None
    }

    fn shape() -> Shape {
        Shape::Scalar {
            words: "`true` or `false`".to_owned(),
            schema: json!({"type": "boolean"}),
        }
    }

    fn tree(&self) -> Tree {
        Tree::Json(json!(*self))
    }
}

impl Field for String {
    fn read(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        text(node, cx, "a text").map(str::to_owned)
    }

    fn shape() -> Shape {
        Shape::text("a text")
    }

    fn tree(&self) -> Tree {
        Tree::Json(json!(self))
    }
}

/// Implements [`Field`] for a checked name.
macro_rules! name_field {
    ($($name:ident: $words:literal, $schema:expr;)+) => {
        $(impl Field for $name {
            fn read(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
                parsed(node, cx, $words)
            }

            fn shape() -> Shape {
                Shape::Scalar { words: $words.to_owned(), schema: $schema }
            }

            fn tree(&self) -> Tree {
                Tree::Json(json!(self.to_string()))
            }
        })+
    };
}

const LABEL_PATTERN: &str = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$";

name_field! {
    EnvName: "a DNS label of 1 to 35 characters: a-z, 0-9 and `-`",
        json!({"type": "string", "pattern": LABEL_PATTERN, "maxLength": EnvName::MAX_LENGTH});
    WorkloadName: "a DNS label of 1 to 63 characters: a-z, 0-9 and `-`",
        json!({"type": "string", "pattern": LABEL_PATTERN, "maxLength": 63});
    NamespaceName: "a namespace, which is a DNS label of 1 to 63 characters",
        json!({"type": "string", "pattern": LABEL_PATTERN, "maxLength": 63});
    Domain: "a domain of two or more labels, such as `dev.test`",
        json!({"type": "string", "pattern": r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$", "maxLength": 189});
    ImageName: "an image without tag, such as `traefik` or `ghcr.io/me/shop`",
        json!({"type": "string", "pattern": "^[^@ ]+$"});
    Tag: "a tag of an image, such as \"v1.2.3\"",
        json!({"type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$"});
    Ipv4Net: "an IPv4 network, such as `10.244.0.0/16`",
        json!({"type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}$"});
}

/// Reads a text and parses it.
pub(crate) fn parsed<T: FromStr>(node: &Node, cx: &mut Cx<'_>, wanted: &str) -> Option<T>
where
    T::Err: std::fmt::Display,
{
    let found = text(node, cx, wanted)?;
    match found.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            let error: T::Err = error;
            let reason = error.to_string();
            // The names' own errors go on from the name of the value; others are sentences of their own.
            let own = ["is ", "has ", "holds ", "starts ", "ends "]
                .iter()
                .any(|verb| reason.starts_with(verb));
            let cause = Cause::BadValue {
                found: crate::yaml::shorten(found),
                reason: if own {
                    reason
                } else {
                    format!("cannot be read: {reason}")
                },
                wanted: wanted.to_owned(),
            };
            cx.error(node.span, cause);
            None
        }
    }
}

impl Field for Quantity {
    fn read(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        if node.get("size").is_some() {
            let cause = Cause::RenamedKey {
                key: "size".to_owned(),
                place: "the value of `storage` itself, as in `storage: 10Gi`".to_owned(),
            };
            let span = node.get("size").map_or(node.span, |entry| entry.key_span);
            cx.error(span, cause);
            return None;
        }
        // A bare number is a number of bytes; Kubernetes takes it, and it is never what was meant.
        parsed(node, cx, "a size such as `512Mi` or `10Gi`")
    }

    fn shape() -> Shape {
        Shape::Scalar {
            words: "a size such as `512Mi` or `10Gi`".to_owned(),
            schema: json!({"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?(m|k|[MGTPE]i?|Ki|[eE][0-9]+)?$"}),
        }
    }

    fn tree(&self) -> Tree {
        Tree::Json(json!(self.as_str()))
    }
}

/// A port, 1 to 65535.
pub(crate) type Port = NonZeroU16;
const PORT: &str = "a port, 1 to 65535";

impl Field for Port {
    fn read(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        integer(node, cx, 1, u16::MAX, PORT).and_then(Self::new)
    }

    fn shape() -> Shape {
        Shape::Scalar {
            words: PORT.to_owned(),
            schema: json!({"type": "integer", "minimum": 1, "maximum": 65535}),
        }
    }

    fn tree(&self) -> Tree {
        Tree::Json(json!(self.get()))
    }
}

impl Field for AutoPort {
    fn read(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        match &node.value {
            Value::Scalar(scalar) if scalar.text == "auto" => Some(Self::Auto),
            Value::Scalar(_) | Value::List(_) | Value::Map(_) => {
                integer(node, cx, 1, u16::MAX, "`auto`, or a port, 1 to 65535")
                    .and_then(Port::new)
                    .map(Self::Fixed)
            }
        }
    }

    fn shape() -> Shape {
        Shape::Scalar {
            words: "`auto`, or a port, 1 to 65535".to_owned(),
            schema: json!({"oneOf": [{"const": "auto"}, {"type": "integer", "minimum": 1, "maximum": 65535}]}),
        }
    }

    fn tree(&self) -> Tree {
        Tree::Json(match self {
            Self::Auto => json!("auto"),
            Self::Fixed(port) => json!(port.get()),
        })
    }
}

const IP: &str = "`auto`, `lan`, or an address of this host";

impl Field for NetworkIp {
    fn read(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let found = text(node, cx, IP)?;
        match found {
            "auto" => return Some(Self::Auto),
            "lan" => return Some(Self::Lan),
            _ => {}
        }
        if let Ok(address) = found.parse::<IpAddr>() {
            return Some(Self::Address(address));
        }
        let cause = Cause::BadValue {
            found: crate::yaml::shorten(found),
            reason: "is no address".to_owned(),
            wanted: IP.to_owned(),
        };
        cx.error(node.span, cause);
        None
    }

    fn shape() -> Shape {
        Shape::Scalar {
            words: IP.to_owned(),
            schema: json!({"anyOf": [{"enum": ["auto", "lan"]}, {"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}]}),
        }
    }

    fn tree(&self) -> Tree {
        Tree::Json(match self {
            Self::Auto => json!("auto"),
            Self::Lan => json!("lan"),
            Self::Address(address) => json!(address.to_string()),
        })
    }
}

/// A whole number with a range of its own.
macro_rules! number_field {
    ($($(#[$doc:meta])* $name:ident($inner:ty) $min:literal ..= $max:literal, $words:literal;)+) => {
        $($(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) struct $name(pub(crate) $inner);

        impl Field for $name {
            fn read(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
                let number = integer(node, cx, $min, $max, $words)?;
                <$inner>::try_from(number).ok().map(Self)
            }

            fn shape() -> Shape {
                Shape::Scalar {
                    words: $words.to_owned(),
                    schema: json!({"type": "integer", "minimum": $min, "maximum": $max}),
                }
            }

            fn tree(&self) -> Tree {
                Tree::Json(json!(self.0))
            }
        })+
    };
}

number_field! {
    /// How many workers; one machine hardly carries more.
    Workers(u8) 0..=32, "a number of nodes, 0 to 32";
    /// A time that Kubernetes counts in seconds.
    Seconds(u16) 0..=65535, "a number of seconds, 0 to 65535";
    /// How many pods.
    Replicas(u16) 0..=1000, "a number of pods, 0 to 1000";
}

/// How many control planes: etcd wants an odd number, and five on one machine gain nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ControlPlanes(pub(crate) u8);

impl Field for ControlPlanes {
    fn read(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        match integer(node, cx, 0, u16::MAX, "1 or 3")? {
            1 => Some(Self(1)),
            3 => Some(Self(3)),
            other => {
                let cause = Cause::OutOfRange {
                    found: other.to_string(),
                    wanted: "1 or 3".to_owned(),
                    remedy:
                        "write 1, or 3 for a control plane that outlives one of its nodes (etcd needs an odd number)"
                            .to_owned(),
                };
                cx.error(node.span, cause);
                None
            }
        }
    }

    fn shape() -> Shape {
        Shape::Scalar {
            words: "1 or 3".to_owned(),
            schema: json!({"enum": [1, 3]}),
        }
    }

    fn tree(&self) -> Tree {
        Tree::Json(json!(self.0))
    }
}

impl DictKey for WorkloadName {
    const WANTED: &'static str = "the name of a workload";

    fn read_key(text: &str, span: Span, cx: &mut Cx<'_>) -> Option<Self> {
        match text.parse::<Self>() {
            Ok(name) => Some(name),
            Err(error) => {
                let cause = Cause::BadValue {
                    found: crate::yaml::shorten(text),
                    reason: error.reason,
                    wanted: Self::WANTED.to_owned(),
                };
                cx.error(span, cause);
                None
            }
        }
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl DictKey for Port {
    const WANTED: &'static str = "a port";

    fn read_key(text: &str, span: Span, cx: &mut Cx<'_>) -> Option<Self> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        let port = text.parse::<u16>().ok().and_then(Self::new).filter(|_| digits);
        if port.is_none() {
            let cause = Cause::BadValue {
                found: crate::yaml::shorten(text),
                reason: "is no port".to_owned(),
                wanted: PORT.to_owned(),
            };
            cx.error(span, cause);
        }
        port
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl DictKey for String {
    const WANTED: &'static str = "a text";

    fn read_key(text: &str, _span: Span, _cx: &mut Cx<'_>) -> Option<Self> {
        Some(text.to_owned())
    }

    fn write(&self) -> String {
        self.clone()
    }
}
