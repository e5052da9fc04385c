//! The kinds of problem. A variant's fields are what a test or a tool would match on.

use miette::Diagnostic;
use thiserror::Error;

/// What is wrong. The message is a lowercase fragment; the diagnostic's code is stable and its help says what to do.
#[derive(Debug, Clone, PartialEq, Eq, Error, Diagnostic)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the message of each variant names its fields")]
pub enum Cause {
    // The text itself.
    /// More text than is read.
    #[error("the file has {bytes} bytes; at most {max} are read")]
    #[diagnostic(code(loko::config::too_large), help("check that this is the file you meant"))]
    TooLarge { bytes: usize, max: usize },
    /// Bytes that are no UTF-8.
    #[error("the file is not UTF-8: byte {byte:#04x} at offset {offset}")]
    #[diagnostic(code(loko::config::not_utf8), help("save the file as UTF-8"))]
    NotUtf8 { byte: u8, offset: usize },
    /// No YAML.
    #[error("this is not YAML: {message}")]
    #[diagnostic(
        code(loko::config::syntax),
        help("check indentation, quotes and brackets here and on the line above; what follows was not read")
    )]
    Syntax { message: String },
    /// A tab where YAML wants spaces.
    #[error("a tab stands where YAML allows spaces only")]
    #[diagnostic(
        code(loko::config::tab),
        help("indent with spaces, two for each level; what follows was not read")
    )]
    Tab {},
    /// Too many levels.
    #[error("the nesting is deeper than {max} levels")]
    #[diagnostic(
        code(loko::config::too_deep),
        help("no key of loko.yaml lies that deep; check the indentation")
    )]
    TooDeep { max: usize },
    /// Aliases that multiply ("billion laughs").
    #[error("aliases (`*name`) in this file copy more than {max} values")]
    #[diagnostic(
        code(loko::config::too_many_copies),
        help("write the values out, or refer to smaller anchors")
    )]
    TooManyCopies { max: usize },
    /// `*name` without `&name`.
    #[error("no anchor `&{name}` stands before this alias")]
    #[diagnostic(
        code(loko::config::unknown_anchor),
        help("define it above with `&{name}`, or quote the text if a `*` was meant")
    )]
    UnknownAnchor { name: String },
    /// An alias inside its own anchor.
    #[error("this alias is part of its own anchor")]
    #[diagnostic(code(loko::config::recursive_anchor), help("write the value out"))]
    RecursiveAnchor {},
    /// `<<` with something that is no map.
    #[error("`<<` merges maps, but this is {found}")]
    #[diagnostic(code(loko::config::bad_merge), help("write `<<: *name` where `&name` marks a map"))]
    BadMerge { found: String },
    /// `!tag`.
    #[error("the tag `{tag}` means nothing here")]
    #[diagnostic(
        code(loko::config::unknown_tag),
        help("remove it; quote the text if a `!` was meant")
    )]
    UnknownTag { tag: String },
    /// A second `---`.
    #[error("a second document starts here; one file describes one environment")]
    #[diagnostic(
        code(loko::config::second_document),
        help("move it to a file of its own and name that with `-c`")
    )]
    SecondDocument {},
    /// A key that is a list or map.
    #[error("a key must be a text")]
    #[diagnostic(
        code(loko::config::key_not_text),
        help("quote it if brackets or braces were meant as text")
    )]
    KeyNotText {},
    /// A key twice in one map.
    #[error("the key `{key}` stands twice in this map")]
    #[diagnostic(code(loko::config::duplicate_key), help("remove one of the two"))]
    DuplicateKey { key: String },
    /// More problems than are listed.
    #[error("{count} more problems are not listed")]
    #[diagnostic(code(loko::config::too_many_problems), help("mend those above first"))]
    TooManyProblems { count: usize },

    // Keys and kinds of values.
    /// A key that is not in the schema.
    #[error("unknown key `{key}`")]
    #[diagnostic(code(loko::config::unknown_key), help("{remedy}"))]
    UnknownKey {
        key: String,
        near: Option<String>,
        remedy: String,
    },
    /// A key of an older generation that has a new place.
    #[error("the key `{key}` has a new place: {place}")]
    #[diagnostic(code(loko::config::renamed_key), help("move the value there"))]
    RenamedKey { key: String, place: String },
    /// A key of an older generation that means nothing any more.
    #[error("the key `{key}` is gone: {why}")]
    #[diagnostic(code(loko::config::removed_key), help("remove it"))]
    RemovedKey { key: String, why: String },
    /// A key that must be there.
    #[error("the key `{key}` is missing")]
    #[diagnostic(code(loko::config::missing_key), help("add `{key}`: {wanted}"))]
    MissingKey { key: String, wanted: String },
    /// A value of the wrong kind.
    #[error("found {found}; wanted: {wanted}")]
    #[diagnostic(code(loko::config::wrong_kind), help("{remedy}"))]
    WrongKind {
        found: String,
        wanted: String,
        remedy: String,
    },
    /// A key without a value.
    #[error("the key has no value")]
    #[diagnostic(
        code(loko::config::no_value),
        help("wanted: {wanted}\nor remove the key, where it has a default")
    )]
    NoValue { wanted: String },
    /// `yes`, `no`, `on`, `off`, `y`, `n`.
    #[error("`{found}` is a text in YAML 1.2, not a boolean")]
    #[diagnostic(code(loko::config::not_a_boolean), help("write `{instead}`"))]
    NotABoolean { found: String, instead: &'static str },
    /// A text that YAML (or an older YAML) reads as something else.
    #[error("without quotes YAML reads `{found}` as {read_as}")]
    #[diagnostic(code(loko::config::needs_quotes), help("write \"{found}\""))]
    NeedsQuotes { found: String, read_as: &'static str },
    /// `08080`, `0o120`, `0x50`.
    #[error("`{found}` looks like an octal or hexadecimal number")]
    #[diagnostic(
        code(loko::config::octal),
        help("write it as a plain decimal number; readers of YAML disagree about anything else")
    )]
    Octal { found: String },
    /// A number outside its range.
    #[error("{found} is out of range: {wanted}")]
    #[diagnostic(code(loko::config::out_of_range), help("{remedy}"))]
    OutOfRange {
        found: String,
        wanted: String,
        remedy: String,
    },
    /// A word that is none of a fixed set.
    #[error("`{found}` is not one of {allowed}")]
    #[diagnostic(code(loko::config::unknown_value), help("{remedy}"))]
    UnknownValue {
        found: String,
        allowed: String,
        remedy: String,
    },
    /// A text that breaks the rule of its kind.
    #[error("`{found}` {reason}")]
    #[diagnostic(code(loko::config::bad_value), help("wanted: {wanted}"))]
    BadValue {
        found: String,
        reason: String,
        wanted: String,
    },

    // Variables in workloads.
    /// `${NAME}` that does not exist.
    #[error("unknown variable `${{{name}}}`")]
    #[diagnostic(code(loko::config::unknown_variable), help("{remedy}"))]
    UnknownVariable { name: String, remedy: String },
    /// `${` that is no variable.
    #[error("`{found}` is no variable: {reason}")]
    #[diagnostic(
        code(loko::config::bad_variable),
        help("write `${{NAME}}`, `${{env:NAME}}` or `${{env:NAME:-default}}`; `$$` is a dollar")
    )]
    BadVariable { found: String, reason: String },
    /// `${env:NAME}` without a value.
    #[error("the environment variable `{name}` is not set")]
    #[diagnostic(
        code(loko::config::unset_variable),
        help("set it, or write a default: `${{env:{name}:-default}}`")
    )]
    UnsetVariable { name: String },
    /// A variable that is known later than this value is needed.
    #[error("`${{{name}}}` is known only when the environment runs, and this value is needed before")]
    #[diagnostic(
        code(loko::config::late_variable),
        help("use a name under the domain instead, or set `network.ip` to an address and write that")
    )]
    LateVariable { name: String },

    // Rules over several keys.
    /// One port of the host wanted twice.
    #[error("{protocol} port {port} on the host is wanted by {one} and by {other}")]
    #[diagnostic(code(loko::config::port_clash), help("{remedy}"))]
    PortClash {
        port: u16,
        protocol: &'static str,
        one: String,
        other: String,
        remedy: String,
    },
    /// Two things of one name.
    #[error("the name `{name}` is given to two {what}")]
    #[diagnostic(code(loko::config::duplicate_name), help("give one of them another name"))]
    DuplicateName { name: String, what: &'static str },
    /// One host name for two workloads or components.
    #[error("the host `{host}` belongs to {one} and to {other}")]
    #[diagnostic(
        code(loko::config::duplicate_host),
        help("give one of them another host, or another name")
    )]
    DuplicateHost { host: String, one: String, other: String },
    /// A value that says the same as another, twice in a list.
    #[error("`{found}` stands twice in this list")]
    #[diagnostic(code(loko::config::duplicate_entry), help("remove one of the two"))]
    DuplicateEntry { found: String },
    /// A reference to nothing.
    #[error("there is no {what} `{name}`")]
    #[diagnostic(code(loko::config::unknown_reference), help("{remedy}"))]
    UnknownReference {
        what: &'static str,
        name: String,
        near: Option<String>,
        remedy: String,
    },
    /// Workloads that wait for each other.
    #[error("`depends-on` goes in a circle: {cycle}")]
    #[diagnostic(code(loko::config::dependency_cycle), help("remove one of these dependencies"))]
    DependencyCycle { cycle: String },
    /// A dependency that will never be ready.
    #[error("`{name}` is disabled, so nothing can wait for it")]
    #[diagnostic(
        code(loko::config::disabled_dependency),
        help("enable it, or remove the dependency; as it stands the dependency is ignored")
    )]
    DisabledDependency { name: String },
    /// A host that our DNS does not answer for.
    #[error("the host `{host}` is not under the domain `{domain}`")]
    #[diagnostic(
        code(loko::config::host_outside_domain),
        help(
            "loko's DNS and certificate cover names under the domain only: make this name resolve yourself, or use `<name>.${{LOKO_DOMAIN}}`"
        )
    )]
    HostOutsideDomain { host: String, domain: String },
    /// A host deeper than the wildcard certificate reaches, or equal to the domain, is fine; this one is not ours to take.
    #[error("the host `{host}` is {owner}'s")]
    #[diagnostic(code(loko::config::reserved_host), help("choose another host"))]
    ReservedHost { host: String, owner: String },
    /// Isolation that leaves no node.
    #[error("no node may run workloads: {reason}")]
    #[diagnostic(
        code(loko::config::nowhere_to_schedule),
        help("add a worker, or set `cluster.nodes.scheduling.control-plane.allow-workloads: true`")
    )]
    NowhereToSchedule { reason: String },
    /// Two subnets that share addresses.
    #[error("{one} {one_net} and {other} {other_net} overlap")]
    #[diagnostic(code(loko::config::subnet_overlap), help("choose subnets that share no address"))]
    SubnetOverlap {
        one: &'static str,
        one_net: String,
        other: &'static str,
        other_net: String,
    },
    /// More ports than Traefik's pool has slots.
    #[error("{count} {protocol} ports are wanted; an environment has {max}")]
    #[diagnostic(
        code(loko::config::too_many_ports),
        help("disable workloads, or split them over two environments")
    )]
    TooManyPorts {
        count: usize,
        protocol: &'static str,
        max: usize,
    },
    /// One switch in two places with two positions.
    #[error("`{one}` and `{other}` disagree")]
    #[diagnostic(code(loko::config::disagreement), help("set one of them, or both to the same"))]
    Disagreement { one: &'static str, other: &'static str },
    /// A setting that has no effect as things are.
    #[error("this has no effect: {reason}")]
    #[diagnostic(code(loko::config::no_effect), help("{remedy}"))]
    NoEffect { reason: String, remedy: String },
    /// A domain that this machine serves already.
    #[error("the domain `{domain}` is taken by the environment `{environment}`")]
    #[diagnostic(
        code(loko::config::domain_taken),
        help("choose another one; a name under it is fine, because the longest suffix wins")
    )]
    DomainTaken { domain: String, environment: String },
    /// A domain that cannot work.
    #[error("the domain `{domain}` cannot be used: {reason}")]
    #[diagnostic(
        code(loko::config::bad_domain),
        help("choose one under `.test` or `.internal`, for example `dev.test`")
    )]
    BadDomain { domain: String, reason: String },
    /// A domain that exists.
    #[error("`{domain}` lies under the real top-level domain `.{tld}`")]
    #[diagnostic(
        code(loko::config::real_domain),
        help(
            "on this machine its real names become unreachable; make sure that it is yours, or use `.test` or `.internal`"
        )
    )]
    RealDomain { domain: String, tld: String },
    /// An address of another machine.
    #[error("{address} is not an address of this host")]
    #[diagnostic(code(loko::config::foreign_address), help("{remedy}"))]
    ForeignAddress { address: String, remedy: String },
    /// An address on which nothing can listen for this purpose.
    #[error("{address} cannot be used: {reason}")]
    #[diagnostic(
        code(loko::config::bad_address),
        help("use `auto`, `lan`, or one address of this host")
    )]
    BadAddress { address: String, reason: &'static str },
    /// Kubernetes older than we can start.
    #[error("Kubernetes {found} is older than 1.31")]
    #[diagnostic(
        code(loko::config::old_kubernetes),
        help(
            "use a node image of 1.31 or newer: loko writes kubeadm's v1beta4 configuration, which older ones do not read"
        )
    )]
    OldKubernetes { found: String },
    /// A workload that is neither image nor chart, or both.
    #[error("the workload `{name}` has {found}")]
    #[diagnostic(
        code(loko::config::workload_source),
        help(
            "give it one of `image` (a container) or `config.chart` (a Helm chart); entries of the catalogue stand under `workloads.system`"
        )
    )]
    WorkloadSource { name: String, found: &'static str },
    /// A key that belongs to workloads of another kind.
    #[error("`{key}` belongs to workloads made from {owner}")]
    #[diagnostic(code(loko::config::misplaced_key), help("{remedy}"))]
    MisplacedKey {
        key: String,
        owner: &'static str,
        remedy: String,
    },
}

impl Cause {
    /// Whether the rest of the file was not read.
    pub(crate) fn stops_reading(&self) -> bool {
        matches!(
            self,
            Self::TooLarge { .. }
                | Self::NotUtf8 { .. }
                | Self::Syntax { .. }
                | Self::Tab {}
                | Self::TooDeep { .. }
                | Self::TooManyCopies { .. }
        )
    }
}
