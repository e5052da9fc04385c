//! Digests, by which everything in a registry is named and verified.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256, Sha512};

/// `sha256:` or `sha512:` and lower-case hexadecimal digits (OCI image specification, "Digests").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// Why a text is no digest, or content is not what its digest says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DigestError {
    /// It has not the form of a digest.
    #[error("`{text}` is no digest: `sha256:` and 64 hexadecimal digits, or `sha512:` and 128")]
    Form {
        /// The text's beginning.
        text: String,
    },
    /// The content has another digest.
    #[error("the content has the digest {found}, not {expected}")]
    Mismatch {
        /// What it should have been.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
}

impl Digest {
    /// The SHA-256 digest of some content.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(content);
        hasher.finish()
    }

    /// Checks that some content is what this digest names.
    pub fn verify(&self, content: &[u8]) -> Result<(), DigestError> {
        let mut hasher = Hasher::like(self);
        hasher.update(content);
        self.compare(hasher.finish())
    }

    /// Checks that what a [`Hasher`] found is this digest.
    pub fn compare(&self, found: Self) -> Result<(), DigestError> {
        if *self == found {
            return Ok(());
        }
        Err(DigestError::Mismatch {
            expected: self.clone(),
            found,
        })
    }

    /// With the algorithm: `sha256:…`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its first twelve digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        // Both algorithms' names have as many letters.
        &self.0["sha256:".len().."sha256:".len() + 12]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let ok = match text.split_once(':') {
            Some(("sha256", hex)) => hex.len() == 64 && is_hex(hex),
            Some(("sha512", hex)) => hex.len() == 128 && is_hex(hex),
            _ => false,
        };
        if ok {
            return Ok(Self(text.to_owned()));
        }
        Err(DigestError::Form {
            text: text.chars().take(80).collect(),
        })
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Computes a digest of content that comes piece by piece.
#[derive(Debug, Clone)]
pub struct Hasher(Algorithm);

#[derive(Debug, Clone)]
enum Algorithm {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Default for Hasher {
    /// SHA-256.
    fn default() -> Self {
        Self(Algorithm::Sha256(Sha256::new()))
    }
}

impl Hasher {
    /// With the algorithm of a digest.
    #[must_use]
    pub fn like(digest: &Digest) -> Self {
        if digest.0.starts_with("sha512:") {
            Self(Algorithm::Sha512(Sha512::new()))
        } else {
            Self::default()
        }
    }

    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        match &mut self.0 {
            Algorithm::Sha256(hash) => hash.update(piece),
            Algorithm::Sha512(hash) => hash.update(piece),
        }
    }

    /// The digest of all pieces.
    #[must_use]
    pub fn finish(self) -> Digest {
        match self.0 {
            Algorithm::Sha256(hash) => Digest(format!("sha256:{}", hex(&hash.finalize()))),
            Algorithm::Sha512(hash) => Digest(format!("sha512:{}", hex(&hash.finalize()))),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| DIGITS[usize::from(digit)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_verified() {
        // OCI image specification, "Guidance for an empty descriptor".
        let empty: Digest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
            .parse()
            .unwrap();
        assert_eq!(Digest::of(b"{}"), empty);
        assert_eq!(empty.verify(b"{}"), Ok(()));
        assert!(matches!(empty.verify(b"{ }"), Err(DigestError::Mismatch { .. })));
        assert_eq!(empty.short(), "44136fa355b3");
    }

    #[test]
    fn sha512_is_known_too() {
        let digest: Digest = format!("sha512:{}", "0".repeat(128)).parse().unwrap();
        let DigestError::Mismatch { found, .. } = digest.verify(b"").unwrap_err() else {
            panic!("a mismatch");
        };
        assert!(found.as_str().starts_with("sha512:cf83e1357eefb8bd"), "{found}");
    }

    #[test]
    fn what_has_not_the_form_is_refused() {
        for text in [
            "",
            "sha256:",
            "sha256:ABC",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
            &"a".repeat(64),
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
        assert!(format!("sha256:{}", "A".repeat(64)).parse::<Digest>().is_err());
    }
}
