//! A container that serves given routes: made, started, made anew, or only changed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use loko_config::model::Protocol;
use loko_config::names::EnvName;
use loko_engine::container::{ContainerChange, compare};
use loko_engine::driver::File;
use loko_engine::{ContainerFacts, ContainerSpec, EdgeMode, labels};
use semver::Version;

use super::ahead::Difference;
use super::{Done, Edge, Found, Report, reload};
use crate::configuration::{Configuration, Limits, Settings, decide};
use crate::container::{CONFIGURATION, DIRECTORY, spec};
use crate::error::HaproxyError;
use crate::portcheck::{self, Wanted};
use crate::render::render;
use crate::routes::Routes;

impl Edge {
    /// Brings HAProxy from what was found to where it serves `routes`, of which those of `environment` changed.
    pub(super) async fn bring_to(
        &self,
        found: &Found,
        routes: &BTreeMap<EnvName, Routes>,
        environment: &EnvName,
    ) -> Result<Report, HaproxyError> {
        let Difference {
            before,
            after,
            settings,
            facts_known,
            spec,
            change,
            running,
        } = self.difference(found, routes, environment).await;
        self.refuse_ports_in_use(after.difference(&before), !running).await?;
        let done = if change == ContainerChange::Nothing && running {
            let changed = self.change(found, routes, environment, &settings, facts_known).await?;
            if changed { Done::Reloaded } else { Done::Nothing }
        } else {
            let made = self.start_with(&spec, found, routes, environment, &settings).await;
            if let Err(error) = made {
                self.restore(found, environment).await;
                return Err(error);
            }
            if change == ContainerChange::Replace {
                Done::Recreated
            } else {
                Done::Started
            }
        };
        Ok(Report {
            done,
            opened: after.difference(&before).copied().collect(),
            closed: before.difference(&after).copied().collect(),
            environments: routes.keys().cloned().collect(),
        })
    }

    /// The container as it must be. Ports that it publishes and nobody needs any more stay until another one is needed,
    /// because taking them away would end everybody's connections.
    pub(super) fn spec(&self, wanted: &Configuration, settings: &Settings, image: &str) -> ContainerSpec {
        let needed = wanted.published();
        let enough = needed.iter().all(|port| settings.published.contains(port));
        let ports = if enough { settings.published.clone() } else { needed };
        spec(&self.names, image, self.mode, ports)
    }

    /// Whether a container is of the same image and publishes what is needed.
    pub(super) fn serves_as(&self, spec: &ContainerSpec, there: Option<&ContainerFacts>) -> bool {
        there.is_some_and(|there| {
            let published = spec.ports.iter().all(|port| there.ports.contains(port));
            there.image == spec.image && (self.mode == EdgeMode::HostNetwork || published)
        })
    }

    /// Starts the container with a configuration of its statistics alone, and changes that to the one of `routes`: what it
    /// may use can be asked of it only while it runs, and everything that follows is a change like any other.
    async fn start_with(
        &self,
        spec: &ContainerSpec,
        found: &Found,
        routes: &BTreeMap<EnvName, Routes>,
        environment: &EnvName,
        settings: &Settings,
    ) -> Result<(), HaproxyError> {
        let rendered = render(&decide(&BTreeMap::new(), &self.settings(None)));
        self.start(spec, &rendered.text, &rendered.revision).await?;
        let files = found
            .files
            .iter()
            .map(|(path, text)| (path.clone(), text.clone().into_bytes()));
        let mut files: BTreeMap<String, Vec<u8>> = files.collect();
        files.insert(CONFIGURATION.to_owned(), rendered.text.into_bytes());
        let started = Found::new(None, true, files);
        self.change(&started, routes, environment, settings, false)
            .await
            .map(drop)
    }

    async fn start(&self, spec: &ContainerSpec, configuration: &str, revision: &str) -> Result<(), HaproxyError> {
        let name = &self.names.container;
        let file = File::new(format!("{DIRECTORY}/{CONFIGURATION}"), configuration);
        // Before the one that is there is taken away.
        self.engine.ensure_image(&spec.image, |_| {}).await?;
        self.engine
            .ensure_volume(&self.names.volume, &labels::of(None, "volume"))
            .await?;
        let there = self.engine.container(name).await?;
        if there.is_some() && compare(spec, there.as_ref()) != ContainerChange::Replace {
            // It may be starting over and over with a file that it cannot use.
            self.engine.stop_container(name, 2).await?;
            self.engine.put_files(name, std::slice::from_ref(&file)).await?;
        }
        let put = || async { self.engine.put_files(name, std::slice::from_ref(&file)).await };
        let started = self.engine.ensure_container(spec, put).await;
        if started.is_ok() && self.confirm(revision, None).await {
            return Ok(());
        }
        let log = self.engine.last_log_lines(name, 5).await;
        // What does not start would be started again and again by the engine.
        self.engine.remove_container(name).await?;
        started?;
        Err(HaproxyError::Start {
            container: name.clone(),
            message: reload::cause(&log).unwrap_or_else(|| "it does not answer".to_owned()),
        })
    }

    /// After a container could not be made: the one that was there, with the routes that it served. Failing at that changes
    /// nothing of what is reported.
    async fn restore(&self, found: &Found, environment: &EnvName) {
        let (Some(there), Ok(routes)) = (&found.container, found.stored(None)) else {
            return;
        };
        if routes.is_empty() {
            return;
        }
        let spec = spec(&self.names, &there.image, self.mode, there.ports.clone());
        let mut settings = self.settings(None);
        settings.published.clone_from(&there.ports);
        if let Err(error) = self.start_with(&spec, found, &routes, environment, &settings).await {
            tracing::warn!(%error, "HAProxy could not be brought back to what it served before");
        }
    }

    /// Settings that do not depend on what the machine gives, or those that are served.
    pub(super) fn settings(&self, served: Option<&Configuration>) -> Settings {
        Settings {
            limits: served.map_or(Limits::new(0, 1), |served| served.limits),
            prometheus: served.is_some_and(|served| served.prometheus),
            statistics: self.statistics,
            mode: self.mode,
            published: Vec::new(),
        }
    }

    async fn refuse_ports_in_use(
        &self,
        new: impl Iterator<Item = &SocketAddr>,
        statistics: bool,
    ) -> Result<(), HaproxyError> {
        // A port that HAProxy cannot bind at a reload makes it pause all others for two seconds while it tries again; so
        // this is looked at before.
        let wanted: Vec<Wanted> = new
            .copied()
            .chain(statistics.then_some(self.statistics()))
            .map(|address| Wanted {
                address,
                protocol: Protocol::Tcp,
            })
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let containers = self.engine.containers(&BTreeMap::new()).await?;
        let mut ours = BTreeSet::from([self.names.container.clone()]);
        let own = containers
            .iter()
            .find(|container| container.name == self.names.container);
        ours.extend(own.map(|container| container.id.clone()));
        let conflicts = portcheck::check(&wanted, &containers, &ours);
        if conflicts.is_empty() {
            Ok(())
        } else {
            Err(HaproxyError::PortsInUse { conflicts })
        }
    }
}

/// The image to run. Environments that share HAProxy may name different versions of it: the newer one serves all, because each
/// change between them ends everybody's connections.
pub(super) fn image<'a>(there: Option<&'a ContainerFacts>, wanted: &'a str, shared: bool) -> &'a str {
    let version = |image: &'a str| -> Option<(&'a str, Version)> {
        let (repository, tag) = image.rsplit_once(':')?;
        Some((repository, tag.parse().ok()?))
    };
    let Some(there) = there.filter(|_| shared) else {
        return wanted;
    };
    match (version(&there.image), version(wanted)) {
        (Some((repository, had)), Some((same, asked))) if repository == same && had > asked => &there.image,
        _ => wanted,
    }
}

#[cfg(test)]
mod tests {
    use loko_engine::ContainerState;

    use super::*;

    #[test]
    fn of_two_versions_that_environments_name_the_newer_serves() {
        let there = |image: &str| ContainerFacts {
            id: "1".to_owned(),
            name: "loko-haproxy".to_owned(),
            image: image.to_owned(),
            image_id: String::new(),
            state: ContainerState::Running,
            started_at: String::new(),
            labels: BTreeMap::new(),
            addresses: BTreeMap::new(),
            ports: Vec::new(),
        };
        for (had, asked, shared, runs) in [
            ("haproxy:3.3.6", "haproxy:3.0.11", true, "haproxy:3.3.6"),
            ("haproxy:3.0.11", "haproxy:3.3.6", true, "haproxy:3.3.6"),
            ("haproxy:3.3.6", "haproxy:3.0.11", false, "haproxy:3.0.11"),
            ("haproxy:3.3.6", "mirror/haproxy:3.0.11", true, "mirror/haproxy:3.0.11"),
            ("haproxy:latest", "haproxy:3.0.11", true, "haproxy:3.0.11"),
        ] {
            assert_eq!(image(Some(&there(had)), asked, shared), runs, "{had}, {asked}");
        }
        assert_eq!(image(None, "haproxy:3.0.11", true), "haproxy:3.0.11");
    }
}
