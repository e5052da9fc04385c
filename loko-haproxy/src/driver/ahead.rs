//! What would be done: the comparison that every change begins with, and nothing after it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use loko_config::names::EnvName;
use loko_engine::container::{ContainerChange, compare};
use loko_engine::{ContainerFacts, ContainerSpec};

use super::bring::image;
use super::{Change, Done, Edge, Found, Relay, Report};
use crate::configuration::{Settings, decide};
use crate::container::CONFIGURATION;
use crate::error::HaproxyError;
use crate::relay;
use crate::render::render;
use crate::routes::Routes;

/// How what was found differs from what serves given routes.
pub(super) struct Difference {
    /// What is served now.
    pub(super) before: BTreeSet<SocketAddr>,
    /// What will be.
    pub(super) after: BTreeSet<SocketAddr>,
    /// Settings of the configuration that is served, or none that depend on the machine.
    pub(super) settings: Settings,
    /// Whether those settings are what the machine gave.
    pub(super) facts_known: bool,
    /// The container as it must be.
    pub(super) spec: ContainerSpec,
    /// What becomes of it.
    pub(super) change: ContainerChange,
    /// Whether it runs and answers.
    pub(super) running: bool,
}

impl Edge {
    /// Compares what was found with what `routes`, of which those of `environment` changed, need.
    pub(super) async fn difference(
        &self,
        found: &Found,
        routes: &BTreeMap<EnvName, Routes>,
        environment: &EnvName,
    ) -> Difference {
        // A file without frontends is the one that a container starts with: what it may use was not asked yet.
        let served = found.configuration().filter(|served| !served.frontends.is_empty());
        let there = found.container.as_ref();
        let running = there.is_some_and(ContainerFacts::is_running) && self.answers().await;
        let before = match &served {
            Some(served) if running => served.listeners(),
            Some(_) | None => BTreeSet::new(),
        };
        let mut settings = self.settings(served.as_ref());
        settings.published = there.map(|there| there.ports.clone()).unwrap_or_default();
        let wanted = decide(routes, &settings);
        let shared = routes.keys().any(|other| other != environment);
        let spec = self.spec(&wanted, &settings, image(there, &self.image, shared));
        let mut change = compare(&spec, there);
        // A newer version describes the same container in other words.
        if change == ContainerChange::Replace && running && found.is_by_newer() && self.serves_as(&spec, there) {
            change = ContainerChange::Nothing;
        }
        Difference {
            before,
            after: wanted.listeners(),
            change,
            spec,
            settings,
            facts_known: served.is_some(),
            running,
        }
    }

    /// What [`Edge::apply`] would do. Nothing is changed.
    pub async fn ahead(&self, change: &Change) -> Result<Report, HaproxyError> {
        let found = self.look().await?;
        let routes = found.with(change)?;
        if routes.is_empty() {
            let there = found.container.is_some() || found.volume;
            let done = if there { Done::Removed } else { Done::Nothing };
            return Ok(found.report_of_removal(done));
        }
        let difference = self.difference(&found, &routes, change.environment()).await;
        let done = match difference.change {
            ContainerChange::Replace => Done::Recreated,
            ContainerChange::Nothing if difference.running => {
                let rendered = render(&decide(&routes, &difference.settings));
                let same = difference.facts_known && found.has(CONFIGURATION, &rendered.text);
                let stored = routes.get(change.environment()).map(serde_yaml::to_string);
                let stored = stored.transpose().ok().flatten();
                let same_routes = found.has_routes(change.environment(), stored.as_ref());
                let is_served = if same {
                    self.serves(&rendered.revision).await
                } else {
                    same_routes && self.is_left_to_newer(&found).await
                };
                if is_served { Done::Nothing } else { Done::Reloaded }
            }
            ContainerChange::Nothing | ContainerChange::Start | ContainerChange::Create | ContainerChange::Foreign => {
                Done::Started
            }
        };
        Ok(Report {
            done,
            opened: difference.after.difference(&difference.before).copied().collect(),
            closed: difference.before.difference(&difference.after).copied().collect(),
            environments: routes.keys().cloned().collect(),
        })
    }
}

impl Relay {
    /// What [`Relay::apply`] would do. Nothing is changed.
    pub async fn ahead(&self, routes: &Routes) -> Result<Done, HaproxyError> {
        let Edge {
            engine,
            mode,
            names,
            statistics,
            ..
        } = &self.edge;
        let spec = relay::spec(routes, &self.image, *mode, names, *statistics);
        let there = engine.container(&relay::container_name(&routes.environment)).await?;
        let Some(spec) = spec else {
            return Ok(if there.is_some() { Done::Removed } else { Done::Nothing });
        };
        let running = there.as_ref().is_some_and(ContainerFacts::is_running);
        Ok(match compare(&spec, there.as_ref()) {
            ContainerChange::Nothing if running => Done::Nothing,
            ContainerChange::Replace => Done::Recreated,
            ContainerChange::Nothing | ContainerChange::Start | ContainerChange::Create | ContainerChange::Foreign => {
                Done::Started
            }
        })
    }
}
