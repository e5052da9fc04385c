//! What on this machine an environment would fail on, or suffer from.
//!
//! ```text
//! engine, /proc, files ─→ read ─→ Facts ─→ judge ─→ Findings ─→ `loko doctor`, and what `create` refuses
//!                     (proc parses)      (pure)
//! ```

mod engine;
mod host;
pub(crate) mod proc;
mod reach;
mod read;
mod text;

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use jiff::Timestamp;
use loko_config::Environment;
use loko_config::model::KubeProxyMode;
use loko_dns::resolver::{Kind, Refusal};
use loko_engine::{EdgeMode, EngineFacts};
use serde::Serialize;

use crate::error::CliError;

pub(crate) use proc::{Inotify, Memory, Route};
pub(crate) use read::{Machine, machine, proxies, resolver, trust, whole};
pub(crate) use text::{bytes, text};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// It works, with a limit that a person should know.
    Warning,
    /// An environment cannot come up so.
    Failure,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Finding {
    /// What was looked at: `engine`, `memory`, …
    pub(crate) check: &'static str,
    /// How bad it is.
    pub(crate) level: Level,
    /// What is so.
    pub(crate) found: String,
    /// Why it matters; empty where all is well.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) why: String,
    /// What mends it: a command where there is one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) remedy: String,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self {
            check,
            level: Level::Ok,
            found: found.into(),
            why: String::new(),
            remedy: String::new(),
        }
    }

    fn warning(check: &'static str, found: impl Into<String>, why: &str, remedy: impl Into<String>) -> Self {
        Self {
            check,
            level: Level::Warning,
            found: found.into(),
            why: why.to_owned(),
            remedy: remedy.into(),
        }
    }

    fn failure(check: &'static str, found: impl Into<String>, why: &str, remedy: impl Into<String>) -> Self {
        Self {
            level: Level::Failure,
            ..Self::warning(check, found, why, remedy)
        }
    }
}

/// What is wanted of the machine: of loko.yaml, or its defaults where there is none.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// How many nodes.
    pub(crate) nodes: u64,
    /// Addresses of pods.
    pub(crate) pods: Ipv4Net,
    /// Addresses of services.
    pub(crate) services: Ipv4Net,
    /// The domain.
    pub(crate) domain: String,
    /// The lowest port of the host that the edge binds.
    pub(crate) lowest_port: u16,
    /// How kube-proxy forwards.
    pub(crate) kube_proxy: KubeProxyMode,
}

impl Wanted {
    /// What a loko.yaml wants.
    pub(crate) fn of(environment: &Environment) -> Self {
        let (cluster, network) = (&environment.cluster, &environment.network);
        let ports = environment
            .enabled_workloads()
            .flat_map(|workload| &workload.ports)
            .map(|port| port.host_port.get());
        let lowest = ports
            .chain([network.lb_ports.http.get(), network.lb_ports.https.get()])
            .min();
        Self {
            nodes: u64::from(cluster.nodes.control_planes) + u64::from(cluster.nodes.workers),
            pods: cluster.pod_subnet,
            services: cluster.service_subnet,
            domain: network.domain.to_string(),
            lowest_port: lowest.unwrap_or(80),
            kube_proxy: cluster.kube_proxy_mode,
        }
    }
}

/// The engine, as far as it answers.
#[derive(Debug, Clone)]
pub(crate) struct EngineView {
    /// What it says of itself.
    pub(crate) facts: EngineFacts,
    /// Whether it runs on this kernel, so that what is read of this machine is true of it.
    pub(crate) mode: EdgeMode,
    /// This host's clock when it was asked.
    pub(crate) asked: Timestamp,
    /// The network of all environments: its id and subnets, where it is there.
    pub(crate) network: Option<(String, Vec<Ipv4Net>)>,
}

/// Room on a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Disk {
    /// What is kept there.
    pub(crate) what: &'static str,
    /// Where.
    pub(crate) path: String,
    /// Bytes that are free for this user.
    pub(crate) free: u64,
    /// Below this there is trouble soon, in bytes.
    pub(crate) wanted: u64,
    /// Below this nothing comes up, in bytes.
    pub(crate) needed: u64,
}

/// Whether programs of this host trust the authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trust {
    /// The authority's certificate; `None`: there is none yet.
    pub(crate) certificate: Option<String>,
    /// The bundle of the system that was found, and whether the certificate is in it.
    pub(crate) bundle: Option<(String, bool)>,
}

/// The host's resolver.
#[derive(Debug, Clone)]
pub(crate) struct ResolverView {
    /// The way that would be taken.
    pub(crate) backend: Option<Kind>,
    /// Why those before it are not.
    pub(crate) refused: Vec<Refusal>,
    /// Whether it needs no root, or this is root.
    pub(crate) root: bool,
    /// Whether names resolve now; `None`: the environment is not up.
    pub(crate) resolves: Option<bool>,
}

/// Everything that a verdict needs. What could not be read is `None` and is not judged.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// What is wanted.
    pub(crate) wanted: Wanted,
    /// The engine, or why it does not answer.
    pub(crate) engine: Result<EngineView, String>,
    /// This machine.
    pub(crate) machine: Machine,
    /// One sentence for each port that somebody else has; `None`: not asked.
    pub(crate) ports: Option<Vec<String>>,
    /// The host's resolver; `None`: not asked.
    pub(crate) resolver: Option<ResolverView>,
    /// The authority; `None`: not asked.
    pub(crate) trust: Option<Trust>,
    /// Proxy variables of this shell, by their names in capitals.
    pub(crate) proxies: BTreeMap<String, String>,
}

/// Judges everything, in the order in which a person would mend it.
pub(crate) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut all = Vec::new();
    match &facts.engine {
        Ok(view) => {
            all.extend(engine::judge(view, &facts.wanted));
            // A machine that the engine runs in itself is not the one that was read.
            if view.mode == EdgeMode::HostNetwork || view.facts.rootless {
                all.extend(host::judge(&facts.machine, &facts.wanted, view.facts.rootless));
            }
            all.extend(reach::subnets(&facts.machine.routes, view.network.as_ref(), &facts.wanted));
        }
        Err(reason) => all.push(Finding::failure(
            "engine",
            reason.clone(),
            "every part of an environment is a container",
            "start Docker (`sudo systemctl start docker`), or say where it is with DOCKER_HOST; `docker info` must answer",
        )),
    }
    all.extend(facts.machine.disks.iter().map(host::disk));
    all.extend(facts.ports.as_deref().map(reach::ports));
    all.extend(facts.resolver.as_ref().map(|view| reach::resolver(view, &facts.wanted)));
    all.extend(facts.trust.as_ref().map(reach::trust));
    all.extend(reach::proxies(&facts.proxies, &facts.wanted));
    all
}

/// Refuses where there is a failure.
pub(crate) fn refuse(findings: &[Finding]) -> Result<(), CliError> {
    let failures: Vec<&Finding> = findings
        .iter()
        .filter(|finding| finding.level == Level::Failure)
        .collect();
    if failures.is_empty() {
        return Ok(());
    }
    let remedies: Vec<&str> = failures.iter().map(|finding| finding.remedy.as_str()).collect();
    Err(CliError::Unfit {
        engine: failures.iter().any(|finding| finding.check == "engine"),
        findings: failures
            .iter()
            .map(|finding| format!("{}: {}", finding.found, finding.why))
            .collect(),
        help: remedies.join("\n"),
    })
}

#[cfg(test)]
mod tests;
