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

fn image_name(text: &str) -> Result<(), InvalidName> {
    if text.is_empty() {
        return Err(InvalidName::new("is empty"));
    }
    let (first, rest) = text.split_once('/').unwrap_or(("", text));
    // The first part is a host where it has a dot or a port or is `localhost` (the rule of Docker's reference library).
    let path = if first.contains(['.', ':']) || first == "localhost" {
        rest
    } else {
        text
    };
    let part_ok = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-'))
            && part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.ends_with(|c: char| c.is_ascii_alphanumeric())
    };
    match path.split('/').find(|part| !part_ok(part)) {
        Some(part) => Err(InvalidName::new(format!(
            "has the part `{part}`; a-z, 0-9 and single `.`, `_`, `-` between them are allowed"
        ))),
        None => Ok(()),
    }
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
