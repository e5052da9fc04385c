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

/// What may be done about certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Issue and write what does not fit or grows old.
    Ensure,
    /// Issue and write all but the authority.
    Renew,
    /// Write nothing: what is missing is made in memory alone, for a plan.
    Look,
}

/// The authority, made where there is none. The key never leaves its file.
fn authority(home: &Home, mode: Mode, now: Timestamp) -> Result<Authority, CliError> {
    let (certificate, key) = home.authority();
    let stored = || match (state::read(&certificate)?, state::read(&key)?) {
        (Some(certificate), Some(key)) => Ok(Some(Authority::from_pem(&certificate, &key)?)),
        _ => Ok::<_, CliError>(None),
    };
    if let Some(authority) = stored()? {
        return Ok(authority);
    }
    if mode == Mode::Look {
        return Ok(Authority::create(&context::holder(), now)?);
    }
    // One at a time: two that make one would each trust their own.
    let _lock = home.lock_authority()?;
    if let Some(authority) = stored()? {
        return Ok(authority);
    }
    let authority = Authority::create(&context::holder(), now)?;
    state::write(&key, authority.key_pem().as_bytes(), true)?;
    state::write(&certificate, authority.certificate_pem().as_bytes(), false)?;
    Ok(authority)
}

/// The certificates of an environment: of its names, and of its registry.
pub(crate) fn ensure(
    home: &Home,
    environment: &Environment,
    mode: Mode,
    now: Timestamp,
) -> Result<Certificates, CliError> {
    let authority = authority(home, mode, now)?;
    let name = environment.name.as_str();
    let names = Names::of_environment(environment);
    let mut issuing = Issuer {
        authority: &authority,
        mode,
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
    mode: Mode,
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
            Decision::Keep => (self.mode == Mode::Renew).then(|| "asked for".to_owned()),
        };
        if let (None, Some(leaf)) = (&reason, existing) {
            return Ok(leaf);
        }
        let leaf = self.authority.issue(names, self.now)?;
        if self.mode != Mode::Look {
            state::write(&key, leaf.key_pem.as_bytes(), true)?;
            state::write(&certificate, leaf.certificate_pem.as_bytes(), false)?;
        }
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
        let first = ensure(&home, &environment, Mode::Ensure, now).unwrap();
        assert!(first.issued.is_some());
        let second = ensure(&home, &environment, Mode::Ensure, now).unwrap();
        assert_eq!((second.leaf, second.issued), (first.leaf.clone(), None));
        let third = ensure(&home, &environment, Mode::Renew, now).unwrap();
        assert_ne!(third.leaf, first.leaf);
        assert_eq!(third.authority_pem, first.authority_pem);
    }

    /// Every file below a directory, with what is in it.
    fn files(directory: &camino::Utf8Path) -> std::collections::BTreeMap<Utf8PathBuf, Vec<u8>> {
        let mut all = std::collections::BTreeMap::new();
        for entry in directory.read_dir_utf8().unwrap() {
            let path = entry.unwrap().into_path();
            if path.is_dir() {
                all.extend(files(&path));
            } else {
                all.insert(path.clone(), fs_err::read(&path).unwrap());
            }
        }
        all
    }

    #[test]
    fn a_clock_far_ahead_renews_what_it_can_and_leaves_every_file_whole_where_it_cannot() {
        let directory = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(directory.path().to_owned()).unwrap();
        let environment = loko_config::load("name: dev\n", &loko_config::LoadOptions::default())
            .unwrap()
            .environment;
        let now: Timestamp = "2026-11-24T10:00:00Z".parse().unwrap();
        let at = |days: i64| {
            let when = now + jiff::SignedDuration::from_hours(24 * days);
            ensure(&Home::new(&root), &environment, Mode::Ensure, when)
        };
        let first = at(0).unwrap();
        // No other clock than the one that was given has a say: this one stood still a year ago, or runs a year ahead.
        assert_eq!(at(30).unwrap().issued, None);
        let later = at(365).unwrap();
        assert!(later.issued.is_some_and(|reason| reason.contains("it ends at")));
        assert_eq!(later.authority_pem, first.authority_pem);
        assert_eq!(at(365).unwrap().issued, None);
        let before = files(&root);
        for days in [365 * 200, -3650] {
            let error = at(days).unwrap_err();
            assert!(error.to_string().contains("is valid from"), "{error}");
            assert_eq!(files(&root), before);
        }
        // Set right again, it goes on.
        assert_eq!(at(365).unwrap().issued, None);
    }

    #[test]
    fn a_look_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let root = camino::Utf8PathBuf::from_path_buf(directory.path().join("home")).unwrap();
        let environment = loko_config::load("name: dev\n", &loko_config::LoadOptions::default())
            .unwrap()
            .environment;
        ensure(&Home::new(&root), &environment, Mode::Look, Timestamp::now()).unwrap();
        assert!(!root.exists());
    }
}
