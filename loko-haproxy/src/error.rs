//! What can go wrong at the edge.

use loko_config::names::EnvName;
use loko_engine::EngineError;
use miette::Diagnostic;
use thiserror::Error;

use crate::portcheck;
use crate::routes::Conflict;

/// Failure of a change at the edge. Unless it says otherwise, everything serves as it did before.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum HaproxyError {
    /// Another environment has what this one asks for.
    #[error("the environment {environment} asks for what another has")]
    #[diagnostic(code(loko::haproxy::conflicts))]
    Conflicts {
        /// Who asks.
        environment: EnvName,
        /// Every case.
        #[related]
        conflicts: Vec<Conflict>,
    },
    /// Somebody else listens where HAProxy should.
    #[error("ports that the edge needs are in use")]
    #[diagnostic(
        code(loko::haproxy::in_use),
        help(
            "stop what uses them, or choose others: `network.lb-ports` and `network.port-overrides`, or an address of its own, `network.ip: 127.0.0.2`"
        )
    )]
    PortsInUse {
        /// Every case.
        #[related]
        conflicts: Vec<portcheck::Conflict>,
    },
    /// HAProxy does not take the configuration.
    #[error("HAProxy refuses the new configuration: {message}")]
    #[diagnostic(
        code(loko::haproxy::refused),
        help("the configuration of before still serves; a version of HAProxy other than 3.0 to 3.3 may be the cause")
    )]
    Refused {
        /// HAProxy's own line.
        message: String,
    },
    /// The new process did not take over.
    #[error("HAProxy did not take over the new configuration: {message}")]
    #[diagnostic(
        code(loko::haproxy::reload),
        help("the configuration of before serves again; `docker logs {container}` tells more")
    )]
    Reload {
        /// HAProxy's container.
        container: String,
        /// HAProxy's own line.
        message: String,
    },
    /// The container did not come up.
    #[error("HAProxy did not start: {message}")]
    #[diagnostic(code(loko::haproxy::start), help("`docker logs {container}` tells more"))]
    Start {
        /// HAProxy's container.
        container: String,
        /// The end of its log.
        message: String,
    },
    /// Others changed it at the same time, again and again.
    #[error("HAProxy's configuration was changed by others meanwhile, {times} times in a row")]
    #[diagnostic(
        code(loko::haproxy::contended),
        help("run it again once they are done; what they made serves")
    )]
    Contended {
        /// How often it was begun anew.
        times: u32,
    },
    /// The routes of an environment cannot be read back.
    #[error("the stored routes of the environment {environment} are not readable: {message}")]
    #[diagnostic(
        code(loko::haproxy::stored),
        help("another version of LoKO may have written them; run `loko tunnel sync -e {environment}` with this one")
    )]
    Stored {
        /// Whose they are.
        environment: EnvName,
        /// What is wrong.
        message: String,
    },
    /// The engine.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Engine(#[from] EngineError),
}
