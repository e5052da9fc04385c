//! Any text is read as a certificate or refused.

use loko_cluster::certificates::{Authority, CertificateInfo};

/// Reads `bytes` as a PEM file, and as an authority with its key behind it.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(info) = CertificateInfo::read(text) {
        assert_eq!(info.fingerprint.len(), 32 * 3 - 1);
        let names = info.wanted_names();
        assert!(names.dns.len() <= info.names.len() && names.addresses.len() <= info.addresses.len());
        let _ = info.is_signed_by(&info);
    }
    if let Ok(authority) = Authority::from_pem(text, text) {
        assert!(authority.info().authority);
        assert!(authority.info().is_signed_by(authority.info()) || authority.info().issuer != authority.info().subject);
    }
}
