//! Changes HAProxy, and tells what it serves.
//!
//! Callers hold one lock per engine while they [`Edge::apply`], so that one waits for the other. Those who cannot see each other's
//! lock, because they are on different machines, lose nothing either: a change is put in place only where the files are still those
//! that it was made from, else it begins anew.

mod ahead;
mod bring;
mod http;
mod relay;
mod reload;

pub use relay::Relay;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use loko_config::model::Protocol;
use loko_config::names::EnvName;
use loko_engine::driver::ExecSpec;
use loko_engine::{ContainerFacts, ContainerSpec, ContainerState, EdgeMode, Engine, EngineError, labels};
use semver::Version;
use serde::Serialize;

use crate::configuration::{Configuration, STATISTICS_PORT};
use crate::container::{CONFIGURATION, DIRECTORY, Names, environment_of, routes_file, spec};
use crate::error::HaproxyError;
use crate::facts::{self, Workers};
use crate::parse;
use crate::portcheck::{self, Wanted};
use crate::relay::container_name;
use crate::routes::{Routes, conflicts, reserved};
use crate::stats::{self, Statistics};
use crate::tunnel::{Seen, Tunnel, tunnels};

/// HAProxy on one engine.
#[derive(Debug, Clone)]
pub struct Edge {
    engine: Engine,
    image: String,
    mode: EdgeMode,
    names: Names,
    statistics: u16,
}

/// What is to be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// These are the routes of their environment from now on.
    Put(Box<Routes>),
    /// The environment has none any more. The last one takes the container and the volume with it.
    Remove(EnvName),
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// In one word.
    pub done: Done,
    /// Addresses that were not served before.
    pub opened: BTreeSet<SocketAddr>,
    /// Addresses that are not served any more.
    pub closed: BTreeSet<SocketAddr>,
    /// Whose routes are served now.
    pub environments: BTreeSet<EnvName>,
}

/// What was done, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Done {
    /// Everything was as wanted.
    Nothing,
    /// The container was made, or started.
    Started,
    /// A new configuration is served; no connection was disturbed.
    Reloaded,
    /// The container was made anew, because its image or the ports it publishes changed; connections were ended.
    Recreated,
    /// The container and the volume are gone.
    Removed,
}

/// What HAProxy serves.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// What the container does; `None`: there is none.
    pub container: Option<ContainerState>,
    /// The routes of each environment.
    pub routes: BTreeMap<EnvName, Routes>,
    /// Whether the process serves the file as it is; `None`: it does not answer.
    pub current: Option<bool>,
    /// Whether the file is as it was written.
    pub as_written: bool,
    /// Health and traffic of each route, where it answers.
    pub statistics: Option<Statistics>,
    /// Workers of before that live as long as their connections.
    pub old_workers: usize,
    /// For how long the traffic has been counted, in seconds: since the last change. `None`: it is not known.
    pub counted: Option<u64>,
    /// Environments whose UDP relay runs.
    pub relays: BTreeSet<EnvName>,
    /// Environments whose address is none of this host's.
    pub away: BTreeSet<EnvName>,
}

impl Status {
    /// Every port of one environment, as it is served.
    #[must_use]
    pub fn tunnels(&self, environment: &EnvName) -> Vec<Tunnel> {
        let seen = Seen {
            statistics: self.statistics.as_ref(),
            relay: self.relays.contains(environment),
            address_here: !self.away.contains(environment),
        };
        self.routes
            .get(environment)
            .map(|routes| tunnels(routes, seen))
            .unwrap_or_default()
    }
}

/// What is there.
struct Found {
    container: Option<ContainerFacts>,
    volume: bool,
    files: BTreeMap<String, String>,
    /// Of the configuration and all routes, as [`reload`] computes it where they are.
    digest: String,
}

/// How often a change begins anew where others change the same files. Each time one of those others has finished a change, and
/// nobody makes them by the dozen; but who has bad luck loses to the same few again and again.
const ATTEMPTS: u32 = 50;

/// How often one looks again at what somebody else takes away or makes at the same time, and how long one waits in between: two
/// seconds in all, and an engine takes a moment.
const LOOKS: u32 = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

impl Edge {
    /// HAProxy of `image` on `engine`, with the usual names.
    #[must_use]
    pub fn new(engine: Engine, image: impl Into<String>, mode: EdgeMode) -> Self {
        Self {
            engine,
            image: image.into(),
            mode,
            names: Names::default(),
            statistics: STATISTICS_PORT,
        }
    }

    /// The same under other names, with its statistics at another port of 127.0.0.1: a second one on the same engine.
    #[must_use]
    pub fn named(mut self, names: Names, statistics: u16) -> Self {
        self.names = names;
        self.statistics = statistics;
        self
    }

    /// Brings HAProxy to where the change is served and confirmed by the process that serves it. Where it already is,
    /// nothing happens. After an error everything serves as before.
    pub async fn apply(&self, change: &Change) -> Result<Report, HaproxyError> {
        let mut times = 0;
        loop {
            match self.apply_once(change).await {
                Err(HaproxyError::Contended { .. }) if times < ATTEMPTS => times += 1,
                Err(HaproxyError::Contended { .. }) => return Err(HaproxyError::Contended { times }),
                done => return done,
            }
        }
    }

    async fn apply_once(&self, change: &Change) -> Result<Report, HaproxyError> {
        let found = self.look().await?;
        if let Change::Put(wanted) = change {
            self.refuse_conflicts(&found.stored(Some(&wanted.environment))?, wanted)?;
        }
        let routes = found.with(change)?;
        if routes.is_empty() {
            return self.remove(&found).await;
        }
        self.bring_to(&found, &routes, change.environment()).await
    }

    /// Refuses routes that another environment's exclude, as [`Edge::apply`] would, and changes nothing.
    pub async fn check(&self, wanted: &Routes) -> Result<(), HaproxyError> {
        let there = self.look().await?.stored(Some(&wanted.environment))?;
        self.refuse_conflicts(&there, wanted)
    }

    /// Where HAProxy's statistics listen.
    #[must_use]
    pub fn statistics(&self) -> SocketAddr {
        SocketAddr::new(Ipv4Addr::LOCALHOST.into(), self.statistics)
    }

    /// The sockets of the host that are in use because we use them: what HAProxy serves, its statistics, and the UDP ports of all
    /// environments. A user who is not root cannot see whose a socket of HAProxy is, so [`crate::portcheck`] is not asked of these.
    pub async fn served(&self) -> Result<BTreeSet<Wanted>, HaproxyError> {
        let found = self.look().await?;
        if !found.container.as_ref().is_some_and(ContainerFacts::is_running) {
            return Ok(BTreeSet::new());
        }
        let at = |address, protocol| Wanted { address, protocol };
        let listeners = found
            .configuration()
            .map(|served| served.listeners())
            .unwrap_or_default();
        let mut served: BTreeSet<Wanted> = listeners
            .into_iter()
            .chain([self.statistics()])
            .map(|address| at(address, Protocol::Tcp))
            .collect();
        for routes in found.stored(None)?.values() {
            let udp = routes
                .udp
                .iter()
                .map(|route| SocketAddr::new(routes.address, route.listen.get()));
            served.extend(udp.map(|address| at(address, Protocol::Udp)));
        }
        Ok(served)
    }

    /// The routes of all environments, as they are stored.
    pub async fn environments(&self) -> Result<BTreeMap<EnvName, Routes>, HaproxyError> {
        self.look().await?.stored(None)
    }

    /// What is served, and how well.
    pub async fn status(&self) -> Result<Status, HaproxyError> {
        let found = self.look().await?;
        let running = found.container.as_ref().is_some_and(ContainerFacts::is_running);
        let file = found.files.get(CONFIGURATION).map(String::as_str).unwrap_or_default();
        let (mut current, mut statistics, mut workers) = (None, None, Workers::default());
        if running {
            let served = http::get(self.statistics, crate::configuration::REVISION_PATH).await;
            current = served.map(|served| Some(served.trim()) == parse::revision(file));
            let csv = http::get(self.statistics, "/;csv").await;
            statistics = csv
                .and_then(|csv| stats::parse(&csv).ok())
                .map(|rows| Statistics::of(&rows));
            let command = ExecSpec::new(["sh", "-c", facts::WORKERS_COMMAND]);
            let listed = self.engine.exec(&self.names.container, &command).await;
            workers = listed.map(|output| facts::workers(&output.text())).unwrap_or_default();
        }
        let routes = found.stored(None)?;
        let (mut relays, mut away) = (BTreeSet::new(), BTreeSet::new());
        for (environment, routes) in &routes {
            // Where ports are published, the engine knows its machine's addresses and we do not.
            if self.mode == EdgeMode::HostNetwork && !portcheck::address_is_here(routes.address) {
                away.insert(environment.clone());
            }
            if !routes.udp.is_empty() {
                let relay = self.engine.container(&container_name(environment)).await?;
                relays.extend(relay.filter(ContainerFacts::is_running).map(|_| environment.clone()));
            }
        }
        Ok(Status {
            container: found.container.as_ref().map(|container| container.state),
            routes,
            current,
            as_written: parse::is_as_written(file),
            statistics,
            old_workers: workers.old,
            counted: workers.counted,
            relays,
            away,
        })
    }

    fn refuse_conflicts(&self, there: &BTreeMap<EnvName, Routes>, wanted: &Routes) -> Result<(), HaproxyError> {
        let mut found = conflicts(there, wanted);
        found.extend(reserved(self.statistics(), wanted));
        if found.is_empty() {
            return Ok(());
        }
        Err(HaproxyError::Conflicts {
            environment: wanted.environment.clone(),
            conflicts: found,
        })
    }

    /// What is there, whoever runs it. Where the container goes while it is looked at, or what was read may be half of a file that
    /// was replaced meanwhile, it is looked again.
    async fn look(&self) -> Result<Found, HaproxyError> {
        let mut doubtful = None;
        for _ in 0..LOOKS {
            match self.look_once().await {
                Err(HaproxyError::Engine(error)) if may_be_going(&error) => {
                    tracing::debug!(%error, "looked at again");
                    tokio::time::sleep(BETWEEN_LOOKS).await;
                }
                Ok(found) if found.may_be_torn() && doubtful.as_ref() != Some(&found.digest) => {
                    tracing::debug!("files that make no sense are read again");
                    doubtful = Some(found.digest);
                }
                looked => return looked,
            }
        }
        self.look_once().await
    }

    /// The volume is read through the container, or through one that is made for it and never started.
    async fn look_once(&self) -> Result<Found, HaproxyError> {
        let Names { container, volume, .. } = &self.names;
        let facts = self.engine.container(container).await?;
        let foreign = |kind, name: &String| EngineError::Foreign {
            kind,
            name: name.clone(),
        };
        if let Some(facts) = facts {
            if !labels::is_ours(&facts.labels, None) {
                return Err(foreign("container", container).into());
            }
            let files = self.engine.get_files(container, DIRECTORY).await?;
            if files.is_none() && self.engine.container(container).await?.is_none() {
                return Err(EngineError::Refused {
                    action: format!("read {DIRECTORY} of {container}"),
                    status: 404,
                    message: "it was removed meanwhile".to_owned(),
                }
                .into());
            }
            return Ok(Found::new(Some(facts), true, files.unwrap_or_default()));
        }
        if self.engine.volumes(&labels::of(None, "volume")).await?.contains(volume) {
            let reader = ContainerSpec {
                name: format!("{container}-reader"),
                ..spec(&self.names, &self.image, self.mode, Vec::new())
            };
            self.engine.ensure_image(&self.image, |_| {}).await?;
            self.engine.remove_container(&reader.name).await?;
            self.engine.create_container(&reader).await?;
            let files = self.engine.get_files(&reader.name, DIRECTORY).await;
            self.engine.remove_container(&reader.name).await?;
            return Ok(Found::new(None, true, files?.unwrap_or_default()));
        }
        if self.engine.volumes(&BTreeMap::new()).await?.contains(volume) {
            return Err(foreign("volume", volume).into());
        }
        Ok(Found::new(None, false, BTreeMap::new()))
    }

    async fn remove(&self, found: &Found) -> Result<Report, HaproxyError> {
        self.engine.remove_container(&self.names.container).await?;
        if found.volume {
            self.engine.remove_volume(&self.names.volume).await?;
        }
        let there = found.container.is_some() || found.volume;
        Ok(found.report_of_removal(if there { Done::Removed } else { Done::Nothing }))
    }
}

/// Whether an engine may have failed because what it was asked about is being taken away, or made: Docker answers 500 for a
/// container whose files are gone and whose name is not ("`RWLayer` … is unexpectedly nil"), 404 a moment later, and 409
/// where two make one of the same name.
fn may_be_going(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::Refused {
            status: 404 | 409 | 500,
            ..
        }
    )
}

impl Change {
    /// Whose routes change.
    #[must_use]
    pub fn environment(&self) -> &EnvName {
        match self {
            Self::Put(routes) => &routes.environment,
            Self::Remove(environment) => environment,
        }
    }
}

impl Found {
    fn new(container: Option<ContainerFacts>, volume: bool, files: BTreeMap<String, Vec<u8>>) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self {
            container,
            volume,
            digest: reload::digest(&files),
            files: files.into_iter().map(|(path, bytes)| (path, text(bytes))).collect(),
        }
    }

    /// Whether a file may have been replaced while the engine read it: Docker asks for its size first and then reads as many
    /// bytes of what has its name by then. Somebody may also have edited it, so it is read twice at most. Half a file that
    /// makes sense is noticed by its digest, before anything is put in place of it.
    fn may_be_torn(&self) -> bool {
        let configuration = self.files.get(CONFIGURATION);
        configuration.is_some_and(|text| !parse::is_as_written(text)) || self.stored(None).is_err()
    }

    fn configuration(&self) -> Option<Configuration> {
        parse::parse(self.files.get(CONFIGURATION)?).ok()
    }

    /// The routes of all environments after a change; those that it replaces or removes need not be readable.
    fn with(&self, change: &Change) -> Result<BTreeMap<EnvName, Routes>, HaproxyError> {
        let environment = change.environment();
        let mut routes = self.stored(Some(environment))?;
        match change {
            Change::Put(wanted) => drop(routes.insert(environment.clone(), (**wanted).clone())),
            Change::Remove(_) => drop(routes.remove(environment)),
        }
        Ok(routes)
    }

    fn report_of_removal(&self, done: Done) -> Report {
        let served = self.configuration();
        Report {
            done,
            opened: BTreeSet::new(),
            closed: served.map(|served| served.listeners()).unwrap_or_default(),
            environments: BTreeSet::new(),
        }
    }

    fn stored(&self, but: Option<&EnvName>) -> Result<BTreeMap<EnvName, Routes>, HaproxyError> {
        let mut all = BTreeMap::new();
        for (path, text) in &self.files {
            let Some(environment) = environment_of(path) else {
                continue;
            };
            // Written by ourselves, not by a person: places of mistakes are of no interest.
            match serde_yaml::from_str::<Routes>(text) {
                Ok(routes) if routes.environment == environment => {
                    all.insert(environment, routes);
                }
                Ok(_) | Err(_) if but == Some(&environment) => {}
                Ok(routes) => {
                    let message = format!("they are those of {}", routes.environment);
                    return Err(HaproxyError::Stored { environment, message });
                }
                Err(error) => {
                    let message = error.to_string();
                    return Err(HaproxyError::Stored { environment, message });
                }
            }
        }
        Ok(all)
    }

    /// Whether a newer version of LoKO wrote what is served. What it wrote is left to it where nothing of ours changes, else two
    /// versions that are used in turn would each undo what the other did.
    fn is_by_newer(&self) -> bool {
        let by = self.files.get(CONFIGURATION).and_then(|text| parse::version(text));
        by.is_some_and(|by| env!("CARGO_PKG_VERSION").parse().is_ok_and(|own: Version| by > own))
    }

    fn has(&self, path: &str, text: &str) -> bool {
        self.files.get(path).is_some_and(|there| there == text)
    }

    fn has_routes(&self, environment: &EnvName, text: Option<&String>) -> bool {
        self.files.get(&routes_file(environment)) == text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::{Limits, Settings, decide};
    use crate::render::render;

    /// What Docker gives of a file that a longer one takes the place of meanwhile.
    #[test]
    fn half_a_file_is_read_again_and_a_whole_one_is_not() {
        let whole = "environment: dev\naddress: 127.0.0.1\nhttp: 80\nhttps: 443\ndomain: dev.me\nhosts: [a.dev.me]\nnodes: []\n\
            tcp:\n- workload: valkey\n  listen: 6379\n  node-port: 30100\nudp: []";
        let torn = |text: &str| {
            let files = BTreeMap::from([("routes/dev.yaml".to_owned(), text.as_bytes().to_vec())]);
            Found::new(None, true, files).may_be_torn()
        };
        assert!(!torn(whole));
        let read = |text: &str| serde_yaml::from_str::<Routes>(text).ok();
        for end in 0..whole.len() {
            let half = &whole[..end];
            assert!(torn(half) || read(half) == read(whole), "{half}");
        }
        let configuration = {
            let settings = Settings {
                limits: Limits::new(1000, 1),
                prometheus: true,
                statistics: STATISTICS_PORT,
                mode: EdgeMode::HostNetwork,
                published: Vec::new(),
            };
            render(&decide(&BTreeMap::new(), &settings)).text
        };
        let torn = |text: &str| {
            let files = BTreeMap::from([(CONFIGURATION.to_owned(), text.as_bytes().to_vec())]);
            Found::new(None, true, files).may_be_torn()
        };
        assert!(!torn(&configuration));
        for end in 0..configuration.len() {
            assert!(torn(&configuration[..end]), "{}", &configuration[..end]);
        }
    }

    fn refused(status: u16, message: &str) -> EngineError {
        EngineError::Refused {
            action: "read /usr/local/etc/haproxy of loko-haproxy".to_owned(),
            status,
            message: message.to_owned(),
        }
    }

    #[test]
    fn what_goes_while_it_is_looked_at_is_looked_at_again() {
        assert!(may_be_going(&refused(
            500,
            "RWLayer of container 7d0d is unexpectedly nil"
        )));
        assert!(may_be_going(&refused(404, "No such container: loko-haproxy")));
        assert!(may_be_going(&refused(
            409,
            "removal of container loko-haproxy is already in progress"
        )));
        // An engine that is not there, or refuses for good, is not asked again.
        assert!(!may_be_going(&refused(0, "connection refused")));
        assert!(!may_be_going(&refused(403, "forbidden")));
    }
}
