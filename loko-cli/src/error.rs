//! Everything that can end a command, and the exit code that it ends with.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use miette::Diagnostic;
use thiserror::Error;

use crate::exit;

/// Why a command failed.
#[derive(Debug, Error, Diagnostic)]
pub(crate) enum CliError {
    /// No loko.yaml was found.
    #[error("no loko.yaml was found in {directory} or above it")]
    #[diagnostic(
        code(loko::no_configuration),
        help(
            "make one with `loko config generate > loko.yaml`, name one with `-c FILE`, or name an environment with `-e NAME`"
        )
    )]
    NoConfiguration {
        /// Where the search began.
        directory: Utf8PathBuf,
    },
    /// An environment was named that does not exist.
    #[error("there is no environment `{name}`")]
    #[diagnostic(code(loko::no_environment), help("{}", known(.others)))]
    NoEnvironment {
        /// The name.
        name: String,
        /// Those that there are.
        others: Vec<String>,
    },
    /// loko.yaml is wrong.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Configuration(#[from] loko_config::Problems),
    /// A variable of a workload has no value.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Expand(#[from] loko_config::ExpandError),
    /// A mirror of the registry cannot be.
    #[error(transparent)]
    #[diagnostic(code(loko::registry::source), help("see `registry.mirroring.sources` in loko.yaml"))]
    RegistrySource(#[from] loko_registry::SourceError),
    /// An authority for nodes.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Authority(#[from] loko_cluster::authorities::AuthorityError),
    /// The catalogue, or a use of it.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Catalogue(#[from] loko_cluster::catalogue::CatalogueError),
    /// The secrets cannot be read or made.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Secrets(#[from] loko_cluster::secrets::SecretsError),
    /// The command line asks for something that cannot be.
    #[error("{message}")]
    #[diagnostic(code(loko::usage), help("{help}"))]
    Usage {
        /// What is wrong.
        message: String,
        /// What to do.
        help: String,
    },
    /// A file could not be read, written or locked.
    #[error("failed to {action} {path}")]
    #[diagnostic(
        code(loko::file),
        help("check that the directory exists, is yours and has room; LOKO_HOME says where LoKO keeps its files")
    )]
    File {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: Utf8PathBuf,
        /// The system's word.
        #[source]
        source: std::io::Error,
    },
    /// The disk that a file is on is full, or the user's share of it.
    #[error("failed to {action} {path}: no space is left on {disk}")]
    #[diagnostic(
        code(loko::disk_full),
        help(
            "`df -h {disk}` shows how full it is: make room there, or keep LoKO's files elsewhere with LOKO_HOME; what was there before is unharmed"
        )
    )]
    DiskFull {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: Utf8PathBuf,
        /// Where the disk is mounted.
        disk: Utf8PathBuf,
    },
    /// A question could not be asked.
    #[error("{question} needs an answer, and there is no terminal")]
    #[diagnostic(code(loko::no_terminal), help("say `--yes` where you mean it"))]
    NoTerminal {
        /// The question.
        question: String,
    },
    /// The user said no.
    #[error("stopped: the answer was no, and nothing was done")]
    #[diagnostic(code(loko::declined))]
    Declined,
    /// The user pressed Ctrl-C, or something sent SIGTERM.
    #[error("stopped; nothing that was done is lost, the same command goes on from here")]
    #[diagnostic(code(loko::interrupted))]
    Interrupted,
    /// Ports are in use.
    #[error("{}", ports(.conflicts))]
    #[diagnostic(
        code(loko::ports),
        help(
            "stop what listens there, or choose others in loko.yaml: `network.lb-ports`, `network.port-overrides`, `network.ip`"
        )
    )]
    Ports {
        /// One sentence for each.
        conflicts: Vec<String>,
    },
    /// This machine cannot run an environment; `doctor` said why.
    #[error("{}", .findings.join("\n"))]
    #[diagnostic(code(loko::unfit), help("{help}"))]
    Unfit {
        /// What is so and why it matters, one for each.
        findings: Vec<String>,
        /// What mends them.
        help: String,
        /// Whether it is the engine that does not answer.
        engine: bool,
    },
    /// The environment is not what the file says, and cannot become it in place.
    #[error("this cannot be changed in place:\n{}", .reasons.join("\n"))]
    #[diagnostic(
        code(loko::needs_recreate),
        help("run `loko create --recreate`, which says what is kept and asks; or take the change back")
    )]
    NeedsRecreate {
        /// One sentence for each change.
        reasons: Vec<String>,
    },
    /// The environment is not what loko.yaml says; the output says what differs.
    #[error("{environment} differs from its loko.yaml in {count} {}", if *.count == 1 { "thing" } else { "things" })]
    #[diagnostic(code(loko::differs), help("`loko create` brings it there"))]
    Differs {
        /// Its name.
        environment: String,
        /// How many changes there are.
        count: usize,
    },
    /// The engine.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Engine(#[from] loko_engine::EngineError),
    /// The cluster.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Cluster(#[from] loko_cluster::ClusterError),
    /// A workload.
    #[error("the workload {name} failed: {reason}")]
    #[diagnostic(code(loko::workload), help("{evidence}"))]
    Workload {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
        /// Conditions, events and last log lines.
        evidence: String,
    },
    /// DNS.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Dns(#[from] loko_dns::DnsError),
    /// A certificate.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Certificate(#[from] loko_cluster::certificates::CertificateError),
    /// The environment is down; `status` said what.
    #[error("{summary}")]
    #[diagnostic(code(loko::down), help("`loko create` mends what it can; `loko logs` shows why"))]
    Down {
        /// One sentence.
        summary: String,
    },
    /// DNS does not do what it should; the output says what.
    #[error("{summary}")]
    #[diagnostic(
        code(loko::dns::down),
        help("`loko config dns-check` says why; `loko create` mends what it can")
    )]
    DnsDown {
        /// One sentence.
        summary: String,
    },
    /// loko.yaml could not be edited.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Edit(#[from] loko_config::edit::EditError),
    /// Some of the places where versions are listed did not answer.
    #[error("{}", sentences(.failed, "some versions could not be looked up"))]
    #[diagnostic(code(loko::versions), help("{help}"))]
    Versions {
        /// One sentence for each.
        failed: Vec<String>,
        /// What to do about them.
        help: String,
    },
    /// The way in does not answer.
    #[error("{url} does not answer: {reason}")]
    #[diagnostic(
        code(loko::unreachable),
        help("`loko status` shows which part is down; `loko logs ingress` and `loko logs tunnel` why")
    )]
    Unreachable {
        /// What was asked.
        url: String,
        /// Why not.
        reason: String,
    },
    /// The registry.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Registry(#[from] loko_registry::driver::ClientError),
    /// A bundle.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Bundle(#[from] loko_registry::driver::BundleFileError),
    /// What only root may do is left to be done.
    #[error("only root may do this:\n{}", .commands.join("\n"))]
    #[diagnostic(
        code(loko::needs_root),
        help("run these lines as they stand, or the same command as root with HOME kept")
    )]
    NeedsRoot {
        /// As a shell takes them.
        commands: Vec<String>,
    },
    /// HAProxy.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Edge(#[from] loko_haproxy::HaproxyError),
}

impl CliError {
    /// What the system says of a file: `action` is a verb, as in "failed to `write` it".
    pub(crate) fn file(action: &'static str, path: &Utf8Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            let disk = crate::state::disk_of(&path);
            return Self::DiskFull { action, path, disk };
        }
        Self::File { action, path, source }
    }

    /// The exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::NoConfiguration { .. }
            | Self::NoEnvironment { .. }
            | Self::Configuration(_)
            | Self::RegistrySource(_)
            | Self::Authority(_)
            | Self::Edit(_)
            | Self::Catalogue(_)
            | Self::Expand(_)
            | Self::Usage { .. } => exit::USAGE,
            Self::File { .. }
            | Self::DiskFull { .. }
            | Self::NoTerminal { .. }
            | Self::Declined
            | Self::Ports { .. }
            | Self::Differs { .. }
            | Self::Edge(_)
            | Self::Bundle(_)
            | Self::Unfit { engine: false, .. }
            | Self::Versions { .. } => exit::OTHER,
            Self::Interrupted => crate::interrupt::code(),
            Self::Registry(error) if error.is_not_found() => exit::OTHER,
            Self::Registry(loko_registry::driver::ClientError::Untrusted { .. }) | Self::NeedsRoot { .. } => {
                exit::CERTIFICATE
            }
            Self::Registry(_) => exit::CLUSTER,
            Self::Cluster(loko_cluster::ClusterError::Engine(_))
            | Self::Engine(_)
            | Self::Unfit { engine: true, .. } => exit::ENGINE,
            Self::Cluster(loko_cluster::ClusterError::Helm(_) | loko_cluster::ClusterError::Chart(_))
            | Self::Workload { .. }
            | Self::Secrets(_) => exit::WORKLOAD,
            Self::NeedsRecreate { .. } | Self::Cluster(_) | Self::Down { .. } | Self::Unreachable { .. } => {
                exit::CLUSTER
            }
            Self::Dns(_) | Self::DnsDown { .. } => exit::DNS,
            Self::Certificate(_) => exit::CERTIFICATE,
        }
    }
}

fn known(names: &[String]) -> String {
    if names.is_empty() {
        "none was created yet".to_owned()
    } else {
        format!("there are: {}", names.join(", "))
    }
}

fn sentences(all: &[String], of: &str) -> String {
    format!("{of}:\n{}", all.join("\n"))
}

fn ports(conflicts: &[String]) -> String {
    conflicts.join("\n")
}
