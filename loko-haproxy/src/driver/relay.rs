//! Brings the UDP relay of an environment to where its ports are bound.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use loko_config::model::Protocol;
use loko_config::names::EnvName;
use loko_engine::container::{ContainerChange, compare};
use loko_engine::{ContainerFacts, ContainerSpec, EdgeMode, labels};
use tokio::time::{Instant, sleep};

use super::{Done, Edge};
use crate::error::HaproxyError;
use crate::portcheck::{self, Wanted};
use crate::relay;
use crate::routes::Routes;

/// How long its ports may take to be bound.
const START: Duration = Duration::from_secs(15);

/// The UDP relays of one engine.
#[derive(Debug, Clone)]
pub struct Relay {
    pub(super) edge: Edge,
    pub(super) image: String,
}

impl Relay {
    /// Traefik of `image`, told by the HAProxy of `edge`.
    #[must_use]
    pub fn new(edge: &Edge, image: impl Into<String>) -> Self {
        Self {
            edge: edge.clone(),
            image: image.into(),
        }
    }

    /// Brings the relay of an environment to its UDP ports: made, changed, or removed where there is none any more. Where
    /// they lead, HAProxy tells it: apply the routes there first. A port more or less makes it anew, which ends its
    /// sessions; another node does not.
    pub async fn apply(&self, routes: &Routes) -> Result<Done, HaproxyError> {
        let Edge {
            engine,
            mode,
            names,
            statistics,
            ..
        } = &self.edge;
        let Some(spec) = relay::spec(routes, &self.image, *mode, names, *statistics) else {
            return self.remove(&routes.environment).await;
        };
        let there = engine.container(&spec.name).await?;
        let change = compare(&spec, there.as_ref());
        let running = there.as_ref().is_some_and(ContainerFacts::is_running);
        if change == ContainerChange::Nothing && running {
            return Ok(Done::Nothing);
        }
        self.refuse_ports_in_use(routes, &spec, there.as_ref()).await?;
        // Before the one that is there is taken away.
        engine.ensure_image(&spec.image, |_| {}).await?;
        engine.ensure_container(&spec, || async { Ok(()) }).await?;
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
        let there = self.edge.engine.container(&name).await?;
        let ours = there.is_some_and(|there| labels::is_ours(&there.labels, Some(environment.as_str())));
        if !ours {
            return Ok(Done::Nothing);
        }
        self.edge.engine.remove_container(&name).await?;
        Ok(Done::Removed)
    }

    async fn refuse_ports_in_use(
        &self,
        routes: &Routes,
        spec: &ContainerSpec,
        there: Option<&ContainerFacts>,
    ) -> Result<(), HaproxyError> {
        let containers = self.edge.engine.containers(&BTreeMap::new()).await?;
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
                .edge
                .engine
                .container(&spec.name)
                .await?
                .is_some_and(|there| there.is_running());
            let bound = self.edge.mode == EdgeMode::Published || all_bound(routes);
            if running && bound {
                return Ok(());
            }
            if !running || start.elapsed() > START {
                let log = self.edge.engine.last_log_lines(&spec.name, 5).await;
                self.edge.engine.remove_container(&spec.name).await?;
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
