//! The authority of this machine and the certificate of an environment: found in the home, or made there.

use jiff::Timestamp;
use loko_cluster::certificates::{Authority, Decision, Leaf, Names, renewal};
use loko_config::Environment;

use crate::context;
use crate::error::CliError;
use crate::state::{self, Home};

/// A certificate, and why it was issued where it is new.
#[derive(Debug, Clone)]
pub(crate) struct Certificates {
    pub(crate) leaf: Leaf,
    pub(crate) authority_pem: String,
    pub(crate) issued: Option<String>,
}

/// The authority, made where there is none. The key never leaves its file.
pub(crate) fn authority(home: &Home, now: Timestamp) -> Result<(Authority, bool), CliError> {
    let (certificate, key) = home.authority();
    if let (Some(certificate), Some(key)) = (state::read(&certificate)?, state::read(&key)?) {
        return Ok((Authority::from_pem(&certificate, &key)?, false));
    }
    // One at a time: two that make one would each trust their own.
    let _lock = home.lock_edge(|_| {})?;
    if let (Some(certificate), Some(key)) = (state::read(&certificate)?, state::read(&key)?) {
        return Ok((Authority::from_pem(&certificate, &key)?, false));
    }
    let authority = Authority::create(&context::holder(), now)?;
    state::write(&key, authority.key_pem().as_bytes(), true)?;
    state::write(&certificate, authority.certificate_pem().as_bytes(), false)?;
    Ok((authority, true))
}

/// The certificate of an environment's names, issued where the one that is there does not fit or grows old.
pub(crate) fn ensure(
    home: &Home,
    environment: &Environment,
    force: bool,
    now: Timestamp,
) -> Result<Certificates, CliError> {
    let (authority, _) = authority(home, now)?;
    let hosts: Vec<String> = environment
        .enabled_workloads()
        .filter_map(|workload| workload.http.as_ref())
        .flat_map(|http| http.hosts.iter().map(ToString::to_string))
        .collect();
    let names = Names::of_domain(environment.network.domain.as_str(), hosts.iter().map(String::as_str));
    let (certificate, key) = home.leaf(environment.name.as_str());
    let existing = match (state::read(&certificate)?, state::read(&key)?) {
        (Some(certificate_pem), Some(key_pem)) => Some(Leaf {
            certificate_pem,
            key_pem,
        }),
        _ => None,
    };
    let authority_pem = authority.certificate_pem().to_owned();
    let reason = match renewal(now, existing.as_ref(), &names, &authority) {
        Decision::Renew { reason } => Some(reason.to_string()),
        Decision::Keep => force.then(|| "asked for".to_owned()),
    };
    if let (None, Some(leaf)) = (&reason, existing) {
        return Ok(Certificates {
            leaf,
            authority_pem,
            issued: None,
        });
    }
    let leaf = authority.issue(&names, now)?;
    state::write(&key, leaf.key_pem.as_bytes(), true)?;
    state::write(&certificate, leaf.certificate_pem.as_bytes(), false)?;
    Ok(Certificates {
        leaf,
        authority_pem,
        issued: reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_issued_once_and_again_when_asked() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(camino::Utf8PathBuf::from_path_buf(directory.path().to_owned()).unwrap());
        let environment = loko_config::load("name: dev\n", &loko_config::LoadOptions::default())
            .unwrap()
            .environment;
        let now = Timestamp::now();
        let first = ensure(&home, &environment, false, now).unwrap();
        assert!(first.issued.is_some());
        let second = ensure(&home, &environment, false, now).unwrap();
        assert_eq!((second.leaf, second.issued), (first.leaf.clone(), None));
        let third = ensure(&home, &environment, true, now).unwrap();
        assert_ne!(third.leaf, first.leaf);
        assert_eq!(third.authority_pem, first.authority_pem);
    }
}
