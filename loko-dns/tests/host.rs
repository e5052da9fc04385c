//! A plan carried out on a directory that looks like a host, with programs that only note how they were called.
#![cfg(all(feature = "driver", unix))]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use loko_dns::Zone;
use loko_dns::resolver::host::{Host, HostError, Privilege};
use loko_dns::resolver::{Action, Kind, action, set, unset};
use tempfile::TempDir;

const RESOLVECTL: &str = r#"case "$1" in
--version) echo "systemd 257 (257.8-1~deb13u1)" ;;
dns) [ -e "$LOKO_ROOT/link" ] && echo "Link 7 ($2): 127.0.0.1:5453" ;;
domain) echo "Link 7 ($2): ~dev.me" ;;
default-route) echo "Link 7 ($2): no" ;;
esac"#;
const SYSTEMCTL: &str = r#"case "$1 $2" in
"is-active systemd-resolved.service") ;;
"is-active "*) exit 3 ;;
"restart "*) touch "$LOKO_ROOT/link" ;;
"disable "*) rm -f "$LOKO_ROOT/link" ;;
esac"#;

struct Laboratory {
    directory: TempDir,
    host: Host,
}

impl Laboratory {
    fn new(programs: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let bin = directory.path().join("bin");
        fs_err::create_dir_all(&bin).unwrap();
        fs_err::create_dir_all(directory.path().join("etc")).unwrap();
        for (name, body) in programs {
            let log = "echo \"$(basename \"$0\") $*\" >> \"$LOKO_ROOT/log\"";
            // Written by another process: a file that this one has open for writing, in whatever thread, does not run.
            let written = std::process::Command::new("sh")
                .args(["-c", "printf %s \"$1\" > \"$0\" && chmod 755 \"$0\""])
                .arg(bin.join(name))
                .arg(format!("#!/bin/sh\n{log}\n{body}\n"))
                .status();
            assert!(written.unwrap().success());
        }
        let path = format!("{}:/usr/bin:/bin", bin.display());
        let host = Host::at(directory.path(), path);
        let laboratory = Self { directory, host };
        laboratory.write("etc/resolv.conf", "nameserver 127.0.0.53\n");
        laboratory.write("etc/hosts", "127.0.0.1 localhost");
        laboratory
    }

    fn write(&self, path: &str, contents: &str) {
        let path = self.directory.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, contents).unwrap();
    }

    fn ran(&self) -> Vec<String> {
        let log = fs_err::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        let _ = fs_err::remove_file(self.directory.path().join("log"));
        let asks = [
            "is-active",
            "--version",
            "resolvectl dns",
            "resolvectl domain",
            "resolvectl default-route",
        ];
        log.lines()
            .filter(|line| !asks.iter().any(|ask| line.contains(ask)))
            .map(str::to_owned)
            .collect()
    }

    /// Every file below `etc`, with its permissions.
    fn files(&self) -> BTreeMap<PathBuf, (String, u32)> {
        fn walk(directory: &Path, found: &mut BTreeMap<PathBuf, (String, u32)>) {
            for entry in fs_err::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, found);
                } else {
                    let mode = fs_err::metadata(&path).unwrap().permissions().mode() & 0o777;
                    found.insert(path.clone(), (fs_err::read_to_string(&path).unwrap(), mode));
                }
            }
        }
        let mut found = BTreeMap::new();
        walk(&self.directory.path().join("etc"), &mut found);
        found
    }
}

fn zone() -> Zone {
    Zone {
        environment: "dev".parse().unwrap(),
        domain: "dev.me".parse().unwrap(),
        address: [127, 0, 0, 1].into(),
        wildcard: true,
        hosts: ["shop.dev.me".parse().unwrap()].into(),
        port: NonZeroU16::new(5453).unwrap(),
    }
}

#[tokio::test]
async fn a_link_is_set_up_once_and_taken_back_whole() {
    let laboratory = Laboratory::new(&[("resolvectl", RESOLVECTL), ("systemctl", SYSTEMCTL)]);
    let before = laboratory.files();
    let host = &laboratory.host;
    let plan = set(&zone(), &host.facts(&zone()).await).unwrap();
    assert_eq!(plan.backend, Some(Kind::ResolvedLink));
    laboratory.ran();
    host.apply(&plan.actions, Privilege::Own).await.unwrap();
    let expected = [
        "systemctl daemon-reload",
        "systemctl enable loko-dev-dns.service",
        "systemctl restart loko-dev-dns.service",
        "resolvectl flush-caches",
    ];
    assert_eq!(laboratory.ran(), expected);
    let modes: Vec<u32> = laboratory.files().into_values().map(|(_, mode)| mode).collect();
    assert!(modes.iter().all(|mode| *mode == 0o644), "{modes:?}");
    assert_eq!(set(&zone(), &host.facts(&zone()).await).unwrap().actions, []);
    let back = unset(&zone().environment, &host.files(Some(&zone().environment)).await);
    laboratory.ran();
    assert!(host.apply_all(&back.actions).await.is_empty());
    assert_eq!(
        laboratory.ran(),
        [
            "systemctl disable --now loko-dev-dns.service",
            "systemctl daemon-reload"
        ]
    );
    assert_eq!(laboratory.files(), before);
}

#[tokio::test]
async fn killed_anywhere_the_next_run_comes_to_the_same_end() {
    let whole = Laboratory::new(&[("resolvectl", RESOLVECTL), ("systemctl", SYSTEMCTL)]);
    let plan = set(&zone(), &whole.host.facts(&zone()).await).unwrap();
    whole.host.apply(&plan.actions, Privilege::Own).await.unwrap();
    let end: Vec<_> = whole.files().into_values().collect();
    for count in 0..plan.actions.len() {
        let torn = Laboratory::new(&[("resolvectl", RESOLVECTL), ("systemctl", SYSTEMCTL)]);
        torn.host.apply(&plan.actions[..count], Privilege::Own).await.unwrap();
        let rest = set(&zone(), &torn.host.facts(&zone()).await).unwrap();
        torn.host.apply(&rest.actions, Privilege::Own).await.unwrap();
        assert_eq!(torn.files().into_values().collect::<Vec<_>>(), end, "after {count}");
        assert!(torn.directory.path().join("link").exists(), "after {count}");
    }
}

#[tokio::test]
async fn names_go_into_the_hosts_file_where_nothing_else_is() {
    let laboratory = Laboratory::new(&[]);
    laboratory.write("etc/resolv.conf", "nameserver 192.168.1.1\n");
    let hosts = laboratory.directory.path().join("etc/hosts");
    fs_err::set_permissions(&hosts, PermissionsExt::from_mode(0o664)).unwrap();
    let before = laboratory.files();
    let host = &laboratory.host;
    let plan = set(&zone(), &host.facts(&zone()).await).unwrap();
    assert_eq!(plan.backend, Some(Kind::Hosts));
    assert!(plan.notes[0].contains("no wildcard"));
    host.apply(&plan.actions, Privilege::Own).await.unwrap();
    let text = fs_err::read_to_string(&hosts).unwrap();
    assert!(text.contains("\n127.0.0.1 shop.dev.me\n"), "{text}");
    assert_eq!(set(&zone(), &host.facts(&zone()).await).unwrap().actions, []);
    let back = unset(&zone().environment, &host.files(None).await);
    host.apply(&back.actions, Privilege::Own).await.unwrap();
    assert_eq!(laboratory.files(), before, "byte by byte, permissions too");
}

#[tokio::test]
async fn the_script_for_sudo_does_what_the_actions_do() {
    let laboratory = Laboratory::new(&[("sudo", "shift; exec \"$@\"")]);
    let path = laboratory.directory.path().join("etc/a b/it's");
    let contents = "line 1\n$HOME `x` 'y' \\n %s\n";
    let write = Action::Write {
        path: path.to_str().unwrap().to_owned(),
        contents: contents.into(),
    };
    laboratory
        .host
        .apply(std::slice::from_ref(&write), Privilege::Sudo)
        .await
        .unwrap();
    assert_eq!(fs_err::read_to_string(&path).unwrap(), contents);
    let remove = Action::Remove {
        path: path.to_str().unwrap().to_owned(),
    };
    laboratory.host.apply(&[remove], Privilege::Sudo).await.unwrap();
    assert!(!path.exists());
    assert!(action::script(&[write]).starts_with("set -eu\n"));
}

#[tokio::test]
async fn a_program_that_fails_stops_the_rest_and_is_named() {
    let laboratory = Laboratory::new(&[("systemctl", "echo no such unit >&2; exit 5")]);
    let actions = [
        Action::run(["systemctl", "restart", "x"]),
        Action::run(["systemctl", "never"]),
    ];
    let error = laboratory.host.apply(&actions, Privilege::Own).await.unwrap_err();
    assert!(
        matches!(&error, HostError::Run { command, output } if command == "systemctl restart x" && output == "no such unit")
    );
    assert_eq!(laboratory.ran(), ["systemctl restart x"]);
    assert_eq!(laboratory.host.apply_all(&actions).await.len(), 2);
}
