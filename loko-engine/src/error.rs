//! What can go wrong with an engine. Every variant says what was being done, and its help what to do.

use miette::Diagnostic;
use thiserror::Error;

/// Failure of something asked of the engine.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum EngineError {
    /// Nothing answers there.
    #[error("no container engine answers at {endpoint}")]
    #[diagnostic(
        code(loko::engine::unreachable),
        help(
            "start Docker (`sudo systemctl start docker`, Docker Desktop, `colima start`), or point DOCKER_HOST at the engine; a permission error means your user is not in the group `docker`"
        )
    )]
    Unreachable {
        /// Where it was looked for.
        endpoint: String,
        /// What the connection said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The endpoint is of a kind that is not spoken.
    #[error("the endpoint {endpoint} is neither unix:// nor tcp:// without TLS")]
    #[diagnostic(
        code(loko::engine::endpoint),
        help(
            "forward the engine's socket: `ssh -nNT -L /tmp/docker.sock:/var/run/docker.sock host`, then DOCKER_HOST=unix:///tmp/docker.sock"
        )
    )]
    Endpoint {
        /// The endpoint.
        endpoint: String,
    },
    /// The engine refused a request.
    #[error("failed to {action}: {message}")]
    #[diagnostic(code(loko::engine::refused))]
    Refused {
        /// What was asked, for example `create the container loko-haproxy`.
        action: String,
        /// HTTP status, 0 where the connection itself failed.
        status: u16,
        /// The engine's own words.
        message: String,
    },
    /// An image is neither there nor to be had.
    #[error("the image {image} is not on the engine and could not be pulled: {message}")]
    #[diagnostic(
        code(loko::engine::image),
        help("check the name and tag in loko.yaml and the network, or bring it by hand: `docker pull {image}`")
    )]
    Image {
        /// The reference.
        image: String,
        /// The engine's own words.
        message: String,
    },
    /// A command inside a container failed.
    #[error("`{command}` in {container} ended with {code}: {output}")]
    #[diagnostic(code(loko::engine::command))]
    Command {
        /// The container.
        container: String,
        /// The command line.
        command: String,
        /// Its exit code.
        code: i64,
        /// The end of what it printed.
        output: String,
    },
    /// What was to be sent could not be read on this side.
    #[error("what goes into {into} cannot be read")]
    #[diagnostic(code(loko::engine::input))]
    Input {
        /// `the engine`, or a container.
        into: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A name is taken by something that is not ours.
    #[error("the {kind} {name} exists and is not LoKO's")]
    #[diagnostic(
        code(loko::engine::foreign),
        help("rename or remove it, or name the environment differently")
    )]
    Foreign {
        /// `container`, `network`, `volume`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// No subnet is free.
    #[error("no free subnet was found for the network {network}")]
    #[diagnostic(
        code(loko::engine::subnet),
        help("`docker network prune` frees subnets that nothing uses")
    )]
    NoSubnet {
        /// The network.
        network: String,
    },
    /// Something took longer than its limit.
    #[error("{action} took longer than {seconds} s")]
    #[diagnostic(code(loko::engine::timeout))]
    Timeout {
        /// What was waited for.
        action: String,
        /// The limit, in seconds.
        seconds: u64,
    },
}

impl EngineError {
    /// Whether the engine said that the thing is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Whether the engine said that the thing is there already, or in use.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status: 409, .. })
    }
}

/// An error and what caused it, outermost first, in one line: `a: b: c`. A cause whose words are there already is left out.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |cause| cause.source()) {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
    }
    text
}

/// The words of what lies at the bottom of an error: `Connection refused (os error 111)`.
#[must_use]
pub fn root_cause(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .last()
        .map_or_else(String::new, ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::{EngineError, root_cause, with_causes};

    #[test]
    fn causes_are_told_once_each() {
        let error = |source: &str| EngineError::Unreachable {
            endpoint: "unix:///run/docker.sock".to_owned(),
            source: source.into(),
        };
        let said = "no container engine answers at unix:///run/docker.sock";
        assert_eq!(with_causes(&error("no such file")), format!("{said}: no such file"));
        assert_eq!(with_causes(&error("no container engine")), said);
        assert_eq!(root_cause(&error("no such file")), "no such file");
    }
}
