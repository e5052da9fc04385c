//! What can go wrong with names. Messages are fragments; `help` says what to do.

use std::net::IpAddr;
use std::num::NonZeroU16;

use loko_engine::EngineError;
use miette::Diagnostic;
use thiserror::Error;

/// A file that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Error, Diagnostic)]
#[non_exhaustive]
pub enum ParseError {
    /// A line that dnsmasq would not understand.
    #[error("`{line}` is no line of a dnsmasq.conf")]
    #[diagnostic(code(loko::dns::line))]
    Line {
        /// The line, without blanks around it.
        line: String,
    },
    /// An option with a value that it cannot have.
    #[error("`{option}` has the value `{value}`, which cannot be")]
    #[diagnostic(code(loko::dns::value))]
    Value {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
    },
    /// An option that LoKO always writes is not there.
    #[error("`{option}` is missing")]
    #[diagnostic(code(loko::dns::missing))]
    Missing {
        /// The option.
        option: &'static str,
    },
}

/// Failure of something done about names.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum DnsError {
    /// The engine refused.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Engine(#[from] EngineError),
    /// The host's resolver cannot be told.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Resolver(#[from] crate::resolver::ResolverError),
    /// Telling the host's resolver failed.
    #[cfg(feature = "driver")]
    #[error(transparent)]
    #[diagnostic(transparent)]
    Host(#[from] crate::resolver::host::HostError),
    /// dnsmasq refused a configuration before it was put in force; what runs was left as it is.
    #[error("dnsmasq refuses the configuration of {container}: {output}")]
    #[diagnostic(
        code(loko::dns::conf),
        help("the old configuration is still in force; `components.dnsmasq.version` may be too old")
    )]
    Refused {
        /// The container.
        container: String,
        /// What `dnsmasq --test` said.
        output: String,
    },
    /// The container was started and did not stay.
    #[error("dnsmasq does not run in {container}: {log}")]
    #[diagnostic(
        code(loko::dns::start),
        help(
            "`Address already in use`: another program has the port, choose another `network.dns-port`; `Cannot assign requested address`: `network.ip` is not an address of this machine; `failed to create inotify`: raise fs.inotify.max_user_instances"
        )
    )]
    NotRunning {
        /// The container.
        container: String,
        /// The end of what it printed.
        log: String,
    },
    /// The port that loko.yaml asks for is taken.
    #[error("port {port} on {address} is in use")]
    #[diagnostic(
        code(loko::dns::port),
        help("set `network.dns-port` to another port, or to `auto`; `ss -lnptu` names the program that has it")
    )]
    PortInUse {
        /// The address.
        address: IpAddr,
        /// The port.
        port: NonZeroU16,
    },
    /// No port was free.
    #[error("no port between {first} and {last} is free on {address}")]
    #[diagnostic(code(loko::dns::ports), help("set `network.dns-port` to a port that is free"))]
    NoPort {
        /// The address.
        address: IpAddr,
        /// First port that was tried.
        first: u16,
        /// Last port that was tried.
        last: u16,
    },
}
