//! The one place that talks to an engine. Every method says in its error what it was doing.

mod containers;
mod convert;
mod exec;
mod files;
mod images;
mod networks;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker};
use tokio::sync::RwLock;

pub use containers::LogOptions;
pub use exec::{ExecOutput, ExecSpec};
pub use files::File;

use crate::edge::EngineFacts;
use crate::error::{EngineError, with_causes};

/// Seconds after which a request that should answer at once is given up; streams have no limit.
const REQUEST_SECONDS: u64 = 120;

/// A connection to an engine; cheap to clone.
#[derive(Clone)]
pub struct Engine {
    docker: Docker,
    facts: Arc<EngineFacts>,
    /// Read while a container is being made.
    making: Arc<RwLock<()>>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("endpoint", &self.facts.endpoint)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Connects to `endpoint` ([`crate::endpoint::resolve`]) and asks what it is.
    pub async fn connect(endpoint: &str) -> Result<Self, EngineError> {
        let unreachable = |source: bollard::errors::Error| EngineError::Unreachable {
            endpoint: endpoint.to_owned(),
            source: Box::new(source),
        };
        let docker = match endpoint.split_once("://") {
            Some(("unix", _)) => Docker::connect_with_unix(endpoint, REQUEST_SECONDS, API_DEFAULT_VERSION),
            Some(("tcp" | "http", _)) => Docker::connect_with_http(endpoint, REQUEST_SECONDS, API_DEFAULT_VERSION),
            _ => {
                return Err(EngineError::Endpoint {
                    endpoint: endpoint.to_owned(),
                });
            }
        }
        .map_err(unreachable)?;
        let docker = docker.negotiate_version().await.map_err(unreachable)?;
        let (version, info) = tokio::try_join!(docker.version(), docker.info()).map_err(unreachable)?;
        let facts = Arc::new(convert::engine_facts(endpoint, version, info));
        Ok(Self {
            docker,
            facts,
            making: Arc::default(),
        })
    }

    /// What the engine said of itself when it was connected to.
    #[must_use]
    pub fn facts(&self) -> &EngineFacts {
        &self.facts
    }
}

/// Puts what was being done in front of what bollard says.
fn refused(action: impl Into<String>) -> impl FnOnce(bollard::errors::Error) -> EngineError {
    let action = action.into();
    move |error| {
        if let bollard::errors::Error::DockerResponseServerError { status_code, message } = error {
            return EngineError::Refused {
                action,
                status: status_code,
                message,
            };
        }
        EngineError::Refused {
            action,
            status: 0,
            message: with_causes(&error),
        }
    }
}

/// Turns "not there" into `None`.
fn optional<T>(result: Result<T, EngineError>) -> Result<Option<T>, EngineError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Gives up on something after a limit.
async fn within<T>(
    limit: Duration,
    action: &str,
    work: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(EngineError::Timeout {
            action: action.to_owned(),
            seconds: limit.as_secs(),
        }),
    }
}
