//! What a certificate says about itself.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer as _;

use super::{CertificateError, Names};

/// A certificate, read back: what `certs show` prints and what renewal is decided by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CertificateInfo {
    /// As RFC 4514 writes it: `O=LoKO, CN=dev.me`.
    pub subject: String,
    /// The subject of whoever signed it.
    pub issuer: String,
    /// DNS names, wildcards among them, sorted.
    pub names: Vec<String>,
    /// Addresses, sorted.
    pub addresses: Vec<IpAddr>,
    /// Its first second.
    pub not_before: Timestamp,
    /// Its last second.
    pub not_after: Timestamp,
    /// SHA-256 of the certificate (DER), as browsers show it: `AB:CD:…`, 32 pairs.
    pub fingerprint: String,
    /// Whether it may sign others.
    pub authority: bool,
    /// The public key as the bits of its `SubjectPublicKeyInfo`.
    #[serde(skip)]
    pub(super) public_key: Vec<u8>,
    /// The whole certificate.
    #[serde(skip)]
    der: Vec<u8>,
}

impl CertificateInfo {
    /// Reads the first PEM block, which must be a certificate.
    pub fn read(pem: &str) -> Result<Self, CertificateError> {
        let (_, block) = parse_x509_pem(pem.as_bytes()).map_err(unreadable)?;
        if block.label != "CERTIFICATE" {
            return Err(unreadable(format!("the first block is `{}`", block.label)));
        }
        let (_, certificate) = X509Certificate::from_der(&block.contents).map_err(unreadable)?;
        let (mut names, mut addresses) = (Vec::new(), Vec::new());
        if let Some(extension) = certificate.subject_alternative_name().map_err(unreadable)? {
            for name in &extension.value.general_names {
                if let GeneralName::DNSName(name) = name {
                    names.push((*name).to_owned());
                } else if let GeneralName::IPAddress(bytes) = name {
                    addresses.extend(address(bytes));
                }
            }
        }
        names.sort_unstable();
        addresses.sort_unstable();
        let validity = certificate.validity();
        Ok(Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            names,
            addresses,
            not_before: timestamp(validity.not_before.timestamp())?,
            not_after: timestamp(validity.not_after.timestamp())?,
            fingerprint: fingerprint(&block.contents),
            authority: certificate.is_ca(),
            public_key: certificate.public_key().subject_public_key.data.to_vec(),
            der: block.contents.clone(),
        })
    }

    /// What it is for, in the form in which it is asked for.
    #[must_use]
    pub fn wanted_names(&self) -> Names {
        Names {
            dns: self.names.iter().cloned().collect(),
            addresses: self.addresses.iter().copied().collect(),
        }
    }

    /// Whether `authority` signed it: by name and by signature.
    #[must_use]
    pub fn is_signed_by(&self, authority: &Self) -> bool {
        let (Ok((_, own)), Ok((_, other))) = (
            X509Certificate::from_der(&self.der),
            X509Certificate::from_der(&authority.der),
        ) else {
            return false;
        };
        own.issuer().as_raw() == other.subject().as_raw() && own.verify_signature(Some(other.public_key())).is_ok()
    }
}

fn fingerprint(der: &[u8]) -> String {
    let pairs: Vec<String> = Sha256::digest(der).iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn timestamp(seconds: i64) -> Result<Timestamp, CertificateError> {
    Timestamp::from_second(seconds).map_err(unreadable)
}

fn unreadable(reason: impl std::fmt::Display) -> CertificateError {
    CertificateError::Unreadable {
        reason: reason.to_string(),
    }
}
