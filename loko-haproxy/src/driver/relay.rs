//! Brings the UDP relay of an environment to where its ports are bound.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use loko_config::model::Protocol;
use loko_config::names::EnvName;
use loko_engine::container::{ContainerChange, compare};
use loko_engine::driver::{ExecSpec, File};
use loko_engine::{ContainerFacts, ContainerSpec, EdgeMode, Engine, labels};
use tokio::time::{Instant, sleep};

use super::Done;
use crate::error::HaproxyError;
use crate::portcheck::{self, Wanted};
use crate::relay::{self, FILE};
use crate::routes::Routes;

/// How long its ports may take to be bound.
const START: Duration = Duration::from_secs(15);

/// The UDP relays of one engine.
#[derive(Debug, Clone)]
pub struct Relay {
    engine: Engine,
    image: String,
    mode: EdgeMode,
    network: String,
}

impl Relay {
    /// Traefik of `image` on `engine`; `network` is that of the nodes.
    #[must_use]
    pub fn new(engine: Engine, image: impl Into<String>, mode: EdgeMode, network: impl Into<String>) -> Self {
        Self {
            engine,
            image: image.into(),
            mode,
            network: network.into(),
        }
    }

    /// Brings the relay of an environment to its UDP ports: made, changed, or removed where there is none any more. A port
    /// more or less makes it anew, which ends its sessions; another node does not.
    pub async fn apply(&self, routes: &Routes) -> Result<Done, HaproxyError> {
        let Some(spec) = relay::spec(routes, &self.image, self.mode, &self.network) else {
            return self.remove(&routes.environment).await;
        };
        let there = self.engine.container(&spec.name).await?;
        let file = File::new(FILE, relay::render(routes));
        let change = compare(&spec, there.as_ref());
        if change != ContainerChange::Nothing {
            self.refuse_ports_in_use(routes, &spec, there.as_ref()).await?;
        }
        match change {
            ContainerChange::Nothing if there.as_ref().is_some_and(ContainerFacts::is_running) => {
                let before = self.engine.get_file(&spec.name, FILE).await?;
                if before.as_ref() == Some(&file.contents) {
                    return Ok(Done::Nothing);
                }
                self.replace_file(&spec, file).await?;
                return Ok(Done::Reloaded);
            }
            ContainerChange::Start | ContainerChange::Nothing => {
                self.engine.put_files(&spec.name, std::slice::from_ref(&file)).await?;
            }
            ContainerChange::Create | ContainerChange::Replace | ContainerChange::Foreign => {}
        }
        let put = || async { self.engine.put_files(&spec.name, std::slice::from_ref(&file)).await };
        self.engine.ensure_container(&spec, put).await?;
        self.wait(routes, &spec).await?;
        Ok(if change == ContainerChange::Replace {
            Done::Recreated
        } else {
            Done::Started
        })
    }

    /// Takes an environment's relay away.
    pub async fn remove(&self, environment: &EnvName) -> Result<Done, HaproxyError> {
        let name = relay::container_name(environment);
        let there = self.engine.container(&name).await?;
        let ours = there.is_some_and(|there| labels::is_ours(&there.labels, Some(environment.as_str())));
        if !ours {
            return Ok(Done::Nothing);
        }
        self.engine.remove_container(&name).await?;
        Ok(Done::Removed)
    }

    /// Written outside the directory that is followed, then renamed into it: a file that is half there is never read.
    async fn replace_file(&self, spec: &ContainerSpec, file: File) -> Result<(), HaproxyError> {
        let beside = format!("{}.new", FILE.replace("/udp/", "/"));
        let new = File {
            path: beside.clone(),
            ..file
        };
        self.engine.put_files(&spec.name, &[new]).await?;
        let rename = ExecSpec::new(["mv", "-f", beside.as_str(), FILE]);
        self.engine.exec_ok(&spec.name, &rename).await?;
        Ok(())
    }

    async fn refuse_ports_in_use(
        &self,
        routes: &Routes,
        spec: &ContainerSpec,
        there: Option<&ContainerFacts>,
    ) -> Result<(), HaproxyError> {
        let containers = self.engine.containers(&BTreeMap::new()).await?;
        let ours: BTreeSet<String> = [spec.name.clone()]
            .into_iter()
            .chain(there.map(|there| there.id.clone()))
            .collect();
        let conflicts = portcheck::check(&wanted(routes), &containers, &ours);
        if conflicts.is_empty() {
            Ok(())
        } else {
            Err(HaproxyError::PortsInUse { conflicts })
        }
    }

    /// Until every port is bound; on the host's network the host's own table tells.
    async fn wait(&self, routes: &Routes, spec: &ContainerSpec) -> Result<(), HaproxyError> {
        let start = Instant::now();
        loop {
            let running = self
                .engine
                .container(&spec.name)
                .await?
                .is_some_and(|there| there.is_running());
            let bound = self.mode == EdgeMode::Published || all_bound(routes);
            if running && bound {
                return Ok(());
            }
            if !running || start.elapsed() > START {
                let log = self.engine.last_log_lines(&spec.name, 5).await;
                self.engine.remove_container(&spec.name).await?;
                return Err(HaproxyError::Start {
                    container: spec.name.clone(),
                    message: log.trim().to_owned(),
                });
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

fn wanted(routes: &Routes) -> Vec<Wanted> {
    let port = |route: &crate::routes::UdpRoute| Wanted {
        address: SocketAddr::new(routes.address, route.listen.get()),
        protocol: Protocol::Udp,
    };
    routes.udp.iter().map(port).collect()
}

fn all_bound(routes: &Routes) -> bool {
    let facts = portcheck::read(Path::new("/proc"), Path::new("/etc/passwd"), &|_| false);
    wanted(routes).iter().all(|port| {
        let same = |socket: &portcheck::Socket| socket.protocol == port.protocol && socket.address == port.address;
        facts.sockets.iter().any(same)
    })
}
