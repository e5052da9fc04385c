//! One certificate authority per machine, one leaf per environment.
//!
//! ```text
//! Authority ─ issue(names, now) ─→ Leaf ─→ Traefik, registry, nodes
//!     ↑ create(subject, now)        │
//!     └──── renewal(now, leaf, names) ─→ keep, or renew and why
//! ```
//!
//! Nothing here reads a clock or a file. Only the keys come from the operating system's random numbers.
//!
//! ```
//! use loko_cluster::certificates::{Authority, Decision, Names, renewal};
//!
//! let now = "2026-11-24T10:00:00Z".parse().unwrap();
//! let authority = Authority::create("me@laptop", now).unwrap();
//! let names = Names::of_domain("dev.me", ["a.b.dev.me"]);
//! let leaf = authority.issue(&names, now).unwrap();
//! assert_eq!(renewal(now, Some(&leaf), &names, &authority), Decision::Keep);
//! ```

use std::collections::BTreeSet;
use std::net::IpAddr;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use loko_config::Environment;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};

mod info;
mod renewal;

pub use info::CertificateInfo;
pub use renewal::{Decision, Reason, renewal};

/// How long the authority lives, in years.
pub const AUTHORITY_YEARS: i32 = 10;
/// How long a leaf lives, in days, its first day in the past included. Apple's platforms refuse more than 398 days from public
/// authorities and more than 825 from any other.
pub const LEAF_DAYS: i32 = 397;

/// Why a certificate cannot be made or used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum CertificateError {
    /// The text holds no certificate.
    #[error("read the certificate: {reason}")]
    #[diagnostic(help("it must be one PEM block `CERTIFICATE`; remove the file to have it made anew"))]
    Unreadable {
        /// What the parser says.
        reason: String,
    },
    /// The text holds no private key.
    #[error("read the private key: {reason}")]
    #[diagnostic(help("it must be a PEM block `PRIVATE KEY` (PKCS #8)"))]
    UnreadableKey {
        /// What the parser says.
        reason: String,
    },
    /// Certificate and key are of different pairs.
    #[error("use the authority `{subject}`: its key is not the one it was made with")]
    #[diagnostic(help("restore the file that belongs to it, or remove both and trust the new authority"))]
    OtherKey {
        /// Of the certificate.
        subject: String,
    },
    /// The certificate may not sign others.
    #[error("use `{subject}` as an authority: it is not one")]
    #[diagnostic(help("basicConstraints must say CA:TRUE"))]
    NoAuthority {
        /// Of the certificate.
        subject: String,
    },
    /// The authority's time is over, or has not begun.
    #[error(
        "issue a certificate: the authority `{subject}` is valid from {not_before} to {not_after}, and now is {now}"
    )]
    #[diagnostic(help("check the clock; remove the authority to have a new one made, which must be trusted again"))]
    OutOfTime {
        /// Of the authority.
        subject: String,
        /// Its first second.
        not_before: Timestamp,
        /// Its last second.
        not_after: Timestamp,
        /// What was given as now.
        now: Timestamp,
    },
    /// A name that no certificate can hold.
    #[error("put the name `{name}` into a certificate: {reason}")]
    Name {
        /// As given.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No name and no address.
    #[error("issue a certificate without names")]
    NoNames,
    /// Keys or signatures fail.
    #[error("sign the certificate: {reason}")]
    Signing {
        /// What the library says.
        reason: String,
    },
}

/// A certificate with its private key, both PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Leaf {
    /// The certificate alone, without the authority's: clients have that.
    pub certificate_pem: String,
    /// PKCS #8.
    pub key_pem: String,
}

/// Shows no key.
impl std::fmt::Debug for Leaf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leaf")
            .field("certificate_pem", &self.certificate_pem)
            .finish_non_exhaustive()
    }
}

/// What a leaf is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// DNS names, wildcards among them, lower case, without the last dot.
    pub dns: BTreeSet<String>,
    /// Addresses, for clients that connect without a name.
    pub addresses: BTreeSet<IpAddr>,
}

impl Names {
    /// The names of an environment: the domain, `*.<domain>`, and every host in use that neither covers, because a wildcard
    /// stands for exactly one label (RFC 6125 §6.4.3).
    #[must_use]
    pub fn of_domain<'a>(domain: &str, hosts: impl IntoIterator<Item = &'a str>) -> Self {
        let covered = |host: &str| {
            host == domain
                || host
                    .strip_suffix(domain)
                    .and_then(|rest| rest.strip_suffix('.'))
                    .is_some_and(|label| !label.is_empty() && !label.contains('.'))
        };
        let mut dns: BTreeSet<String> = hosts
            .into_iter()
            .filter(|host| !covered(host))
            .map(str::to_owned)
            .collect();
        dns.insert(domain.to_owned());
        dns.insert(format!("*.{domain}"));
        Self {
            dns,
            addresses: BTreeSet::new(),
        }
    }

    /// The names of an environment with the hosts of its enabled workloads. Where there is an ACME resolver, hosts outside the
    /// domain are left to it: Traefik asks for no certificate for a name that it has one for.
    #[must_use]
    pub fn of_environment(environment: &Environment) -> Self {
        let domain = environment.network.domain.as_str();
        let acme = environment.components.ingress_controller.acme.is_some();
        let https = environment
            .enabled_workloads()
            .filter_map(|workload| workload.http.as_ref());
        let hosts = https.flat_map(|http| &http.hosts).map(AsRef::as_ref);
        Self::of_domain(domain, hosts.filter(|host| !acme || is_under(domain, host)))
    }

    /// The same with further addresses.
    #[must_use]
    pub fn with_addresses(mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        self.addresses.extend(addresses);
        self
    }
}

/// Whether a host is the domain or under it, at any depth.
pub(crate) fn is_under(domain: &str, host: &str) -> bool {
    let rest = host.strip_suffix(domain);
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// A certificate authority with its key.
///
/// It carries no name constraints (RFC 5280 §4.2.1.10): it is made before the domains of later environments are known, and
/// a new one would have to be trusted by hand again. It may not sign other authorities (`pathlen:0`).
#[derive(Debug)]
pub struct Authority {
    certificate_pem: String,
    info: CertificateInfo,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes a new one with an ECDSA P-256 key, valid from the day before `now` for [`AUTHORITY_YEARS`].
    ///
    /// `holder` is `<user>@<host>`: the subject reads `LoKO development CA <holder>`, so that someone who finds it among the
    /// trusted authorities knows whose it is.
    pub fn create(holder: &str, now: Timestamp) -> Result<Self, CertificateError> {
        let key = new_key()?;
        let today = day(now);
        let mut params = CertificateParams::default();
        let from = today.saturating_sub(Span::new().days(1));
        set_validity(
            &mut params,
            from,
            today.saturating_add(Span::new().years(AUTHORITY_YEARS)),
        );
        params.distinguished_name = subject(&format!("LoKO development CA {holder}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let certificate_pem = params.self_signed(&key).map_err(signing)?.pem();
        Self::from_pem(&certificate_pem, &key.serialize_pem())
    }

    /// Takes up one that was made before.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, CertificateError> {
        let info = CertificateInfo::read(certificate_pem)?;
        if !info.authority {
            return Err(CertificateError::NoAuthority { subject: info.subject });
        }
        let key = KeyPair::from_pem(key_pem).map_err(|error| CertificateError::UnreadableKey {
            reason: error.to_string(),
        })?;
        if key.public_key_raw() != info.public_key {
            return Err(CertificateError::OtherKey { subject: info.subject });
        }
        let issuer = Issuer::from_ca_cert_pem(certificate_pem, key).map_err(|error| CertificateError::Unreadable {
            reason: error.to_string(),
        })?;
        Ok(Self {
            certificate_pem: certificate_pem.to_owned(),
            info,
            issuer,
        })
    }

    /// The certificate, to be given to whoever shall trust it.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The private key, PKCS #8: to be kept where only its owner reads it, and never copied.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Subject, validity, fingerprint.
    #[must_use]
    pub fn info(&self) -> &CertificateInfo {
        &self.info
    }

    /// Issues a server certificate with a key of its own, valid from the day before `now` for [`LEAF_DAYS`], never longer
    /// than the authority itself. Its serial number is derived from the new key.
    pub fn issue(&self, names: &Names, now: Timestamp) -> Result<Leaf, CertificateError> {
        if now < self.info.not_before || self.info.not_after < now {
            return Err(CertificateError::OutOfTime {
                subject: self.info.subject.clone(),
                not_before: self.info.not_before,
                not_after: self.info.not_after,
                now,
            });
        }
        let first = names.dns.iter().find(|name| !name.starts_with('*'));
        let first = first.or(names.dns.first());
        let Some(common_name) = first
            .cloned()
            .or_else(|| names.addresses.first().map(ToString::to_string))
        else {
            return Err(CertificateError::NoNames);
        };
        let key = new_key()?;
        let yesterday = day(now).saturating_sub(Span::new().days(1));
        let mut params = CertificateParams::default();
        let until = yesterday.saturating_add(Span::new().days(LEAF_DAYS));
        set_validity(
            &mut params,
            yesterday.max(day(self.info.not_before)),
            until.min(day(self.info.not_after)),
        );
        params.distinguished_name = subject(&common_name);
        params.subject_alt_names = alternative_names(names)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).map_err(signing)?;
        Ok(Leaf {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

fn new_key() -> Result<KeyPair, CertificateError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(signing)
}

fn alternative_names(names: &Names) -> Result<Vec<SanType>, CertificateError> {
    let dns = names.dns.iter().map(|name| {
        name.as_str()
            .try_into()
            .map(SanType::DnsName)
            .map_err(|error: rcgen::Error| CertificateError::Name {
                name: name.clone(),
                reason: error.to_string(),
            })
    });
    let addresses = names.addresses.iter().map(|address| Ok(SanType::IpAddress(*address)));
    dns.chain(addresses).collect()
}

/// `O=LoKO, CN=…`; a common name holds at most 64 characters (RFC 5280, appendix A, `ub-common-name`).
fn subject(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "LoKO");
    name.push(DnType::CommonName, common_name.chars().take(64).collect::<String>());
    name
}

fn signing(error: impl std::fmt::Display) -> CertificateError {
    CertificateError::Signing {
        reason: error.to_string(),
    }
}

fn day(time: Timestamp) -> Date {
    TimeZone::UTC.to_datetime(time).date()
}

/// From midnight to midnight, UTC. Whole days are all that is needed, and spare a second library for time.
fn set_validity(params: &mut CertificateParams, from: Date, until: Date) {
    let midnight =
        |day: Date| rcgen::date_time_ymd(day.year().into(), day.month().unsigned_abs(), day.day().unsigned_abs());
    params.not_before = midnight(from);
    params.not_after = midnight(until);
}

#[cfg(test)]
mod tests;
