//! Who on this host trusts the authority: the system's store, by the system's own tools, and Docker for the registry. Read
//! here, decided as a list of acts, carried out by root or printed for it.
//!
//! ```text
//! Host ─ facts ─→ what is there ─ trust, untrust ─→ Act, Act… ─┬─→ carry_out (root)
//!                                                              └─→ as a shell takes them (anybody else)
//! ```

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use loko_cluster::certificates::CertificateInfo;

use crate::error::CliError;

/// Where Docker looks for who signs a registry's certificate, by the registry's host; read at each push and pull
/// (docs.docker.com, "Verify repository client with certificates").
const DOCKER: &str = "/etc/docker/certs.d";
/// The keychain of everybody on a Mac.
const KEYCHAIN: &str = "/Library/Keychains/System.keychain";

/// A system's store of authorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    /// Files in this directory, and what reads them anew.
    Directory(&'static str, &'static [&'static str]),
    /// macOS: `security`.
    Keychain,
}

/// Debian (update-ca-certificates(8)), Fedora (update-ca-trust(8)), openSUSE, Arch. The first whose directory is there. SUSE's
/// tool has Debian's name, so directories decide.
const STORES: [Store; 4] = [
    Store::Directory("/usr/local/share/ca-certificates", &["update-ca-certificates"]),
    Store::Directory("/etc/pki/ca-trust/source/anchors", &["update-ca-trust", "extract"]),
    Store::Directory("/etc/pki/trust/anchors", &["update-ca-certificates"]),
    Store::Directory(
        "/etc/ca-certificates/trust-source/anchors",
        &["trust", "extract-compat"],
    ),
];

/// One thing that only root may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    /// Put the authority's certificate there.
    Install(Utf8PathBuf),
    /// Take a file away; of Docker's also its directory, where nothing else is in it.
    Remove(Utf8PathBuf),
    /// Run a program.
    Run(Vec<String>),
}

/// The authority.
#[derive(Debug, Clone)]
pub(crate) struct Authority {
    file: Utf8PathBuf,
    pem: String,
    info: CertificateInfo,
}

/// What there is of it on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    store: Option<Store>,
    /// Whether the system trusts it: it is in the store, and by our name.
    stored: bool,
    /// Registry hosts whose file for Docker holds it.
    docker: Vec<String>,
    /// Registry hosts whose file for Docker holds another authority of LoKO's.
    old: Vec<String>,
    /// Registry hosts whose file for Docker is somebody else's.
    foreign: Vec<String>,
}

/// A host: this one, or a directory that looks like one.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    root: PathBuf,
    path: Option<OsString>,
    is_mac: bool,
}

impl Authority {
    /// Reads it; `None` where there is none yet.
    pub(crate) fn read(file: &Utf8Path) -> Result<Option<Self>, CliError> {
        let Some(pem) = crate::state::read(file)? else {
            return Ok(None);
        };
        let info = CertificateInfo::read(&pem)?;
        Ok(Some(Self {
            file: file.to_owned(),
            pem,
            info,
        }))
    }

    /// Its file in a store: each home has an authority of its own.
    fn name(&self) -> String {
        let digits: String = self.info.fingerprint.chars().filter(char::is_ascii_hexdigit).collect();
        format!("loko-{}.crt", digits.get(..8).unwrap_or(&digits).to_ascii_lowercase())
    }

    /// What makes a host trust it: the system, and Docker for these registries. The second value is what is left as it is.
    pub(crate) fn trust(&self, facts: &Facts, registries: &[String]) -> (Vec<Act>, Vec<String>) {
        let mut acts = Vec::new();
        let mut notes = Vec::new();
        match facts.store {
            _ if facts.stored => {}
            Some(Store::Directory(directory, refresh)) => {
                acts.push(Act::Install(Utf8Path::new(directory).join(self.name())));
                acts.push(run(refresh));
            }
            Some(Store::Keychain) => acts.push(run(&[
                "security",
                "add-trusted-cert",
                "-d",
                "-r",
                "trustRoot",
                "-k",
                KEYCHAIN,
                self.file.as_str(),
            ])),
            None => notes.push(format!(
                "how this system keeps its authorities is not known; add {} to them by hand",
                self.file
            )),
        }
        if facts.store == Some(Store::Keychain) {
            // Docker Desktop takes over the keychain when it starts.
            if !acts.is_empty() {
                notes.push("Docker Desktop trusts it once it is started anew".to_owned());
            }
            return (acts, notes);
        }
        for host in registries {
            if facts.foreign.contains(host) {
                notes.push(format!("{} is not LoKO's and is left as it is", docker_file(host)));
            } else if !facts.docker.contains(host) {
                acts.push(Act::Install(docker_file(host)));
            }
        }
        (acts, notes)
    }

    /// What takes all of that back.
    pub(crate) fn untrust(&self, facts: &Facts) -> Vec<Act> {
        let mut acts = Vec::new();
        match facts.store.filter(|_| facts.stored) {
            Some(Store::Directory(directory, refresh)) => {
                acts.push(Act::Remove(Utf8Path::new(directory).join(self.name())));
                acts.push(run(refresh));
            }
            Some(Store::Keychain) => {
                let hash = self.info.fingerprint.replace(':', "");
                acts.push(run(&["security", "remove-trusted-cert", "-d", self.file.as_str()]));
                acts.push(run(&["security", "delete-certificate", "-Z", &hash, KEYCHAIN]));
            }
            None => {}
        }
        acts.extend(facts.docker.iter().map(|host| Act::Remove(docker_file(host))));
        acts
    }

    /// What one registry leaves on the host when it goes: the system's store is everybody's, and stays.
    pub(crate) fn forget(facts: &Facts, registry: &str) -> Vec<Act> {
        let mut ours = facts.docker.iter().chain(&facts.old);
        let there = ours.any(|host| host == registry);
        there.then(|| Act::Remove(docker_file(registry))).into_iter().collect()
    }
}

impl Act {
    /// As a shell takes it.
    pub(crate) fn command(&self, authority: &Authority) -> String {
        let words: Vec<String> = match self {
            Self::Install(path) => vec![
                "install".to_owned(),
                "-D".to_owned(),
                "-m".to_owned(),
                "644".to_owned(),
                quoted(authority.file.as_str()),
                quoted(path.as_str()),
            ],
            Self::Remove(path) => vec!["rm".to_owned(), "-f".to_owned(), quoted(path.as_str())],
            Self::Run(words) => words.iter().map(|word| quoted(word)).collect(),
        };
        format!("sudo {}", words.join(" "))
    }
}

impl Host {
    /// This host.
    pub(crate) fn this() -> Self {
        Self {
            root: PathBuf::from("/"),
            path: None,
            is_mac: cfg!(target_os = "macos"),
        }
    }

    /// What there is of an authority.
    pub(crate) fn facts(&self, authority: &Authority) -> Facts {
        let mut facts = Facts {
            store: self.store(),
            ..Facts::default()
        };
        facts.stored = match facts.store {
            Some(Store::Directory(directory, _)) => {
                let there = fs::read_to_string(self.at(&Utf8Path::new(directory).join(authority.name())));
                there.is_ok_and(|text| text == authority.pem)
            }
            Some(Store::Keychain) => self.in_keychain(authority),
            None => false,
        };
        let entries = fs::read_dir(self.at(Utf8Path::new(DOCKER)));
        let mut hosts: Vec<String> = entries
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        hosts.sort();
        for host in hosts {
            let Ok(text) = fs::read_to_string(self.at(&docker_file(&host))) else {
                continue;
            };
            let list = if text == authority.pem {
                &mut facts.docker
            } else if is_of_loko(&text) {
                &mut facts.old
            } else {
                &mut facts.foreign
            };
            list.push(host);
        }
        facts
    }

    /// Does what only root may do.
    pub(crate) fn carry_out(&self, acts: &[Act], authority: &Authority) -> Result<(), CliError> {
        for act in acts {
            match act {
                Act::Install(path) => {
                    let target = self.at(path);
                    let failed = |source| file("write", path, source);
                    if let Some(parent) = target.parent() {
                        fs::create_dir_all(parent).map_err(failed)?;
                    }
                    fs::write(&target, &authority.pem).map_err(failed)?;
                }
                Act::Remove(path) => {
                    let target = self.at(path);
                    match fs::remove_file(&target) {
                        Err(source) if source.kind() != io::ErrorKind::NotFound => {
                            return Err(file("remove", path, source));
                        }
                        _ => {}
                    }
                    if path.starts_with(DOCKER)
                        && let Some(parent) = target.parent()
                    {
                        // Others may have files in it.
                        let _ = fs::remove_dir(parent);
                    }
                }
                Act::Run(words) => self.run(words)?,
            }
        }
        Ok(())
    }

    fn run(&self, words: &[String]) -> Result<(), CliError> {
        let line = words.join(" ");
        let failed = |source| CliError::File {
            action: "run",
            path: line.clone().into(),
            source,
        };
        let output = self.command(words).output().map_err(failed)?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(failed(io::Error::other(said)))
    }

    fn command(&self, words: &[String]) -> Command {
        let program = words.first().map(String::as_str).unwrap_or_default();
        // The tools of the store are in sbin, which is not in everybody's PATH.
        let path = self.path.clone().unwrap_or_else(|| {
            let mut path = std::env::var_os("PATH").unwrap_or_default();
            path.push(":/usr/sbin:/sbin");
            path
        });
        let found = std::env::split_paths(&path)
            .map(|directory| directory.join(program))
            .find(|file| file.is_file());
        let mut command = Command::new(found.unwrap_or_else(|| program.into()));
        command.args(words.get(1..).unwrap_or_default()).env("PATH", path);
        command
    }

    fn store(&self) -> Option<Store> {
        if self.is_mac {
            return Some(Store::Keychain);
        }
        STORES.into_iter().find(|store| match store {
            Store::Directory(directory, _) => self.at(Utf8Path::new(directory)).is_dir(),
            Store::Keychain => false,
        })
    }

    fn in_keychain(&self, authority: &Authority) -> bool {
        let words = ["security", "find-certificate", "-a", "-Z", KEYCHAIN].map(str::to_owned);
        let hash = authority.info.fingerprint.replace(':', "");
        let listed = self.command(&words).output();
        listed.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(&hash))
    }

    fn at(&self, path: &Utf8Path) -> PathBuf {
        self.root.join(Path::new(path.as_str().trim_start_matches('/')))
    }
}

fn docker_file(host: &str) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{DOCKER}/{host}/ca.crt"))
}

/// Whether a certificate is an authority that LoKO made.
fn is_of_loko(pem: &str) -> bool {
    CertificateInfo::read(pem).is_ok_and(|info| info.authority && info.subject.contains("O=LoKO"))
}

fn run(words: &[&str]) -> Act {
    Act::Run(words.iter().map(|&word| word.to_owned()).collect())
}

fn file(action: &'static str, path: &Utf8Path, source: io::Error) -> CliError {
    CliError::File {
        action,
        path: path.to_owned(),
        source,
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | ':');
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use loko_cluster::certificates;

    use super::*;

    /// A directory with an authority in it, that looks like a host.
    struct Bed {
        directory: tempfile::TempDir,
        authority: Authority,
        host: Host,
    }

    impl Bed {
        fn new(directories: &[&str], is_mac: bool) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let root = directory.path().to_owned();
            for path in directories {
                fs::create_dir_all(root.join(path.trim_start_matches('/'))).unwrap();
            }
            let file = Utf8PathBuf::from_path_buf(root.join("ca.crt")).unwrap();
            fs::write(&file, pem()).unwrap();
            Self {
                authority: Authority::read(&file).unwrap().unwrap(),
                host: Host {
                    path: Some(root.join("bin").into_os_string()),
                    root,
                    is_mac,
                },
                directory,
            }
        }

        /// A program that writes down how it was called.
        #[cfg(unix)]
        fn program(&self, name: &str) {
            use std::os::unix::fs::PermissionsExt as _;
            let bin = self.directory.path().join("bin");
            fs::create_dir_all(&bin).unwrap();
            let path = bin.join(name);
            let log = self.directory.path().join("called");
            fs::write(&path, format!("#!/bin/sh\necho \"{name} $*\" >>'{}'\n", log.display())).unwrap();
            fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }

        fn called(&self) -> String {
            fs::read_to_string(self.directory.path().join("called")).unwrap_or_default()
        }

        fn read(&self, path: &str) -> Option<String> {
            fs::read_to_string(self.host.at(Utf8Path::new(path))).ok()
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.host.at(Utf8Path::new(path));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn trust(&self, registries: &[&str]) -> (Vec<Act>, Vec<String>) {
            let registries: Vec<String> = registries.iter().map(|&host| host.to_owned()).collect();
            self.authority.trust(&self.host.facts(&self.authority), &registries)
        }
    }

    fn pem() -> String {
        let authority = certificates::Authority::create("me@here", Timestamp::now()).unwrap();
        authority.certificate_pem().to_owned()
    }

    const DEBIAN: &str = "/usr/local/share/ca-certificates";
    const FEDORA: &str = "/etc/pki/ca-trust/source/anchors";

    #[test]
    #[cfg(unix)]
    fn what_is_trusted_is_trusted_once_and_all_of_it_can_be_taken_back() {
        for (directory, program, called) in [
            (DEBIAN, "update-ca-certificates", "update-ca-certificates \n"),
            (FEDORA, "update-ca-trust", "update-ca-trust extract\n"),
        ] {
            let bed = Bed::new(&[directory], false);
            bed.program(program);
            let (acts, notes) = bed.trust(&["cr.dev.me:8443"]);
            assert_eq!(notes, Vec::<String>::new());
            bed.host.carry_out(&acts, &bed.authority).unwrap();
            let file = format!("{directory}/{}", bed.authority.name());
            assert_eq!(bed.read(&file).as_ref(), Some(&bed.authority.pem));
            let docker = "/etc/docker/certs.d/cr.dev.me:8443/ca.crt";
            assert_eq!(bed.read(docker).as_ref(), Some(&bed.authority.pem));
            assert_eq!(bed.called(), called);
            assert_eq!(bed.trust(&["cr.dev.me:8443"]), (vec![], vec![]));

            let acts = bed.authority.untrust(&bed.host.facts(&bed.authority));
            bed.host.carry_out(&acts, &bed.authority).unwrap();
            assert_eq!((bed.read(&file), bed.read(docker)), (None, None));
            assert!(
                !bed.host
                    .at(Utf8Path::new("/etc/docker/certs.d/cr.dev.me:8443"))
                    .exists()
            );
            assert_eq!(bed.called(), called.repeat(2));
            assert_eq!(bed.authority.untrust(&bed.host.facts(&bed.authority)), vec![]);
        }
    }

    #[test]
    fn what_is_somebody_elses_stays_and_an_older_authority_of_ours_is_replaced() {
        let bed = Bed::new(&[DEBIAN], false);
        bed.write(
            "/etc/docker/certs.d/cr.theirs.test/ca.crt",
            "-----BEGIN CERTIFICATE-----\n",
        );
        bed.write("/etc/docker/certs.d/cr.ours.test/ca.crt", &pem());
        bed.write("/etc/docker/certs.d/cr.ours.test/client.cert", "theirs");
        let (acts, notes) = bed.trust(&["cr.theirs.test", "cr.ours.test"]);
        assert!(acts.contains(&Act::Install(docker_file("cr.ours.test"))), "{acts:?}");
        assert!(!acts.contains(&Act::Install(docker_file("cr.theirs.test"))), "{acts:?}");
        assert_eq!(notes.len(), 1, "{notes:?}");

        let facts = bed.host.facts(&bed.authority);
        assert_eq!(Authority::forget(&facts, "cr.theirs.test"), vec![]);
        let acts = Authority::forget(&facts, "cr.ours.test");
        bed.host.carry_out(&acts, &bed.authority).unwrap();
        assert_eq!(bed.read("/etc/docker/certs.d/cr.ours.test/ca.crt"), None);
        assert!(bed.read("/etc/docker/certs.d/cr.ours.test/client.cert").is_some());
        assert!(bed.read("/etc/docker/certs.d/cr.theirs.test/ca.crt").is_some());
    }

    #[test]
    fn a_registry_that_goes_leaves_what_others_need() {
        let bed = Bed::new(&[DEBIAN], false);
        let file = format!("{DEBIAN}/{}", bed.authority.name());
        bed.write(&file, &bed.authority.pem);
        for host in ["cr.a.test", "cr.b.test"] {
            bed.write(docker_file(host).as_str(), &bed.authority.pem);
        }
        let acts = Authority::forget(&bed.host.facts(&bed.authority), "cr.a.test");
        assert_eq!(acts, vec![Act::Remove(docker_file("cr.a.test"))]);
    }

    #[test]
    fn on_a_mac_the_keychain_is_told_and_docker_takes_it_from_there() {
        let bed = Bed::new(&[], true);
        let (acts, notes) = bed.trust(&["cr.dev.me"]);
        let line = acts[0].command(&bed.authority);
        assert!(
            line.starts_with("sudo security add-trusted-cert -d -r trustRoot -k"),
            "{line}"
        );
        assert_eq!((acts.len(), notes.len()), (1, 1));
    }

    #[test]
    fn where_the_store_is_not_known_it_is_said_and_docker_is_told_all_the_same() {
        let bed = Bed::new(&[], false);
        let (acts, notes) = bed.trust(&["cr.dev.me"]);
        assert_eq!(acts, vec![Act::Install(docker_file("cr.dev.me"))]);
        assert!(notes[0].contains("by hand"), "{notes:?}");
    }

    #[test]
    fn commands_are_as_a_shell_takes_them() {
        let mut bed = Bed::new(&[], false);
        bed.authority.file = "/home/o'hara/my ca.crt".into();
        let acts = [
            Act::Install("/etc/x/ca.crt".into()),
            Act::Remove("/etc/x".into()),
            run(&["a", "b c"]),
        ];
        assert_eq!(
            acts.map(|act| act.command(&bed.authority)),
            [
                r"sudo install -D -m 644 '/home/o'\''hara/my ca.crt' /etc/x/ca.crt",
                "sudo rm -f /etc/x",
                "sudo a 'b c'"
            ]
        );
    }

    #[test]
    #[cfg(unix)]
    fn a_tool_that_is_missing_is_an_error_that_names_it() {
        let bed = Bed::new(&[DEBIAN], false);
        bed.program("other");
        let error = bed
            .host
            .carry_out(&[run(&["update-ca-certificates"])], &bed.authority)
            .unwrap_err();
        assert!(error.to_string().contains("update-ca-certificates"), "{error}");
    }
}
