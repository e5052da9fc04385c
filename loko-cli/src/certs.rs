//! The authority of this machine and the certificate of an environment: found in the home, or made there.

use camino::Utf8PathBuf;
use jiff::Timestamp;
use loko_cluster::certificates::{Authority, Decision, Leaf, Names, renewal};
use loko_cluster::wanted;
use loko_config::Environment;
use loko_registry::{Place, RegistrySpec};

use crate::context;
use crate::error::CliError;
use crate::state::{self, Home};

/// A certificate, and why it was issued where it is new.
#[derive(Debug, Clone)]
pub(crate) struct Certificates {
    pub(crate) leaf: Leaf,
    /// The registry's own, for its address inside the cluster, where there is a registry.
    pub(crate) registry: Option<Leaf>,
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

/// The certificates of an environment: of its names, and of its registry. Issued where the one that is there does not fit
/// or grows old, or where `force` asks for it.
pub(crate) fn ensure(
    home: &Home,
    environment: &Environment,
    force: bool,
    now: Timestamp,
) -> Result<Certificates, CliError> {
    let (authority, _) = authority(home, now)?;
    let name = environment.name.as_str();
    let names = Names::of_environment(environment);
    let mut issuing = Issuer {
        authority: &authority,
        force,
        now,
        issued: None,
    };
    let leaf = issuing.ensure(home.leaf(name, "tls"), &names)?;
    let registry = match RegistrySpec::of(environment)? {
        Some(spec) => {
            let names = registry_names(&spec, &wanted::registry_place(environment)?);
            Some(issuing.ensure(home.leaf(name, "registry"), &names)?)
        }
        None => None,
    };
    Ok(Certificates {
        leaf,
        registry,
        authority_pem: authority.certificate_pem().to_owned(),
        issued: issuing.issued,
    })
}

fn registry_names(spec: &RegistrySpec, place: &Place) -> Names {
    let mut names = Names::default();
    for name in loko_registry::manifests::certificate_names(spec, place) {
        match name.parse() {
            Ok(address) => drop(names.addresses.insert(address)),
            Err(_) => drop(names.dns.insert(name)),
        }
    }
    names
}

/// Issues what is missing, and remembers the first reason.
struct Issuer<'a> {
    authority: &'a Authority,
    force: bool,
    now: Timestamp,
    issued: Option<String>,
}

impl Issuer<'_> {
    fn ensure(&mut self, (certificate, key): (Utf8PathBuf, Utf8PathBuf), names: &Names) -> Result<Leaf, CliError> {
        let existing = match (state::read(&certificate)?, state::read(&key)?) {
            (Some(certificate_pem), Some(key_pem)) => Some(Leaf {
                certificate_pem,
                key_pem,
            }),
            _ => None,
        };
        let reason = match renewal(self.now, existing.as_ref(), names, self.authority) {
            Decision::Renew { reason } => Some(reason.to_string()),
            Decision::Keep => self.force.then(|| "asked for".to_owned()),
        };
        if let (None, Some(leaf)) = (&reason, existing) {
            return Ok(leaf);
        }
        let leaf = self.authority.issue(names, self.now)?;
        state::write(&key, leaf.key_pem.as_bytes(), true)?;
        state::write(&certificate, leaf.certificate_pem.as_bytes(), false)?;
        self.issued = self.issued.take().or(reason);
        Ok(leaf)
    }
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
