//! Authorities that nodes trust besides the public ones, `cluster.extra-cas`: a proxy's that opens TLS, a company's registry's.
//!
//! Programs in Go, containerd and the kubelet among them, read every file of `/etc/ssl/certs` when they first verify a certificate
//! (Go: `crypto/x509/root_unix.go`). So the files are there before a node starts for the first time, and a node with others is
//! another node.

use std::collections::BTreeMap;

use loko_engine::container::short_hash;
use miette::Diagnostic;
use thiserror::Error;
use x509_parser::pem::Pem;

/// A variable of nodes that has extra authorities: which ones, as a hash. Nobody reads it; it tells nodes apart.
pub const MARK: &str = "LOKO_EXTRA_CAS";
const DIRECTORY: &str = "/etc/ssl/certs";

/// Why a file is not given to nodes.
#[derive(Debug, Clone, PartialEq, Eq, Error, Diagnostic)]
#[non_exhaustive]
pub enum AuthorityError {
    /// It has no certificate.
    #[error("{file} has no certificate in PEM")]
    #[diagnostic(
        code(loko::cluster::authority),
        help("`cluster.extra-cas` takes PEM; of DER it is made by `openssl x509 -inform der -in FILE -out ca.pem`")
    )]
    Empty {
        /// The file.
        file: String,
    },
    /// It has a key, which nodes have no business with.
    #[error("{file} holds a private key")]
    #[diagnostic(
        code(loko::cluster::authority),
        help("`cluster.extra-cas` takes certificates alone, which anybody may read: name a file without the key")
    )]
    Key {
        /// The file.
        file: String,
    },
    /// A certificate in it cannot be read.
    #[error("certificate {number} in {file} cannot be read: {reason}")]
    #[diagnostic(
        code(loko::cluster::authority),
        help("`openssl x509 -in FILE -text` shows what is in it")
    )]
    Broken {
        /// The file.
        file: String,
        /// Which one, from 1.
        number: usize,
        /// Why.
        reason: String,
    },
}

/// Files of a node, by their paths there. `read` are the files of this host with what is in them.
pub fn files(read: &[(String, Vec<u8>)]) -> Result<BTreeMap<String, Vec<u8>>, AuthorityError> {
    let mut files = BTreeMap::new();
    for (file, bytes) in read {
        let mut certificates = 0;
        for (index, block) in Pem::iter_from_buffer(bytes).enumerate() {
            let broken = |reason: String| AuthorityError::Broken {
                file: file.clone(),
                number: index + 1,
                reason,
            };
            let block = block.map_err(|error| broken(error.to_string()))?;
            if block.label.contains("PRIVATE KEY") {
                return Err(AuthorityError::Key { file: file.clone() });
            }
            if block.label == "CERTIFICATE" {
                block.parse_x509().map_err(|error| broken(error.to_string()))?;
                certificates += 1;
            }
        }
        if certificates == 0 {
            return Err(AuthorityError::Empty { file: file.clone() });
        }
        files.insert(
            format!("{DIRECTORY}/loko-extra-{}.pem", short_hash(bytes)),
            bytes.clone(),
        );
    }
    Ok(files)
}

/// The value of [`MARK`] for these files; `None` where there are none.
#[must_use]
pub fn mark(files: &BTreeMap<String, Vec<u8>>) -> Option<String> {
    // The path has the hash of the contents.
    let paths: Vec<&str> = files.keys().map(String::as_str).collect();
    (!paths.is_empty()).then(|| short_hash(paths.join("\n").as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority() -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key);
        (certificate.unwrap().pem(), key.serialize_pem())
    }

    fn given(text: impl Into<Vec<u8>>) -> Result<BTreeMap<String, Vec<u8>>, AuthorityError> {
        files(&[("corp.pem".to_owned(), text.into())])
    }

    #[test]
    fn a_file_keeps_what_it_says_and_is_named_by_it() {
        let (one, _) = authority();
        let (other, _) = authority();
        let both = given(format!("# corp\n{one}{other}")).unwrap();
        let path = format!(
            "/etc/ssl/certs/loko-extra-{}.pem",
            short_hash(both.values().next().unwrap())
        );
        assert_eq!(both.keys().next(), Some(&path));
        assert_eq!(both.len(), 1);
        assert_ne!(mark(&both), mark(&given(one).unwrap()));
        assert_eq!(mark(&BTreeMap::new()), None);
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        let (certificate, key) = authority();
        let file = || "corp.pem".to_owned();
        assert_eq!(given(""), Err(AuthorityError::Empty { file: file() }));
        assert_eq!(given([0x30, 0x82, 1, 2]), Err(AuthorityError::Empty { file: file() }));
        assert_eq!(
            given(format!("{certificate}{key}")),
            Err(AuthorityError::Key { file: file() })
        );
        let cut: String = certificate.lines().take(4).collect::<Vec<_>>().join("\n");
        let wrong = format!("{certificate}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        for (text, number) in [(cut, 1), (wrong, 2)] {
            let error = given(text).unwrap_err();
            assert!(
                matches!(&error, AuthorityError::Broken { number: found, .. } if *found == number),
                "{error:?}"
            );
        }
    }
}
