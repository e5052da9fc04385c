//! Reads the facts.

use std::collections::BTreeMap;

use camino::Utf8Path;
use jiff::Timestamp;
use loko_cluster::nodes::NETWORK;
use loko_dns::resolver;
use loko_dns::resolver::host::Host;
use loko_dns::zone::Zone;
use loko_engine::{EdgeMode, Engine};

use super::{Disk, EngineView, Inotify, Memory, ResolverView, Route, Trust, proc};
use crate::context::Context;
use crate::error::CliError;
use crate::{host, state};

/// What was read of this machine. `None`: it has no such file, or it may not be read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Machine {
    /// `uname -r`.
    pub(crate) kernel: String,
    pub(crate) inotify: Option<Inotify>,
    pub(crate) memory: Option<Memory>,
    /// How many files may still be opened.
    pub(crate) files_left: Option<u64>,
    /// How many this process may open; `None`: any number.
    pub(crate) open_files: Option<u64>,
    /// The first port that needs no root.
    pub(crate) unprivileged_port: Option<u16>,
    pub(crate) routes: Vec<Route>,
    pub(crate) disks: Vec<Disk>,
    /// Whether the kernel has, or can load, IPVS.
    pub(crate) ipvs: Option<bool>,
    /// Whether it has, or can load, nftables.
    pub(crate) nftables: Option<bool>,
}

/// Where systems keep the authorities that they trust, as one file.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

const GIB: u64 = 1 << 30;

fn file(path: &str) -> Option<String> {
    fs_err::read_to_string(path).ok()
}

/// Reads this machine. `data_root` is where the engine keeps its data, where that is here.
pub(crate) fn machine(home: &Utf8Path, data_root: Option<&str>) -> Machine {
    let number = |path: &str| proc::number(&file(path)?);
    let inotify = || {
        Some(Inotify {
            instances: number("/proc/sys/fs/inotify/max_user_instances")?,
            watches: number("/proc/sys/fs/inotify/max_user_watches")?,
        })
    };
    let kernel = host::facts().kernel;
    let mut disks = Vec::new();
    if let Some(path) = data_root {
        disks.extend(disk("the engine keeps images", path, 8 * GIB, GIB));
    }
    let existing = home.ancestors().find(|path| path.is_dir());
    disks.extend(existing.and_then(|path| disk("LoKO keeps its files", path.as_str(), 16 << 20, 0)));
    Machine {
        inotify: inotify(),
        memory: file("/proc/meminfo").and_then(|text| proc::memory(&text)),
        files_left: file("/proc/sys/fs/file-nr").and_then(|text| proc::files_left(&text)),
        open_files: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
        unprivileged_port: number("/proc/sys/net/ipv4/ip_unprivileged_port_start")
            .and_then(|port| port.try_into().ok()),
        routes: file("/proc/net/route")
            .map(|text| proc::routes(&text))
            .unwrap_or_default(),
        disks,
        ipvs: module(&kernel, "ip_vs"),
        nftables: module(&kernel, "nf_tables"),
        kernel,
    }
}

/// Whether the kernel has a module, loaded, built in, or to be loaded. A kernel that says nothing of its modules is not judged.
fn module(kernel: &str, name: &str) -> Option<bool> {
    let loaded = file("/proc/modules");
    let below = |list: &str| file(&format!("/lib/modules/{kernel}/{list}"));
    let lists = [loaded, below("modules.builtin"), below("modules.dep")];
    let there = lists.iter().flatten().any(|list| proc::has_module(list, name))
        || Utf8Path::new("/sys/module").join(name).is_dir();
    // Built in without a list: netfilter's own files tell.
    let shown = name == "ip_vs" && Utf8Path::new("/proc/net/ip_vs").exists();
    let known = lists.iter().flatten().next().is_some();
    (there || shown || known).then_some(there || shown)
}

fn disk(what: &'static str, path: &str, wanted: u64, needed: u64) -> Option<Disk> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(Disk {
        what,
        path: path.to_owned(),
        free: stat.f_bavail.saturating_mul(stat.f_frsize),
        wanted,
        needed,
    })
}

/// What a verdict needs of an engine that answers.
pub(crate) async fn whole(engine: &Engine, asked: Timestamp) -> Result<EngineView, CliError> {
    let facts = engine.facts().clone();
    let (mode, _) = loko_engine::edge::decide(&facts, &host::facts());
    let network = engine
        .network(NETWORK)
        .await?
        .map(|network| (network.id, network.subnets));
    Ok(EngineView {
        facts,
        mode,
        asked,
        network,
    })
}

impl EngineView {
    /// Where it keeps its data, where that is on this machine.
    pub(crate) fn data_root(&self) -> Option<&str> {
        let here = self.mode == EdgeMode::HostNetwork && !self.facts.data_root.is_empty();
        here.then_some(self.facts.data_root.as_str())
    }
}

/// How this host's resolver would be told of a zone.
pub(crate) async fn resolver(zone: &Zone) -> ResolverView {
    let facts = Host::this().facts(zone).await;
    let (backend, refused) = resolver::choose(zone, &facts);
    ResolverView {
        backend,
        refused,
        root: rustix::process::geteuid().is_root(),
        resolves: facts.resolves,
    }
}

/// The authority, and whether this system trusts it.
pub(crate) fn trust(context: &Context) -> Result<Trust, CliError> {
    let (path, _) = context.home.authority();
    let Some(certificate) = state::read(&path)? else {
        return Ok(Trust {
            certificate: None,
            bundle: None,
        });
    };
    let bundle = BUNDLES.iter().find_map(|bundle| Some((bundle, file(bundle)?)));
    Ok(Trust {
        certificate: Some(path.to_string()),
        bundle: bundle.map(|(bundle, text)| ((*bundle).to_owned(), holds(&text, &certificate))),
    })
}

/// Whether a bundle has a certificate; only the lines between the marks count, whatever stands around them.
fn holds(bundle: &str, certificate: &str) -> bool {
    let body: Vec<&str> = certificate
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("-----"))
        .collect();
    let body = body.concat();
    !body.is_empty()
        && bundle
            .split("-----")
            .any(|block| block.split_whitespace().collect::<String>() == body)
}

/// Proxy variables, by their names in capitals; small letters win nothing, as with kind (`GetProxyEnvs`).
pub(crate) fn proxies(variables: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"]
        .into_iter()
        .filter_map(|name| {
            let set = |name: &str| variables.get(name).filter(|value| !value.is_empty());
            let value = set(name).or_else(|| set(&name.to_lowercase()))?;
            Some((name.to_owned(), value.clone()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_found_in_a_bundle_whatever_its_line_breaks() {
        let one = "-----BEGIN CERTIFICATE-----\nQUJD\nREVG\n-----END CERTIFICATE-----\n";
        let bundle = "# theirs\n-----BEGIN CERTIFICATE-----\nWFla\n-----END CERTIFICATE-----\n\
                      # ours\n-----BEGIN CERTIFICATE-----\r\nQUJDREVG\r\n-----END CERTIFICATE-----\r\n";
        assert!(holds(bundle, one));
        assert!(!holds(
            "-----BEGIN CERTIFICATE-----\nWFla\n-----END CERTIFICATE-----\n",
            one
        ));
        assert!(!holds(bundle, ""));
    }

    #[test]
    fn capitals_win_and_empty_variables_are_none() {
        let variables = [
            ("http_proxy", "a"),
            ("HTTP_PROXY", "b"),
            ("https_proxy", "c"),
            ("NO_PROXY", ""),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let found: Vec<(String, String)> = proxies(&variables).into_iter().collect();
        let expected = [("HTTPS_PROXY", "c"), ("HTTP_PROXY", "b")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(found, expected);
    }

    #[test]
    fn this_machine_can_be_read() {
        let machine = machine(Utf8Path::new("/nonexistent/below"), Some("/"));
        assert_eq!(
            machine.disks.len(),
            2,
            "the nearest directory above is looked at: {:?}",
            machine.disks
        );
        if cfg!(target_os = "linux") {
            assert!(machine.memory.is_some() && machine.inotify.is_some(), "{machine:?}");
        }
    }
}
