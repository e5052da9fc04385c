//! How one secret is made.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Random, Secret, SecretsError};

/// How a secret is made. In YAML: `{kind: password, length: 24}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Recipe {
    /// Typed by people and put into URLs: letters and digits only, at least one of each kind that the charset has, a letter
    /// first.
    Password {
        /// In characters. Default 24, which is 140 bits.
        #[serde(default = "default_length")]
        length: u8,
        /// Default `alphanumeric`.
        #[serde(default)]
        charset: Charset,
    },
    /// Hexadecimal digits, as keys often are.
    Hex {
        /// In bytes, of two digits each. Default 32.
        #[serde(default = "default_bytes")]
        bytes: u8,
        /// Comes before. Default: nothing.
        #[serde(default)]
        prefix: String,
    },
    /// Characters of base64url (RFC 4648 §5), 6 bits each.
    Token {
        /// In characters. Default 43, which is 256 bits.
        #[serde(default = "default_token")]
        length: u8,
    },
    /// A random UUID (RFC 9562, version 4).
    Uuid,
    /// A line `user:hash` with a bcrypt hash, as Apache's `htpasswd -B` writes it.
    Htpasswd {
        /// The user.
        user: String,
        /// The field of the same workload that holds the password.
        password: String,
    },
}

/// What a password consists of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Charset {
    /// a-z, A-Z, 0-9.
    #[default]
    Alphanumeric,
    /// a-z, A-Z.
    Letters,
    /// 0-9.
    Digits,
}

impl Charset {
    fn classes(self) -> &'static [&'static [u8]] {
        const LOWER: &[u8] = b"abcdefghijklmnopqrstuvwxyz";
        const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ";
        const DIGITS: &[u8] = b"0123456789";
        match self {
            Self::Alphanumeric => &[LOWER, UPPER, DIGITS],
            Self::Letters => &[LOWER, UPPER],
            Self::Digits => &[DIGITS],
        }
    }
}

impl Recipe {
    /// The field that it is made from, if any.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        match self {
            Self::Htpasswd { password, .. } => Some(password),
            Self::Password { .. } | Self::Hex { .. } | Self::Token { .. } | Self::Uuid => None,
        }
    }
}

/// Work of one bcrypt hash: 2^10 rounds, the default of the library that Traefik and Zot check it with; some 50 ms.
const BCRYPT_COST: u32 = 10;

pub(super) fn make(
    workload: &str,
    field: &str,
    recipe: &Recipe,
    fields: &BTreeMap<String, Secret>,
    random: Random<'_>,
) -> Result<Secret, SecretsError> {
    let text = match recipe {
        Recipe::Password { length, charset } => password(*length, *charset, random),
        Recipe::Hex { bytes, prefix } => {
            let mut value = vec![0; usize::from(*bytes)];
            random(&mut value);
            format!("{prefix}{}", crate::workloads::hex(&value))
        }
        Recipe::Token { length } => {
            const BASE64URL: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            (0..*length).map(|_| pick(BASE64URL, random)).collect()
        }
        Recipe::Uuid => uuid(random),
        Recipe::Htpasswd { user, password } => {
            let source = fields.get(password).ok_or_else(|| SecretsError::Missing {
                workload: workload.to_owned(),
                field: field.to_owned(),
                from: password.clone(),
            })?;
            let mut salt = [0; 16];
            random(&mut salt);
            let hash =
                bcrypt::hash_with_salt(source.reveal(), BCRYPT_COST, salt).map_err(|error| SecretsError::Hash {
                    workload: workload.to_owned(),
                    field: field.to_owned(),
                    reason: error.to_string(),
                })?;
            format!("{user}:{}", hash.format_for_version(bcrypt::Version::TwoY))
        }
    };
    Ok(Secret::new(text))
}

/// One of each class, the rest of all, shuffled, and a letter first where there are letters.
fn password(length: u8, charset: Charset, random: Random<'_>) -> String {
    let classes = charset.classes();
    let all = classes.concat();
    let mut characters: Vec<char> = classes.iter().map(|class| pick(class, random)).collect();
    while characters.len() < usize::from(length) {
        characters.push(pick(&all, random));
    }
    // Fisher and Yates.
    for last in (1..characters.len()).rev() {
        characters.swap(last, below(last + 1, random));
    }
    if let Some(letter) = characters.iter().position(char::is_ascii_alphabetic) {
        characters.swap(0, letter);
    }
    characters.truncate(usize::from(length));
    characters.into_iter().collect()
}

fn pick(alphabet: &[u8], random: Random<'_>) -> char {
    alphabet
        .get(below(alphabet.len(), random))
        .copied()
        .map_or('?', char::from)
}

/// A number below `limit`, which is above zero. The remainder of 64 bits is uneven by less than one part in 10^17.
fn below(limit: usize, random: Random<'_>) -> usize {
    let mut bytes = [0; 8];
    random(&mut bytes);
    usize::try_from(u64::from_le_bytes(bytes) % (limit.max(1) as u64)).unwrap_or_default()
}

fn uuid(random: Random<'_>) -> String {
    let mut bytes = [0_u8; 16];
    random(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = crate::workloads::hex(&bytes);
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
    [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
}

fn default_length() -> u8 {
    24
}

fn default_bytes() -> u8 {
    32
}

fn default_token() -> u8 {
    43
}
