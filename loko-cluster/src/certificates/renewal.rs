//! Whether a leaf can stay.

use jiff::Timestamp;

use super::{Authority, CertificateInfo, Leaf, Names};

/// What to do with an environment's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It serves.
    Keep,
    /// Issue a new one.
    Renew {
        /// Why.
        reason: Reason,
    },
}

/// Why a certificate is issued anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// There is none.
    Missing,
    /// It, or its key, cannot be read.
    Unreadable {
        /// What the parser says.
        reason: String,
    },
    /// The key beside it belongs to another.
    OtherKey,
    /// The authority did not sign it.
    OtherAuthority {
        /// Who did.
        issuer: String,
    },
    /// It is for other names.
    Names {
        /// Wanted and not in it.
        added: Vec<String>,
        /// In it and no longer wanted.
        removed: Vec<String>,
    },
    /// Less than a third of its life is left, or all of it lies ahead of the clock.
    Age {
        /// Its last second.
        not_after: Timestamp,
    },
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str("there is none yet"),
            Self::Unreadable { reason } => write!(f, "it cannot be read: {reason}"),
            Self::OtherKey => f.write_str("its key belongs to another certificate"),
            Self::OtherAuthority { issuer } => write!(f, "it was signed by `{issuer}`"),
            Self::Names { added, removed } => {
                f.write_str("its names changed")?;
                for (sign, names) in [("+", added), ("-", removed)] {
                    for name in names {
                        write!(f, " {sign}{name}")?;
                    }
                }
                Ok(())
            }
            Self::Age { not_after } => write!(f, "it ends at {not_after}"),
        }
    }
}

/// Decides by the first reason that holds, in the order of [`Reason`].
#[must_use]
pub fn renewal(now: Timestamp, existing: Option<&Leaf>, wanted: &Names, authority: &Authority) -> Decision {
    match reason(now, existing, wanted, authority) {
        Some(reason) => Decision::Renew { reason },
        None => Decision::Keep,
    }
}

fn reason(now: Timestamp, existing: Option<&Leaf>, wanted: &Names, authority: &Authority) -> Option<Reason> {
    let Some(leaf) = existing else {
        return Some(Reason::Missing);
    };
    let info = match CertificateInfo::read(&leaf.certificate_pem) {
        Ok(info) => info,
        Err(error) => {
            return Some(Reason::Unreadable {
                reason: error.to_string(),
            });
        }
    };
    match rcgen::KeyPair::from_pem(&leaf.key_pem) {
        Ok(key) if key.public_key_raw() == info.public_key => {}
        Ok(_) => return Some(Reason::OtherKey),
        Err(error) => {
            return Some(Reason::Unreadable {
                reason: error.to_string(),
            });
        }
    }
    if !info.is_signed_by(authority.info()) {
        return Some(Reason::OtherAuthority { issuer: info.issuer });
    }
    let present = info.wanted_names();
    if present != *wanted {
        return Some(Reason::Names {
            added: difference(wanted, &present),
            removed: difference(&present, wanted),
        });
    }
    let life = info.not_after.as_second() - info.not_before.as_second();
    let left = info.not_after.as_second() - now.as_second();
    (left * 3 < life || now < info.not_before).then_some(Reason::Age {
        not_after: info.not_after,
    })
}

fn difference(left: &Names, right: &Names) -> Vec<String> {
    let names = left.dns.difference(&right.dns).cloned();
    let addresses = left.addresses.difference(&right.addresses).map(ToString::to_string);
    names.chain(addresses).collect()
}
