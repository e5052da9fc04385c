//! Names of repositories and of what is in them.

use std::fmt;
use std::str::FromStr;

use loko_config::names::{InvalidName, Tag};

use super::digest::Digest;

/// A repository's name: at most 255 bytes; parts of a-z and 0-9, separated by `/`, with `.`, `_`, `__` or dashes inside
/// (OCI distribution specification, "Pulling manifests").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Repository(String);

/// What a manifest is asked for by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference {
    /// A name that may come to mean something else.
    Tag(Tag),
    /// The content itself.
    Digest(Digest),
}

impl Repository {
    /// The text as it was checked.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Repository {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.len() > 255 {
            let reason = format!("is {} bytes long; at most 255 are allowed", text.len());
            return Err(InvalidName { reason });
        }
        match text.split('/').find(|part| !is_part(part)) {
            None => Ok(Self(text.to_owned())),
            Some(part) => Err(InvalidName {
                reason: format!(
                    "has the part `{part}`; a-z and 0-9 are allowed, and between them `.`, `_`, `__` or dashes"
                ),
            }),
        }
    }
}

fn is_part(part: &str) -> bool {
    let mut separators = part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    // The first and the last of what lies between letters and digits is what lies before and after them all.
    let (first, last) = (separators.next(), separators.next_back());
    first == Some("")
        && last == Some("")
        && separators
            .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-'))
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Repository {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<Repository> for String {
    fn from(repository: Repository) -> Self {
        repository.0
    }
}

impl FromStr for Reference {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.contains(':') {
            let digest = text.parse().map_err(|_| InvalidName {
                reason: "is no digest: `sha256:` and 64 hexadecimal digits".to_owned(),
            })?;
            return Ok(Self::Digest(digest));
        }
        text.parse().map(Self::Tag)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_checked_part_by_part() {
        for good in ["a", "library/nginx", "ghcr.io/me/my_app", "a__b/c--d", "0", "a-b.c_d"] {
            assert!(good.parse::<Repository>().is_ok(), "{good}");
        }
        for bad in [
            "", "/", "a/", "/a", "A", "a..b", "a___b", "-a", "a-", "a b", "a:1", "../a", "a._b", "ä",
        ] {
            assert!(bad.parse::<Repository>().is_err(), "{bad}");
        }
        assert!("a".repeat(256).parse::<Repository>().is_err());
    }

    #[test]
    fn a_reference_is_a_tag_or_a_digest() {
        assert!(matches!("v1.2".parse(), Ok(Reference::Tag(_))));
        let digest = format!("sha256:{}", "a".repeat(64));
        assert!(matches!(digest.parse(), Ok(Reference::Digest(_))));
        assert!("sha256:1".parse::<Reference>().is_err());
        assert!("a/b".parse::<Reference>().is_err());
    }
}
