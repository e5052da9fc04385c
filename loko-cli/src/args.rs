//! The command line: every word of it, parsed into values.

use std::num::NonZeroU16;

use camino::Utf8PathBuf;
use clap::{Args, Parser, Subcommand, ValueEnum};
use loko_config::names::{Domain, EnvName, ImageRef, WorkloadName};

/// One loko.yaml, and a whole Kubernetes platform stands on your machine.
#[derive(Debug, Parser)]
#[command(
    name = "loko",
    version,
    about,
    max_term_width = 100,
    arg_required_else_help = true,
    after_long_help = crate::exit::HELP
)]
pub(crate) struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// The loko.yaml; default: the one here or in the nearest directory above
    #[arg(short, long, value_name = "FILE", global = true, env = "LOKO_CONFIG")]
    pub(crate) config: Option<Utf8PathBuf>,
    /// The environment, by name, as it was last applied
    #[arg(
        short,
        long,
        value_name = "NAME",
        global = true,
        env = "LOKO_ENV",
        conflicts_with = "config"
    )]
    pub(crate) env: Option<String>,
    /// How data is printed; with json, progress is one JSON object a line on standard error
    #[arg(short, long, value_name = "FORMAT", global = true, value_enum, default_value_t = Format::Text)]
    pub(crate) output: Format,
    /// Print no progress
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Print what is done in detail (-v, -vv)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to use color
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub(crate) color: Color,
    /// Answer every question with yes
    #[arg(short, long, global = true)]
    pub(crate) yes: bool,
    /// Where LoKO keeps its files; default: ~/.loko
    #[arg(long, value_name = "DIR", global = true, env = "LOKO_HOME", hide = true)]
    pub(crate) home: Option<Utf8PathBuf>,
}

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For machines
    Json,
    /// For both
    Yaml,
}

/// When to use color.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Bring the environment up, or to what loko.yaml says now
    Create(Create),
    /// Show what `create` would change, and what each change costs; exit code 1 where something differs
    Diff(Diff),
    /// Take everything of the environment away; the images of its registry stay unless --purge
    Destroy(Destroy),
    /// Make the nodes anew; the workloads' data and the registry's images stay
    Recreate(Recreate),
    /// Start what `stop` stopped
    Start,
    /// Stop the nodes and free the host's ports; everything is kept
    Stop,
    /// Stop, then start
    Restart,
    /// Show what runs and what does not; exit code 3 where something is down
    Status,
    /// Show the log of a component (dns, tunnel, ingress, registry, metrics) or of a workload
    Logs(Logs),
    /// Workloads: list, add, remove, enable, disable, how they are and how to connect
    #[command(subcommand)]
    Workloads(Workloads),
    /// What can be added by name
    #[command(subcommand)]
    Catalog(Catalog),
    /// Passwords and keys of workloads
    #[command(subcommand)]
    Secrets(Secrets),
    /// DNS of the environment
    #[command(subcommand)]
    Dns(Dns),
    /// The machine's authority and the environment's certificate
    #[command(subcommand)]
    Certs(Certs),
    /// The registry: what is in it, put something there, take something away
    #[command(subcommand)]
    Registry(crate::commands::registry::Registry),
    /// Show the ports of the host that lead into the cluster, or bring them to what loko.yaml says
    #[command(subcommand)]
    Tunnel(Tunnel),
    /// Make, check and show loko.yaml
    #[command(subcommand)]
    Config(Config),
    /// Work with environments
    #[command(subcommand)]
    Env(Env),
    /// Test a running environment: HTTPS, TCP, UDP, names, the registry, metrics; exit code 3 where one fails, 5 for DNS
    #[command(visible_alias = "selftest")]
    Validate,
    /// What an environment needs of images, known before it starts
    #[command(subcommand)]
    Images(Images),
    /// All images of an environment in one file, for machines that reach no registry
    #[command(subcommand)]
    Bundle(crate::commands::bundle::Bundle),
    /// Look for what an environment would fail on here, or suffer from: what, why it matters, the command that mends it
    Doctor,
    /// Print the completions of a shell
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page in roff
    #[command(hide = true)]
    Man,
    /// Print the version of LoKO and of the engine
    Version,
}

/// Options of `create`.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Create {
    /// Without metrics-server, whatever loko.yaml says
    #[arg(long)]
    pub(crate) disable_metrics_server: bool,
    /// Without the registry, whatever loko.yaml says
    #[arg(long)]
    pub(crate) disable_registry: bool,
    /// Print what would be done, and do nothing; with `-o yaml` the Kubernetes objects
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Make the nodes anew; the workloads' data and the registry's images stay
    #[arg(long)]
    pub(crate) recreate: bool,
    /// With --recreate: the workloads' data and the registry's images go as well
    #[arg(long, requires = "recreate")]
    pub(crate) purge: bool,
    /// Leave what was made when the first create fails
    #[arg(long)]
    pub(crate) keep: bool,
    /// Take images from this file, which `bundle save` made, and from no registry
    #[arg(long, value_name = "FILE")]
    pub(crate) bundle: Option<Utf8PathBuf>,
    /// Leave the user's kubeconfig alone
    #[arg(long)]
    pub(crate) no_kubeconfig: bool,
    /// Leave this host's resolver alone
    #[arg(long)]
    pub(crate) no_resolver: bool,
}

/// Options of `diff`.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Diff {
    /// As with `create --no-kubeconfig`
    #[arg(long)]
    pub(crate) no_kubeconfig: bool,
    /// As with `create --no-resolver`
    #[arg(long)]
    pub(crate) no_resolver: bool,
}

/// Options of `recreate`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Recreate {
    /// The workloads' data and the registry's images go as well
    #[arg(long)]
    pub(crate) purge: bool,
    /// Take images from this file, which `bundle save` made, and from no registry
    #[arg(long, value_name = "FILE")]
    pub(crate) bundle: Option<Utf8PathBuf>,
    /// Leave the user's kubeconfig alone
    #[arg(long)]
    pub(crate) no_kubeconfig: bool,
    /// Leave this host's resolver alone
    #[arg(long)]
    pub(crate) no_resolver: bool,
}

/// Options of `destroy`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Destroy {
    /// The registry's images as well, which stay otherwise where loko.yaml has a registry
    #[arg(long)]
    pub(crate) purge: bool,
}

/// Options of `logs`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Logs {
    /// dns, tunnel, ingress, registry, metrics, or the name of a workload
    #[arg(value_name = "COMPONENT|WORKLOAD")]
    pub(crate) of: String,
    /// Go on as more is written
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the last lines
    #[arg(long, value_name = "LINES")]
    pub(crate) tail: Option<u32>,
    /// Only what is younger: 90s, 10m, 2h
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    pub(crate) since: Option<u32>,
}

/// Options of `config validate`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Validate {
    /// Warnings are problems
    #[arg(long)]
    pub(crate) strict: bool,
}

/// Options of `config upgrade`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Upgrade {
    /// Print what would change, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Only what is meant by this: `haproxy`, `components.haproxy.version`, `ghcr.io/me/shop`
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Option<String>,
    /// Also versions whose first number is higher
    #[arg(long)]
    pub(crate) major: bool,
}

/// `loko config …`
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Check loko.yaml and name every problem in it
    Validate(Validate),
    /// Print a commented loko.yaml with every key and its default
    Generate {
        /// The environment's name
        #[arg(long, default_value = "dev")]
        name: EnvName,
        /// The domain, where not the default
        #[arg(long)]
        domain: Option<Domain>,
        /// Only the keys that are needed
        #[arg(long)]
        minimal: bool,
    },
    /// Set a value of loko.yaml and leave every other byte: `config set components.haproxy.version 3.3.7`
    Set {
        /// `network.domain`, `workloads.user[shop].image`
        path: String,
        /// The value
        value: String,
    },
    /// Take the newest versions of what a `# renovate:` comment says where to look for; exit code 1 where one did not answer
    Upgrade(Upgrade),
    /// Print the JSON Schema of loko.yaml, for an editor to complete and check it with
    Schema,
    /// Print a page that explains every key
    Reference,
    /// Ask whether every name resolves, here and in pods, and why not; exit code 5 where one does not
    DnsCheck,
    /// Print the configuration with every default
    Show,
    /// Ask whether the ports that loko.yaml wants are free, and who has them
    PortCheck,
}

/// `loko tunnel …`
#[derive(Debug, Subcommand)]
pub(crate) enum Tunnel {
    /// Show each port with its route, health and traffic; exit code 3 where one is down
    Status,
    /// Bring HAProxy and the UDP relay to what loko.yaml says, and nothing else
    Sync,
}

/// `loko workloads …`
#[derive(Debug, Subcommand)]
pub(crate) enum Workloads {
    /// List the workloads of loko.yaml
    List,
    /// Add an entry of the catalogue, or an image, to loko.yaml
    Add(WorkloadAdd),
    /// Take a workload out of loko.yaml; asks about its data
    Remove(WorkloadRemove),
    /// Switch a workload on
    Enable {
        /// Its name
        name: WorkloadName,
        /// Bring the environment to it at once
        #[arg(long)]
        now: bool,
    },
    /// Switch a workload off
    Disable {
        /// Its name
        name: WorkloadName,
        /// Bring the environment to it at once
        #[arg(long)]
        now: bool,
    },
    /// Show where a workload is reached, as whom, and what goes well with it
    Info {
        /// Its name
        name: WorkloadName,
        /// With passwords
        #[arg(long)]
        reveal: bool,
    },
    /// Open the client that belongs to a workload (psql, valkey-cli, …); without a terminal, print how to connect
    Connect {
        /// Its name
        name: WorkloadName,
        /// Print how to connect, password included
        #[arg(long)]
        print: bool,
    },
    /// Bring the environment to loko.yaml: what `undeploy` took away comes back
    Deploy {
        /// A workload that must be in it
        name: Option<WorkloadName>,
    },
    /// Take a workload out of the cluster; loko.yaml, its data and its secrets stay, and the next `create` brings it back
    Undeploy {
        /// Its name
        name: WorkloadName,
    },
    /// Show every way in, from the host and inside the cluster
    Endpoints {
        /// Only those of one workload
        name: Option<WorkloadName>,
    },
    /// Ask whether workloads are ready, and whether every way in answers; exit code 4 where one is down
    Health {
        /// Only one workload
        name: Option<WorkloadName>,
    },
}

/// Options of `workloads remove`.
#[derive(Debug, Clone, Args)]
pub(crate) struct WorkloadRemove {
    /// Its name
    pub(crate) name: WorkloadName,
    /// Bring the environment to it at once
    #[arg(long)]
    pub(crate) now: bool,
    /// And take its data and its secrets away, at once and for good
    #[arg(long, conflicts_with = "keep_data")]
    pub(crate) data: bool,
    /// Keep its data and its secrets, without a question
    #[arg(long)]
    pub(crate) keep_data: bool,
}

/// Options of `workloads add`.
#[derive(Debug, Clone, Args)]
pub(crate) struct WorkloadAdd {
    /// Its name; without `--image` also that of the catalogue's entry
    pub(crate) name: WorkloadName,
    /// An image instead of an entry of the catalogue
    #[arg(long)]
    pub(crate) image: Option<ImageRef>,
    /// The port of its web pages or API
    #[arg(long, requires = "image", value_name = "PORT")]
    pub(crate) http: Option<NonZeroU16>,
    /// Ports on the host: 5432, 53/udp
    #[arg(long = "port", requires = "image", value_name = "PORT")]
    pub(crate) ports: Vec<String>,
    /// Bring the environment to it at once
    #[arg(long)]
    pub(crate) now: bool,
}

/// `loko images …`
#[derive(Debug, Subcommand)]
pub(crate) enum Images {
    /// List every image with what it is for; no engine is asked, and images of charts are not known
    List,
}

/// `loko catalog …`
#[derive(Debug, Subcommand)]
pub(crate) enum Catalog {
    /// List what can be added by name
    List,
    /// Print one entry
    Info {
        /// Its name
        name: String,
    },
}

/// `loko secrets …`
#[derive(Debug, Subcommand)]
pub(crate) enum Secrets {
    /// Show which secrets there are
    Show {
        /// Only those of one workload
        workload: Option<String>,
        /// And what they are
        #[arg(long)]
        reveal: bool,
    },
    /// Make the secrets of a workload anew, and start it again with them
    Rotate {
        /// Its name
        workload: WorkloadName,
    },
}

/// `loko dns …`
#[derive(Debug, Subcommand)]
pub(crate) enum Dns {
    /// Show the zone, its server, and how this host's resolver is told of it
    Status,
    /// Take over the host names of `Ingress` and `IngressRoute` objects in the cluster
    Sync,
    /// Tell this host's resolver of the domain; needs root
    Set,
    /// Take back what was told this host's resolver
    Unset,
}

/// `loko certs …`
#[derive(Debug, Subcommand)]
pub(crate) enum Certs {
    /// Show the authority and the certificate: names, validity, fingerprint
    Show,
    /// Issue the certificate anew; the authority stays
    Renew,
    /// Make this host, and its Docker for the registry, trust the authority; needs root
    Trust,
    /// Take that back; needs root
    Untrust,
}

/// `loko env …`
#[derive(Debug, Subcommand)]
pub(crate) enum Env {
    /// List the environments of this host
    List,
    /// Choose the environment of commands that name none
    Use {
        /// Its name; none: choose none
        name: Option<String>,
    },
}

/// `90s`, `10m`, `2h`, `1d` or plain seconds.
fn parse_age(text: &str) -> Result<u32, String> {
    let (number, unit) = match text.char_indices().next_back() {
        Some((index, 's')) => (&text[..index], 1),
        Some((index, 'm')) => (&text[..index], 60),
        Some((index, 'h')) => (&text[..index], 3600),
        Some((index, 'd')) => (&text[..index], 86_400),
        _ => (text, 1),
    };
    number
        .parse::<u32>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(|| "write an age as 90s, 10m, 2h or 1d".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn ages_are_read_with_their_unit() {
        assert_eq!(parse_age("90"), Ok(90));
        assert_eq!(parse_age("10m"), Ok(600));
        assert_eq!(parse_age("2h"), Ok(7200));
        assert!(parse_age("soon").is_err());
        assert!(parse_age("99999999999d").is_err());
    }
}
