//! Reads the facts, carries out the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::num::NonZeroU16;
use std::time::Duration;

use loko_config::model::AutoPort;
use loko_config::names::{EnvName, HostName};
use loko_engine::container::ContainerChange;
use loko_engine::driver::{ExecSpec, File};
use loko_engine::{Engine, EngineError, labels};
use serde::Serialize;

use crate::container::{self, Placement};
use crate::error::DnsError;
use crate::plan::{Change, Facts, Plan, plan};
use crate::port::{self, Choice};
use crate::probe::{self, Kind, Limits};
use crate::render::{DIRECTORY, HOSTS_DIRECTORY, temporary};
use crate::zone::Zone;

/// Bytes of hosts files that a script carries: Linux takes 128 KiB in one argument (`MAX_ARG_STRLEN`).
const MAX_SCRIPT: usize = 64 << 10;
/// How long a new dnsmasq has until it answers.
const START: Duration = Duration::from_secs(5);
/// The configuration, from [`DIRECTORY`] on.
const CONF: &str = "dnsmasq.conf";
/// [`HOSTS_DIRECTORY`] from [`DIRECTORY`] on.
const HOSTS: &str = "hosts.d";
/// Where the next configuration is tested before it is renamed.
const NEXT_CONF: &str = "/etc/loko-dns/.dnsmasq.conf";

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// What it took.
    pub change: Change,
    /// The container.
    pub container: String,
    /// Names that are known, from loko.yaml and from the cluster.
    pub names: usize,
    /// Whether it answers this host; `None` where it was left alone.
    pub answers: Option<bool>,
}

/// What is there now of an environment's dnsmasq.
pub async fn facts(engine: &Engine, environment: &EnvName) -> Result<Facts, DnsError> {
    let name = container::name(environment);
    let Some(found) = engine.container(&name).await? else {
        return Ok(Facts::default());
    };
    let files = engine.get_files(&name, DIRECTORY).await?.unwrap_or_default();
    let mut facts = Facts {
        container: Some(found),
        ..Facts::default()
    };
    for (path, bytes) in files {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        match path.split_once('/') {
            // A file whose name starts with a dot is what a run that was killed left: dnsmasq does not read it.
            Some((HOSTS, file)) if !file.starts_with('.') => drop(facts.hosts.insert(file.to_owned(), text)),
            None if path == CONF => facts.conf = Some(text),
            _ => {}
        }
    }
    Ok(facts)
}

/// The port of an environment's dnsmasq: the one that it has, else a free one ([`port::choose`]).
pub async fn choose_port(
    engine: &Engine,
    environment: &EnvName,
    address: IpAddr,
    wanted: AutoPort,
) -> Result<NonZeroU16, DnsError> {
    let filter = BTreeMap::from([(labels::ROLE.to_owned(), container::ROLE.to_owned())]);
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut kept = None;
    let mut taken = BTreeSet::new();
    for found in engine.containers(&filter).await? {
        let port = container::kept_port(&found);
        if labels::is_ours(&found.labels, Some(environment.as_str())) {
            kept = port;
        } else {
            // Also of an environment that is stopped: its port must be free when it starts again.
            taken.extend(port);
        }
    }
    loop {
        match port::choose(wanted, kept, &taken) {
            Choice::Port(port) if kept == Some(port) || is_free(address, port) && is_free(loopback, port) => {
                return Ok(port);
            }
            Choice::Port(port) => {
                taken.insert(port);
            }
            Choice::Taken(port) => return Err(DnsError::PortInUse { address, port }),
            Choice::None => {
                return Err(DnsError::NoPort {
                    address,
                    first: port::FIRST,
                    last: port::LAST,
                });
            }
        }
    }
}

/// Whether a port can be bound on an address of this host, UDP and TCP. An address that is not this host's, or a port
/// that only root may bind, is for the engine to say.
#[must_use]
pub fn is_free(address: IpAddr, port: NonZeroU16) -> bool {
    let socket = (address, port.get());
    let in_use = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
    let udp = UdpSocket::bind(socket).map(drop);
    let tcp = TcpListener::bind(socket).map(drop);
    !udp.is_err_and(|error| in_use(&error)) && !tcp.is_err_and(|error| in_use(&error))
}

/// Serves a zone: makes, restarts or leaves alone the container, and brings its names up to date. Names found in the
/// cluster before stay.
pub async fn ensure(engine: &Engine, zone: &Zone, placement: &Placement) -> Result<Report, DnsError> {
    let facts = facts(engine, &zone.environment).await?;
    let plan = plan(zone, placement, None, &facts);
    apply(engine, zone, placement, &plan, &facts).await
}

/// As [`ensure`], with `names` in place of those that were found in the cluster before.
pub async fn sync(
    engine: &Engine,
    zone: &Zone,
    placement: &Placement,
    names: &BTreeSet<HostName>,
) -> Result<Report, DnsError> {
    let facts = facts(engine, &zone.environment).await?;
    let plan = plan(zone, placement, Some(names), &facts);
    apply(engine, zone, placement, &plan, &facts).await
}

/// Removes an environment's dnsmasq and its volume; true where there was one. What is not ours stays.
pub async fn remove(engine: &Engine, environment: &EnvName) -> Result<bool, DnsError> {
    let name = container::name(environment);
    let ours = |found: &BTreeMap<String, String>| labels::is_ours(found, Some(environment.as_str()));
    let found = engine.container(&name).await?.filter(|facts| ours(&facts.labels));
    if found.is_some() {
        engine.remove_container(&name).await?;
    }
    let volume = container::volume(environment);
    let volumes = engine.volumes(&volume_labels(environment)).await?;
    let has_volume = volumes.contains(&volume);
    if has_volume {
        engine.remove_volume(&volume).await?;
    }
    Ok(found.is_some() || has_volume)
}

fn volume_labels(environment: &EnvName) -> BTreeMap<String, String> {
    labels::of(Some(environment.as_str()), container::ROLE)
}

async fn apply(
    engine: &Engine,
    zone: &Zone,
    placement: &Placement,
    plan: &Plan,
    facts: &Facts,
) -> Result<Report, DnsError> {
    let name = &plan.spec.name;
    let change = plan.change();
    tracing::debug!(container = %name, ?change, "dnsmasq");
    let running = facts
        .container
        .as_ref()
        .is_some_and(loko_engine::ContainerFacts::is_running);
    if plan.container == ContainerChange::Foreign {
        return Err(EngineError::Foreign {
            kind: "container",
            name: name.clone(),
        }
        .into());
    }
    if running && let Some(conf) = &plan.conf {
        test(engine, name, conf).await?;
    }
    match change {
        Change::Nothing => {}
        Change::Names => {
            let bytes: usize = plan.hosts.values().map(String::len).sum();
            let along = bytes <= MAX_SCRIPT;
            if !along {
                let next = plan.hosts.iter();
                let next: Vec<File> = next
                    .map(|(file, text)| File::new(format!("{HOSTS_DIRECTORY}/{}", temporary(file)), text.as_str()))
                    .collect();
                engine.put_files(name, &next).await?;
            }
            put_in_force(engine, name, &plan.hosts, &plan.stale, along).await?;
        }
        Change::Restart => {
            // Stopped first: one that was killed in between is then started by the next run, with what it lacks.
            engine.stop_container(name, 2).await?;
            engine.put_files(name, &files(plan)).await?;
            engine.start_container(name).await?;
        }
        Change::Start => {
            engine.put_files(name, &files(plan)).await?;
            engine.start_container(name).await?;
        }
        Change::Create | Change::Replace => {
            let volume = container::volume(&zone.environment);
            if change == Change::Create {
                // Of a container that is gone, with names that may be gone too.
                engine.remove_volume(&volume).await?;
            }
            engine.ensure_volume(&volume, &volume_labels(&zone.environment)).await?;
            let files = files(plan);
            engine
                .ensure_container(&plan.spec, || engine.put_files(name, &files))
                .await?;
        }
    }
    let left_alone = matches!(change, Change::Nothing | Change::Names);
    let answers = if left_alone {
        None
    } else {
        Some(wait(engine, zone, name).await?)
    };
    if change != Change::Names && !plan.stale.is_empty() {
        put_in_force(engine, name, &BTreeMap::new(), &plan.stale, false).await?;
    }
    tracing::debug!(container = %name, mode = ?placement.mode, ?answers, "dnsmasq is as wanted");
    Ok(Report {
        change,
        container: name.clone(),
        names: plan.names.len(),
        answers,
    })
}

fn files(plan: &Plan) -> Vec<File> {
    let files = plan.files();
    files.into_iter().map(|(path, text)| File::new(path, text)).collect()
}

/// Lets the dnsmasq that runs read the next configuration, before anything is changed.
async fn test(engine: &Engine, name: &str, conf: &str) -> Result<(), DnsError> {
    engine.put_files(name, &[File::new(NEXT_CONF, conf)]).await?;
    let command = [
        "dnsmasq".to_owned(),
        "--test".to_owned(),
        format!("--conf-file={NEXT_CONF}"),
    ];
    let tested = engine.exec(name, &ExecSpec::new(command)).await?;
    if tested.code == 0 {
        return Ok(());
    }
    Err(DnsError::Refused {
        container: name.to_owned(),
        output: String::from_utf8_lossy(&tested.stderr).trim().to_owned(),
    })
}

/// Renames hosts files that were written beside, and removes others, under a dnsmasq that runs and follows them. By rename,
/// so that no name is missing meanwhile. With `along`, it writes them beside first: one command instead of an archive and a
/// command.
///
/// A command, though an archive alone would be sooner done: the engine removes a file before it writes it anew (`Unpack` of moby's
/// archive package), and dnsmasq, which follows both, has no answer for its names in between. A file that is only reread after a
/// SIGHUP is no way out, because dnsmasq then rereads all of them, answers nobody meanwhile, and logs a line for each.
async fn put_in_force(
    engine: &Engine,
    name: &str,
    written: &BTreeMap<String, String>,
    stale: &BTreeSet<String>,
    along: bool,
) -> Result<(), DnsError> {
    use std::fmt::Write as _;
    // What is written has names of ours: letters, digits and dashes; its lines have an address and a host name each.
    let mut script = format!("set -e; cd {HOSTS_DIRECTORY}\n");
    for (file, text) in written {
        let next = temporary(file);
        if along {
            let _ = writeln!(script, "cat >{next} <<'end'\n{text}end");
        }
        let _ = writeln!(script, "mv -f {next} {file}");
    }
    for file in stale {
        let _ = writeln!(script, "rm -f -- '{}'", file.replace('\'', ""));
    }
    let as_owner = ExecSpec {
        user: Some("0".to_owned()),
        ..ExecSpec::new(["sh", "-c", &script])
    };
    engine.exec_ok(name, &as_owner).await?;
    Ok(())
}

/// Waits until a dnsmasq that was just started answers this host. False where it runs but is not heard, as with an engine
/// on another machine.
async fn wait(engine: &Engine, zone: &Zone, name: &str) -> Result<bool, DnsError> {
    let limits = Limits {
        timeout: Duration::from_millis(200),
        attempts: 1,
        ..Limits::default()
    };
    let until = tokio::time::Instant::now() + START;
    loop {
        let answer = probe::ask(zone.server(), zone.domain.as_str(), Kind::of(zone.address), limits).await;
        let running = engine.container(name).await?.is_some_and(|facts| facts.is_running());
        if !running {
            let log = engine.last_log_lines(name, 5).await.trim().to_owned();
            return Err(DnsError::NotRunning {
                container: name.to_owned(),
                log,
            });
        }
        if answer.is_ok() {
            return Ok(true);
        }
        if tokio::time::Instant::now() > until {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
