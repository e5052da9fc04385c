//! One newtype for each name that Kubernetes, DNS, OCI or kind constrains. A value that exists is right.

use std::fmt;
use std::str::FromStr;

/// Why a text is not the name it should be. The message is a fragment that follows the name of the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct InvalidName {
    /// What is wrong, for example "holds `_`; allowed are a-z, 0-9 and `-`".
    pub reason: String,
}

impl InvalidName {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

/// Names of ours, known to be right: the defaults. A test loads every default.
pub(crate) trait Known {
    /// Without a check.
    fn known(text: &'static str) -> Self;
}

/// Declares a string newtype with a private field, `FromStr`, `TryFrom<String>`, `Display`, serde and ordering.
macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text as it was checked.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Known for $name {
            fn known(text: &'static str) -> Self {
                Self(text.to_owned())
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                let check: fn(&str) -> Result<(), InvalidName> = $check;
                check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name_type!(
    /// The environment's name: a DNS label of at most [`EnvName::MAX_LENGTH`] bytes.
    EnvName,
    |text| dns_label(text, EnvName::MAX_LENGTH)
);
name_type!(
    /// A workload's name: a DNS label of at most 63 bytes (RFC 1123 as Kubernetes reads it).
    WorkloadName,
    |text| dns_label(text, 63)
);
name_type!(
    /// A Kubernetes namespace: a DNS label of at most 63 bytes.
    NamespaceName,
    |text| dns_label(text, 63)
);
name_type!(
    /// The name of a node's container and of the Kubernetes node: a DNS label of at most 63 bytes.
    NodeName,
    |text| dns_label(text, 63)
);
name_type!(
    /// A domain of two or more labels, lower case, without the last dot, at most 189 bytes
    /// (so that `<name>.<domain>` fits the 253 of RFC 1035 with a name of 63).
    Domain,
    |text| domain(text, 189)
);
name_type!(
    /// A full host name of two or more labels, lower case, without the last dot, at most 253 bytes.
    HostName,
    |text| domain(text, 253)
);
name_type!(
    /// An image without tag or digest: `traefik`, `ghcr.io/me/shop`, `localhost:5000/x`.
    ImageName,
    |text| image_name(text)
);
name_type!(
    /// An image tag: 1 to 128 of `A-Z a-z 0-9 _ . -`, the first no `.` or `-` (OCI distribution specification).
    Tag,
    |text| tag(text)
);
name_type!(
    /// A whole image reference: name, then `:tag`, `@digest` or both or neither.
    ImageRef,
    |text| image_ref(text)
);
name_type!(
    /// A Kubernetes quantity as storage and memory take it: `512Mi`, `10Gi`, `1.5G`, `1e9`.
    Quantity,
    |text| quantity(text)
);

impl EnvName {
    /// The longest name: `loko-<name>-external-load-balancer`, kind's longest node name, still fits a host name of 64.
    pub const MAX_LENGTH: usize = 35;
}
const _: () = assert!("loko-".len() + EnvName::MAX_LENGTH + "-external-load-balancer".len() <= 63);

fn dns_label(text: &str, max: usize) -> Result<(), InvalidName> {
    if text.is_empty() {
        return Err(InvalidName::new("is empty"));
    }
    if text.len() > max {
        return Err(InvalidName::new(format!(
            "is {} bytes long; at most {max} are allowed",
            text.len()
        )));
    }
    if let Some(bad) = text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
        return Err(InvalidName::new(format!("holds `{bad}`; allowed are a-z, 0-9 and `-`")));
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err(InvalidName::new("starts or ends with `-`"));
    }
    Ok(())
}

fn domain(text: &str, max: usize) -> Result<(), InvalidName> {
    if text.len() > max {
        return Err(InvalidName::new(format!(
            "is {} bytes long; at most {max} are allowed",
            text.len()
        )));
    }
    if text.ends_with('.') {
        return Err(InvalidName::new("ends with a dot"));
    }
    if !text.contains('.') {
        return Err(InvalidName::new(
            "has one label; two are needed, as in `dev.test`, because no TLS library matches `*.test`",
        ));
    }
    text.split('.').try_for_each(|label| {
        dns_label(label, 63)
            .map_err(|error| InvalidName::new(format!("has the label `{label}`, which {}", error.reason)))
    })
}

/// The grammar of Docker's reference library (`distribution/reference`, `regexp.go`), which OCI's follows: an optional
/// host with port, then parts of lower-case letters and digits with `.`, `_`, `__` or dashes between them.
fn image_name(text: &str) -> Result<(), InvalidName> {
    if text.is_empty() {
        return Err(InvalidName::new("is empty"));
    }
    if text.len() > 255 {
        return Err(InvalidName::new(format!(
            "is {} bytes long; at most 255 are allowed",
            text.len()
        )));
    }
    let (first, rest) = text.split_once('/').unwrap_or(("", text));
    // The first part is a host where it has a dot or a port or is `localhost`.
    let (host, path) = if first.contains(['.', ':']) || first == "localhost" {
        (Some(first), rest)
    } else {
        (None, text)
    };
    if let Some(host) = host.filter(|host| !registry_host(host)) {
        return Err(InvalidName::new(format!(
            "has `{host}` where the host of a registry stands"
        )));
    }
    match path.split('/').find(|part| !image_part(part)) {
        Some(part) => Err(InvalidName::new(format!(
            "has the part `{part}`; a-z, 0-9 and single `.`, `_`, `-` between them are allowed"
        ))),
        None => Ok(()),
    }
}

/// A host with or without a port, as image references have it: `registry.example:5000`, `[fd00::1]:5000`.
pub(crate) fn registry_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) if address.parse::<std::net::Ipv6Addr>().is_ok() => (None, rest),
        Some(_) => return false,
        None => {
            let at = text.find(':').unwrap_or(text.len());
            (Some(&text[..at]), &text[at..])
        }
    };
    let label_ok = |label: &str| {
        !label.is_empty()
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let port_ok = match port.strip_prefix(':') {
        Some(port) => port.parse::<u16>().is_ok_and(|port| port > 0),
        None => port.is_empty(),
    };
    port_ok && host.is_none_or(|host| host.split('.').all(label_ok))
}

fn image_part(part: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators = part.split(alphanumeric).filter(|separator| !separator.is_empty());
    let separators_ok = separators
        .into_iter()
        .all(|separator| matches!(separator, "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-'));
    separators_ok && part.starts_with(alphanumeric) && part.ends_with(alphanumeric)
}

fn tag(text: &str) -> Result<(), InvalidName> {
    let ok = (1..=128).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
        && !text.starts_with(['.', '-']);
    if ok {
        Ok(())
    } else {
        Err(InvalidName::new(
            "is no tag: 1 to 128 of letters, digits, `_`, `.`, `-`, the first a letter, digit or `_`",
        ))
    }
}

fn image_ref(text: &str) -> Result<(), InvalidName> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    if let Some(digest) = digest {
        let hex_ok = digest
            .strip_prefix("sha256:")
            .is_some_and(|hex| hex.len() == 64 && hex.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')));
        if !hex_ok {
            return Err(InvalidName::new(
                "has a digest that is not `sha256:` and 64 hexadecimal digits",
            ));
        }
    }
    match rest.rsplit_once(':') {
        // `localhost:5000/x` has a colon, but no tag.
        Some((name, version)) if !version.contains('/') => {
            image_name(name)?;
            tag(version)
        }
        _ => image_name(rest),
    }
}

fn quantity(text: &str) -> Result<(), InvalidName> {
    let digits_end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits_end);
    let number_ok = number.parse::<f64>().is_ok_and(|value| value > 0.0);
    let exponent_ok = suffix.strip_prefix(['e', 'E']).is_some_and(|e| e.parse::<i8>().is_ok());
    if number_ok
        && (exponent_ok
            || matches!(
                suffix,
                "" | "m" | "k" | "M" | "G" | "T" | "P" | "E" | "Ki" | "Mi" | "Gi" | "Ti" | "Pi" | "Ei"
            ))
    {
        Ok(())
    } else {
        Err(InvalidName::new(
            "is no quantity above zero; write it as `512Mi` or `10Gi`",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check<T: FromStr<Err = InvalidName> + fmt::Display>(good: &[&str], bad: &[&str]) {
        for text in good {
            match text.parse::<T>() {
                Ok(name) => assert_eq!(name.to_string(), *text),
                Err(error) => panic!("{text} {error}"),
            }
        }
        for text in bad {
            assert!(text.parse::<T>().is_err(), "{text}");
        }
    }

    #[test]
    fn each_kind() {
        let long = "a".repeat(64);
        check::<EnvName>(
            &["dev", "a", "1a-b", &long[..35]],
            &["", "-a", "a-", "A", "a_b", "a.b", "ä", &long[..36]],
        );
        check::<WorkloadName>(&["shop", &long[..63]], &["", &long, "a b"]);
        check::<NamespaceName>(&["loko-workloads"], &["Apps"]);
        check::<Domain>(
            &["dev.me", "a.b.c", "1.test"],
            &["test", "dev.me.", ".me", "a..b", "A.b", "a_.b", ""],
        );
        check::<HostName>(&["shop.dev.me"], &["shop", "*.dev.me", "shop.dev.me:80"]);
        check::<ImageName>(
            &[
                "traefik",
                "ghcr.io/me/shop",
                "localhost:5000/x",
                "localhost/x",
                "a/b__c/d--e.f",
                "[fd00::1]:5000/x",
                "REG.example/x",
            ],
            &[
                "",
                "Traefik",
                "a//b",
                "a/",
                "/a",
                "a..b",
                "a._b",
                "-a",
                "a:1",
                "reg.example:0/x",
                "reg.example:x/y",
                "re g.example/x",
                "[fd00]/x",
                "a@b",
            ],
        );
        check::<Tag>(&["v1.2.3", "_x", "2.91", "A"], &["", ".x", "-x", "a b", "a/b", "a:b"]);
        let digest = format!("x@sha256:{}", "0".repeat(64));
        let both = format!("x:1@sha256:{}", "a".repeat(64));
        check::<ImageRef>(
            &["x", "x:1", "r.example:5000/x", "r.example:5000/x:1", &digest, &both],
            &["x:", "x@", "x@sha256:0", "x:1:2", "x@md5:1", ":1"],
        );
        check::<Quantity>(
            &["10Gi", "512Mi", "1.5G", "1e9", "100m", "1"],
            &["", "Gi", "0", "-1Gi", "10GB", "1..5G", "10 Gi", "1e", "inf", "NaN"],
        );
    }

    macro_rules! shown_as_read {
        ($($test:ident $name:ident $pattern:literal;)+) => {
            proptest! {
                $(#[test]
                fn $test(text in prop_oneof![$pattern, ".{0,20}"]) {
                    if let Ok(name) = text.parse::<$name>() {
                        prop_assert_eq!(name.to_string(), text.clone());
                        prop_assert_eq!(name.as_str(), text.as_str());
                        let json = serde_json::to_string(&name).unwrap();
                        prop_assert_eq!(serde_json::from_str::<$name>(&json).unwrap(), name);
                    }
                })+
            }
        };
    }

    shown_as_read! {
        env_name EnvName "[a-z0-9-]{1,36}";
        workload_name WorkloadName "[a-z0-9-]{1,64}";
        namespace_name NamespaceName "[a-z0-9-]{1,64}";
        node_name NodeName "[a-z0-9-]{1,64}";
        domain_name Domain "[a-z0-9-]{1,9}(\\.[a-z0-9-]{1,9}){1,4}";
        host_name HostName "[a-z0-9-]{1,9}(\\.[a-z0-9-]{1,9}){1,4}";
        image_name_ ImageName "([a-z]{1,5}[.:][0-9a-z]{1,4}/)?[a-z0-9._-]{1,9}(/[a-z0-9._-]{1,9}){0,2}";
        tag_ Tag "[A-Za-z0-9_.-]{1,20}";
        image_ref_ ImageRef "[a-z]{1,5}(:[0-9a-z.]{1,6})?(@sha256:[0-9a-f]{64})?";
        quantity_ Quantity "[0-9]{1,3}(\\.[0-9])?([KMGT]i?|m|e[0-9])?";
    }
}
