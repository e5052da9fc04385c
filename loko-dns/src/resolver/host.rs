//! Reads the facts of a host and carries out a plan on it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use loko_config::names::EnvName;
use miette::Diagnostic;
use serde::Serialize;
use thiserror::Error;
use tokio::process::Command;

use super::action::{self, Action};
use super::{DIRECTORIES, Facts, LinkFacts, Plan, Version, backend};
use crate::error::DnsError;
use crate::parse::{self, Line};
use crate::probe::{self, Kind, Limits};
use crate::zone::Zone;

/// For commands that only tell something.
const QUERY_LIMIT: Duration = Duration::from_secs(5);

/// A host: this one, or a directory that looks like one.
#[derive(Debug, Clone)]
pub struct Host {
    root: PathBuf,
    path: Option<OsString>,
}

/// How actions get the rights that they need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privilege {
    /// This process has them.
    Own,
    /// `sudo` gives them, after asking for a password where it must.
    Sudo,
}

/// What became of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Outcome {
    /// The plan.
    pub plan: Plan,
    /// Whether its actions were carried out. False with actions in the plan: nobody gave the rights for them.
    pub applied: bool,
}

/// What failed on the host.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum HostError {
    /// A file could not be written or removed.
    #[error("failed to {action}")]
    #[diagnostic(code(loko::dns::host::file), help("it needs root: run it again with sudo"))]
    File {
        /// What was done.
        action: Action,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program failed.
    #[error("`{command}` fails: {output}")]
    #[diagnostic(code(loko::dns::host::run))]
    Run {
        /// The program and its arguments.
        command: String,
        /// The end of what it printed.
        output: String,
    },
}

impl Host {
    /// This host.
    #[must_use]
    pub fn this() -> Self {
        Self {
            root: PathBuf::from("/"),
            path: None,
        }
    }

    /// A directory with `etc` and so on in it, whose programs are found in `path` (as `$PATH`) alone: for tests.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>, path: impl Into<OsString>) -> Self {
        Self {
            root: root.into(),
            path: Some(path.into()),
        }
    }

    /// What is so on this host, for a zone. Only what cannot be found out is left out; nothing fails.
    pub async fn facts(&self, zone: &Zone) -> Facts {
        let mut facts = self.files(Some(&zone.environment)).await;
        facts.resolves = self.resolves(zone).await;
        facts
    }

    /// The same, without asking for a name: enough to take back what was written for an environment, or for any (`None`).
    pub async fn files(&self, environment: Option<&EnvName>) -> Facts {
        let (resolved, network_manager, dnsmasq) =
            tokio::join!(self.resolved(), self.network_manager(), self.dnsmasq());
        let link = match (environment, resolved) {
            (Some(environment), Some(_)) => self.link(&backend::link_name(environment)).await,
            _ => None,
        };
        let kernel = self.read("/proc/sys/kernel/osrelease").unwrap_or_default();
        let extra = dnsmasq.clone().into_iter().filter(|directory| !directory.is_empty());
        Facts {
            os: std::env::consts::OS.to_owned(),
            wsl: kernel.to_ascii_lowercase().contains("microsoft"),
            resolv_conf: self.read("/etc/resolv.conf"),
            nsswitch: self.read("/etc/nsswitch.conf"),
            hosts: self.read("/etc/hosts"),
            resolvconf: self.query(&["resolvconf", "--version"]).await.is_some(),
            written: self.written(DIRECTORIES.into_iter().map(str::to_owned).chain(extra)),
            resolved,
            network_manager,
            dnsmasq,
            link,
            resolves: None,
        }
    }

    /// Sends queries under the zone's domain to its dnsmasq. Without `privilege` nothing is done, and the plan says what
    /// would be.
    pub async fn ensure(&self, zone: &Zone, privilege: Option<Privilege>) -> Result<Outcome, DnsError> {
        let plan = super::set(zone, &self.facts(zone).await)?;
        self.carry_out(plan, privilege).await
    }

    /// Takes back what was written for an environment.
    pub async fn revert(&self, environment: &EnvName, privilege: Option<Privilege>) -> Result<Outcome, DnsError> {
        let plan = super::unset(environment, &self.files(Some(environment)).await);
        self.carry_out(plan, privilege).await
    }

    async fn carry_out(&self, plan: Plan, privilege: Option<Privilege>) -> Result<Outcome, DnsError> {
        if let Some(privilege) = privilege {
            self.apply(&plan.actions, privilege).await?;
        }
        Ok(Outcome {
            applied: privilege.is_some() || plan.actions.is_empty(),
            plan,
        })
    }

    /// How actions can get their rights: this process is root's, or `sudo` asks a person at the terminal, or `sudo` asks
    /// nobody. `None`: they cannot.
    pub async fn privilege(&self, terminal: bool) -> Option<Privilege> {
        let root = self.query(&["id", "-u"]).await.is_some_and(|id| id.trim() == "0");
        if root {
            return Some(Privilege::Own);
        }
        let asks = terminal && self.query(&["sudo", "--version"]).await.is_some();
        let quiet = asks || self.query(&["sudo", "-n", "true"]).await.is_some();
        quiet.then_some(Privilege::Sudo)
    }

    /// Carries out actions, and stops at the first that fails.
    pub async fn apply(&self, actions: &[Action], privilege: Privilege) -> Result<(), HostError> {
        if privilege == Privilege::Sudo && !actions.is_empty() {
            let script = action::script(actions);
            let mut command = self.command(&["sudo", "--", "sh", "-c", &script]);
            return ended(command.stdin(Stdio::inherit()).output().await, "sudo sh -c …");
        }
        for action in actions {
            self.act(action).await?;
        }
        Ok(())
    }

    /// Carries out every action whatever the ones before it did: for taking back. What failed comes back.
    pub async fn apply_all(&self, actions: &[Action]) -> Vec<HostError> {
        let mut failed = Vec::new();
        for action in actions {
            failed.extend(self.act(action).await.err());
        }
        failed
    }

    async fn act(&self, action: &Action) -> Result<(), HostError> {
        let file = |source| HostError::File {
            action: action.clone(),
            source,
        };
        match action {
            Action::Write { path, contents } => write(&self.within(path), contents).map_err(file),
            Action::Remove { path } => match fs_err::remove_file(self.within(path)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file(error)),
                _ => Ok(()),
            },
            Action::Run { command } => {
                let words: Vec<&str> = command.iter().map(String::as_str).collect();
                tracing::debug!(command = %action, "on the host");
                let output = self.command(&words).stdin(Stdio::null()).output().await;
                ended(output, &action.to_string())
            }
        }
    }

    fn within(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn read(&self, path: &str) -> Option<String> {
        let bytes = fs_err::read(self.within(path)).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn written(&self, directories: impl Iterator<Item = String>) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for directory in directories {
            let Ok(entries) = fs_err::read_dir(self.within(&directory)) else {
                continue;
            };
            for name in entries
                .filter_map(Result::ok)
                .filter_map(|entry| entry.file_name().into_string().ok())
            {
                let ours = name.starts_with("loko") || directory == backend::MACOS;
                let path = format!("{directory}/{name}");
                if let Some(contents) = Some(&path)
                    .filter(|_| ours && !name.ends_with('~'))
                    .and_then(|path| self.read(path))
                {
                    found.insert(path, contents);
                }
            }
        }
        found
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(words.first().copied().unwrap_or_default());
        command.args(words.iter().skip(1)).kill_on_drop(true);
        if let Some(path) = &self.path {
            command.env("PATH", path).env("LOKO_ROOT", &self.root);
        }
        command
    }

    /// Standard output of a command; `None` where there is no such command, or it fails.
    async fn query(&self, words: &[&str]) -> Option<String> {
        // The program is looked for where it is found, not where the caller's own PATH leads.
        let mut command = match &self.path {
            Some(path) => self.command(&[&found_in(path, words.first()?)?.to_string_lossy()]),
            None => self.command(&words[..1]),
        };
        command.args(&words[1..]).env("LC_ALL", "C").stdin(Stdio::null());
        let output = tokio::time::timeout(QUERY_LIMIT, command.output()).await.ok()?.ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(text)
    }

    async fn is_active(&self, unit: &str) -> bool {
        self.query(&["systemctl", "is-active", unit]).await.is_some()
    }

    async fn resolved(&self) -> Option<Version> {
        if !self.is_active("systemd-resolved.service").await {
            return None;
        }
        Version::of(&self.query(&["resolvectl", "--version"]).await?)
    }

    async fn network_manager(&self) -> Option<String> {
        if !self.is_active("NetworkManager.service").await {
            return None;
        }
        let printed = self.query(&["NetworkManager", "--print-config"]).await;
        Some(main_dns(&printed.unwrap_or_default()).to_owned())
    }

    async fn dnsmasq(&self) -> Option<String> {
        if !self.is_active("dnsmasq.service").await {
            return None;
        }
        let conf = self.read("/etc/dnsmasq.conf").unwrap_or_default();
        let defaults = self.read("/etc/default/dnsmasq").unwrap_or_default();
        Some(conf_directory(&conf, &defaults).unwrap_or_default())
    }

    async fn link(&self, name: &str) -> Option<LinkFacts> {
        let servers = self.query(&["resolvectl", "dns", name]).await?;
        let domains = self.query(&["resolvectl", "domain", name]).await?;
        let route = self.query(&["resolvectl", "default-route", name]).await?;
        Some(LinkFacts {
            servers: after_colon(&servers),
            domains: after_colon(&domains),
            default_route: after_colon(&route).contains("yes"),
        })
    }

    /// Only this host itself can be asked for a name.
    async fn resolves(&self, zone: &Zone) -> Option<bool> {
        if self.path.is_some() {
            return None;
        }
        let known = zone.hosts.first().map(ToString::to_string);
        let name = known.or_else(|| zone.wildcard.then(|| zone.domain.to_string()))?;
        let limits = Limits {
            timeout: Duration::from_millis(500),
            attempts: 2,
            ..Limits::default()
        };
        let direct = probe::ask(zone.server(), &name, Kind::of(zone.address), limits)
            .await
            .ok()?;
        if !direct.addresses.contains(&zone.address) {
            return None;
        }
        Some(look_up(&name).await.is_ok_and(|found| found.contains(&zone.address)))
    }
}

/// Addresses of a name by the host's own resolver (getaddrinfo(3)), or what it said.
pub async fn look_up(name: &str) -> Result<BTreeSet<std::net::IpAddr>, String> {
    let asked = tokio::time::timeout(QUERY_LIMIT, tokio::net::lookup_host((name, 0))).await;
    match asked {
        Ok(Ok(found)) => Ok(found.map(|socket| socket.ip()).collect()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer in {} s", QUERY_LIMIT.as_secs())),
    }
}

fn found_in(path: &OsString, program: &str) -> Option<PathBuf> {
    std::env::split_paths(path)
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

/// The value of `dns=` in the section `[main]` of what `NetworkManager --print-config` prints.
fn main_dns(printed: &str) -> &str {
    let mut main = false;
    let mut dns = "";
    for line in printed.lines().map(str::trim) {
        if line.starts_with('[') {
            main = line == "[main]";
        } else if main && let Some(value) = line.strip_prefix("dns=") {
            dns = value.trim();
        }
    }
    dns
}

/// The directory that the host's dnsmasq reads: `conf-dir` of its configuration, or `CONFIG_DIR` of Debian's defaults,
/// which its unit hands over. Up to the first comma it is the path, then come endings to leave out.
fn conf_directory(conf: &str, defaults: &str) -> Option<String> {
    let by_conf = conf.lines().find_map(|text| match parse::line(text) {
        Ok(Line::Option {
            name: "conf-dir",
            value,
        }) => value,
        _ => None,
    });
    let by_default = defaults
        .lines()
        .find_map(|line| line.trim().strip_prefix("CONFIG_DIR="));
    let value = by_conf.or(by_default)?;
    let directory = value.split(',').next()?.trim().trim_matches('"');
    (!directory.is_empty()).then(|| directory.trim_end_matches('/').to_owned())
}

/// The words after the colon of `Link 7 (loko-1234): 127.0.0.1:5453`, and of the lines that go on.
fn after_colon(printed: &str) -> BTreeSet<String> {
    let values = printed.split_once("): ").map_or("", |(_, values)| values);
    values.split_whitespace().map(str::to_owned).collect()
}

fn ended(output: io::Result<std::process::Output>, command: &str) -> Result<(), HostError> {
    let failed = |output: String| HostError::Run {
        command: command.to_owned(),
        output,
    };
    let output = output.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(failed(if text.is_empty() {
        output.status.to_string()
    } else {
        text
    }))
}

fn write(path: &Path, contents: &str) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs_err::create_dir_all(directory)?;
    }
    let mut next = path.as_os_str().to_owned();
    next.push(".loko-new");
    let next = PathBuf::from(next);
    fs_err::write(&next, contents)?;
    match fs_err::metadata(path) {
        Ok(found) => fs_err::set_permissions(&next, found.permissions())?,
        // Whatever this process' umask is: resolvers read as users of their own, and refuse what anybody may write.
        #[cfg(unix)]
        Err(_) => fs_err::set_permissions(&next, std::os::unix::fs::PermissionsExt::from_mode(0o644))?,
        #[cfg(not(unix))]
        Err(_) => {}
    }
    if fs_err::rename(&next, path).is_ok() {
        return Ok(());
    }
    // A file that is a mount point, as /etc/hosts in a container, cannot be renamed over.
    let written = fs_err::write(path, contents);
    let _ = fs_err::remove_file(&next);
    written
}

#[cfg(test)]
mod tests;
