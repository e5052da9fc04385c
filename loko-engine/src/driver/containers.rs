//! Containers: look, make, start, stop, remove, read logs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bollard::query_parameters::{
    CreateContainerOptionsBuilder, EventsOptionsBuilder, KillContainerOptionsBuilder, ListContainersOptionsBuilder,
    LogsOptionsBuilder, RemoveContainerOptionsBuilder, StopContainerOptionsBuilder,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};

use super::{Engine, convert, optional, refused};
use crate::container::{ContainerChange, ContainerFacts, ContainerSpec, compare};
use crate::error::EngineError;
use crate::labels;

/// How long a name may be taken by a container that is being made or removed.
const NAME_LIMIT: Duration = Duration::from_secs(20);
/// Pause before a name is asked for again.
const NAME_AGAIN: Duration = Duration::from_millis(100);

/// What to read of a container's log.
#[derive(Debug, Clone, Default)]
pub struct LogOptions {
    /// Go on as more is written.
    pub follow: bool,
    /// Only the last lines; `None`: all.
    pub tail: Option<u32>,
    /// Only what was written since this Unix time, in seconds; 0: all.
    pub since: i32,
    /// A time in front of each line.
    pub timestamps: bool,
}

impl Engine {
    /// All containers, whatever they are doing, that carry every one of `labels` (an empty value: any).
    pub async fn containers(&self, labels: &BTreeMap<String, String>) -> Result<Vec<ContainerFacts>, EngineError> {
        let wanted: Vec<String> = labels
            .iter()
            .map(|(k, v)| if v.is_empty() { k.clone() } else { format!("{k}={v}") })
            .collect();
        let filters = HashMap::from([("label".to_owned(), wanted)]);
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&filters)
            .build();
        let list = self
            .docker
            .list_containers(Some(options))
            .await
            .map_err(refused("list containers"))?;
        // The list lacks start times and exit codes; each container is asked, all at once.
        let asked = list
            .into_iter()
            .filter_map(|summary| summary.id)
            .map(|id| async move { self.container(&id).await });
        let found: Vec<Option<ContainerFacts>> = futures_util::future::try_join_all(asked).await?;
        let mut facts: Vec<ContainerFacts> = found.into_iter().flatten().collect();
        facts.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(facts)
    }

    /// The container of that name or id.
    pub async fn container(&self, name: &str) -> Result<Option<ContainerFacts>, EngineError> {
        let found = self.docker.inspect_container(name, None).await;
        Ok(optional(found.map_err(refused(format!("inspect the container {name}"))))?.map(convert::container_facts))
    }

    /// The environment variables that a container was made with, its image's among them; empty where it is not there.
    pub async fn container_env(&self, name: &str) -> Result<BTreeMap<String, String>, EngineError> {
        let found = self.docker.inspect_container(name, None).await;
        let found = optional(found.map_err(refused(format!("inspect the container {name}"))))?;
        let lines = found.and_then(|container| container.config?.env).unwrap_or_default();
        let pair = |line: &String| {
            line.split_once('=')
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
        };
        Ok(lines.iter().filter_map(pair).collect())
    }

    /// Makes a container and does not start it. One of ours that has the name by now was asked for by a command that was killed
    /// before it heard of it: it goes, and this one is made. So call it only with the lock that keeps others away.
    ///
    /// The engine goes on with what it was asked for when nobody waits any more; so does this, and [`Self::settled`] tells when
    /// it has come to its end.
    pub async fn create_container(&self, spec: &ContainerSpec) -> Result<(), EngineError> {
        let making = Arc::clone(&self.making).read_owned().await;
        let (engine, wanted) = (self.clone(), spec.clone());
        let made = tokio::spawn(async move {
            let _making = making;
            engine.create_over_what_was_cut(&wanted).await
        });
        made.await.unwrap_or_else(|error| {
            Err(EngineError::Refused {
                action: format!("create the container {}", spec.name),
                status: 0,
                message: error.to_string(),
            })
        })
    }

    /// Resolves when no container is being made, also none that was asked for by a future which was dropped meanwhile: what is
    /// listed from then on is all that there is.
    pub async fn settled(&self) {
        drop(self.making.write().await);
    }

    async fn create_over_what_was_cut(&self, spec: &ContainerSpec) -> Result<(), EngineError> {
        let started = Instant::now();
        loop {
            match self.create_at_once(spec).await {
                Err(error) if error.is_conflict() && started.elapsed() < NAME_LIMIT => {
                    match self.container(&spec.name).await? {
                        Some(facts) if !has_the_owner_of(&facts, spec) => return Err(error),
                        Some(_) => self.remove_container(&spec.name).await?,
                        // The name is taken first: it is being made, or is on its way out.
                        None => {}
                    }
                    tokio::time::sleep(NAME_AGAIN).await;
                }
                created => return created,
            }
        }
    }

    async fn create_at_once(&self, spec: &ContainerSpec) -> Result<(), EngineError> {
        let options = CreateContainerOptionsBuilder::default().name(&spec.name).build();
        let body = convert::create_body(spec);
        let created = self.docker.create_container(Some(options), body).await;
        created
            .map(drop)
            .map_err(refused(format!("create the container {}", spec.name)))
    }

    /// Starts it; nothing happens where it runs.
    pub async fn start_container(&self, name: &str) -> Result<(), EngineError> {
        self.docker
            .start_container(name, None)
            .await
            .map_err(refused(format!("start the container {name}")))
    }

    /// Stops it by its stop signal, then by SIGKILL after `seconds`; nothing happens where it does not run.
    pub async fn stop_container(&self, name: &str, seconds: i32) -> Result<(), EngineError> {
        let options = StopContainerOptionsBuilder::default().t(seconds).build();
        let stopped = self.docker.stop_container(name, Some(options)).await;
        optional(stopped.map_err(refused(format!("stop the container {name}")))).map(drop)
    }

    /// Removes it with its anonymous volumes, running or not; nothing happens where it is not there.
    pub async fn remove_container(&self, name: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let removed = self.docker.remove_container(name, Some(options)).await;
        match removed.map_err(refused(format!("remove the container {name}"))) {
            // Its removal is already under way.
            Err(error) if error.is_conflict() => Ok(()),
            other => optional(other).map(drop),
        }
    }

    /// Sends a signal, by name (`HUP`, `USR2`), to its first process.
    pub async fn signal_container(&self, name: &str, signal: &str) -> Result<(), EngineError> {
        let options = KillContainerOptionsBuilder::default().signal(signal).build();
        let sent = self.docker.kill_container(name, Some(options)).await;
        sent.map_err(refused(format!("send {signal} to the container {name}")))
    }

    /// Brings a container to what is wanted and says what that took. `before_start` is run on a container that was
    /// just made and does not run yet: the moment to write files into it.
    pub async fn ensure_container<F, Fut>(
        &self,
        spec: &ContainerSpec,
        before_start: F,
    ) -> Result<ContainerChange, EngineError>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<(), EngineError>>,
    {
        let facts = self.container(&spec.name).await?;
        let change = compare(spec, facts.as_ref());
        match change {
            ContainerChange::Nothing => {}
            ContainerChange::Start => self.start_container(&spec.name).await?,
            ContainerChange::Foreign => {
                return Err(EngineError::Foreign {
                    kind: "container",
                    name: spec.name.clone(),
                });
            }
            ContainerChange::Create | ContainerChange::Replace => {
                if change == ContainerChange::Replace {
                    self.remove_container(&spec.name).await?;
                }
                self.ensure_image(&spec.image, |_| {}).await?;
                self.create_container(spec).await?;
                before_start().await?;
                self.start_container(&spec.name).await?;
            }
        }
        Ok(change)
    }

    /// What it printed, both streams in order.
    pub fn logs(
        &self,
        name: &str,
        options: &LogOptions,
    ) -> impl Stream<Item = Result<Bytes, EngineError>> + Send + use<> {
        let tail = options.tail.map_or_else(|| "all".to_owned(), |n| n.to_string());
        let query = LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .follow(options.follow)
            .since(options.since)
            .timestamps(options.timestamps)
            .tail(&tail)
            .build();
        let action = format!("read the log of {name}");
        self.docker
            .logs(name, Some(query))
            .map_ok(bollard::container::LogOutput::into_bytes)
            .map_err(move |error| refused(action.clone())(error))
            .boxed()
    }

    /// The last lines of its log as text, for an error message.
    pub async fn last_log_lines(&self, name: &str, lines: u32) -> String {
        self.log_lines_since(name, lines, 0).await
    }

    /// The same of what was written since a Unix time, in seconds.
    pub async fn log_lines_since(&self, name: &str, lines: u32, since: i32) -> String {
        let options = LogOptions {
            tail: Some(lines),
            since,
            ..LogOptions::default()
        };
        let chunks: Vec<Bytes> = self
            .logs(name, &options)
            .filter_map(|chunk| async { chunk.ok() })
            .collect()
            .await;
        chunks.iter().map(|chunk| String::from_utf8_lossy(chunk)).collect()
    }

    /// Resolves when a container with every one of `labels` stops, starts or goes; the name of what happened comes with
    /// its name. Ends when the connection does.
    pub fn container_events(
        &self,
        labels: &BTreeMap<String, String>,
    ) -> impl Stream<Item = Result<(String, String), EngineError>> + Send + use<> {
        let wanted: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let filters = HashMap::from([
            ("label".to_owned(), wanted),
            ("type".to_owned(), vec!["container".to_owned()]),
        ]);
        let query = EventsOptionsBuilder::default().filters(&filters).build();
        self.docker
            .events(Some(query))
            .map_err(|error| refused("watch the engine's events")(error))
            .try_filter_map(|event| async move {
                let name = event
                    .actor
                    .and_then(|actor| actor.attributes)
                    .and_then(|mut a| a.remove("name"));
                Ok(event.action.zip(name))
            })
            .boxed()
    }
}

/// Whether a container belongs to whom `spec` belongs: with a role, and of the same environment.
fn has_the_owner_of(facts: &ContainerFacts, spec: &ContainerSpec) -> bool {
    let environment = spec.labels.get(labels::ENVIRONMENT).map(String::as_str);
    labels::is_ours(&facts.labels, environment)
}
