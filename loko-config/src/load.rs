//! Text → [`Environment`], or every problem in it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU16;

use crate::mask::Mask;
use crate::model::{Environment, Protocol};
use crate::names::{Domain, EnvName, WorkloadName};
use crate::problem::{Cause, Problem, Problems, Severity, Span};
use crate::raw::RawFile;
use crate::read::{Cx, Field as _};
use crate::show::Shown;
use crate::yaml::{self, Node};
use crate::{resolve, rules};

/// What loading may know of the world. The default knows nothing, and then checks nothing of it.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// What messages call the text. Empty: `loko.yaml`.
    pub file_name: String,
    /// For `${env:NAME}`.
    pub environment_variables: BTreeMap<String, String>,
    /// Every address of this host. `network.ip` outside of it is a warning. None: not checked. Addresses of the
    /// loopback network always count as this host's.
    pub host_addresses: Option<BTreeSet<IpAddr>>,
    /// The domains of the machine's other environments; an equal one is a problem. An entry of this environment's own
    /// name is ignored.
    pub other_domains: BTreeMap<EnvName, Domain>,
    /// The catalogue's entries with their own ports. A `workloads.system` name outside of it is a problem, and the
    /// ports count for clashes. None: not checked.
    pub catalogue: Option<BTreeMap<WorkloadName, Vec<(NonZeroU16, Protocol)>>>,
    /// The directory of the file: relative paths of `cluster` are relative to it. None: they stay as they are.
    pub directory: Option<String>,
    /// Whether warnings stop the load.
    pub strict: bool,
}

/// A file that means something.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What it means.
    pub environment: Environment,
    /// What its author may not want, in the order of the file.
    pub warnings: Vec<Problem>,
    raw: Box<RawFile>,
    text: String,
}

impl Loaded {
    /// The file with every default filled in, and where each value comes from.
    #[must_use]
    pub fn shown(&self) -> Shown {
        Shown::new(self.raw.shown(), &self.text)
    }
}

/// Reads and checks a whole file.
///
/// Errors: every problem in it (warnings among them), in the order of the file.
///
/// ```
/// use loko_config::{LoadOptions, load};
///
/// let loaded = load("name: dev\nnetwork: {domain: shop.test}\n", &LoadOptions::default()).unwrap();
/// assert_eq!(loaded.environment.registry_host(), "cr.shop.test");
///
/// let problems = load("name: dev\nnetwork: {domian: shop.test}\n", &LoadOptions::default()).unwrap_err();
/// let problem = &problems.list()[0];
/// assert_eq!(problem.code(), "loko::config::unknown_key");
/// assert_eq!((problem.position.line, problem.position.column), (2, 11));
/// assert!(problem.help().unwrap().starts_with("did you mean `domain`?"));
/// ```
pub fn load(text: &str, options: &LoadOptions) -> Result<Loaded, Problems> {
    let file_name = match options.file_name.as_str() {
        "" => "loko.yaml",
        name => name,
    };
    let parsed = yaml::parse(text);
    let mut cx = Cx::new(text, parsed.root.as_ref());
    let stop = parsed.issues.iter().find(|issue| issue.cause.stops_reading());
    let stop = stop.map(|issue| (issue.span.start, issue.cause.clone()));
    for issue in parsed.issues {
        cx.report(Severity::Error, issue.span, issue.also, issue.cause);
    }
    let environment = match stop {
        Some((end, Cause::Syntax { .. } | Cause::Tab {})) => {
            read_before(parsed.root.as_ref(), text, end, &mut cx);
            None
        }
        // Nobody wrote such a file by hand.
        Some(_) => None,
        None => read(parsed.root.as_ref(), options, &mut cx),
    };
    let problems = cx.into_problems();
    let stops = |problem: &Problem| options.strict || problem.severity == Severity::Error;
    match environment {
        Some((environment, raw)) if !problems.iter().any(stops) => Ok(Loaded {
            environment,
            warnings: without_secrets(text, problems),
            raw: Box::new(raw),
            text: text.to_owned(),
        }),
        Some(_) | None => Err(Problems::new(file_name, text, problems)),
    }
}

fn without_secrets(text: &str, problems: Vec<Problem>) -> Vec<Problem> {
    if problems.is_empty() {
        return problems;
    }
    let mask = Mask::of(text);
    problems.into_iter().map(|problem| mask.problem(problem)).collect()
}

/// [`load`] for the bytes of a file: bytes that are no UTF-8 are a problem like any other. A byte order mark is
/// skipped.
pub fn load_bytes(bytes: &[u8], options: &LoadOptions) -> Result<Loaded, Problems> {
    match std::str::from_utf8(bytes) {
        Ok(text) => load(text, options),
        Err(error) => {
            let offset = error.valid_up_to();
            let text = String::from_utf8_lossy(bytes);
            let mut cx = Cx::new(&text, None);
            let byte = bytes.get(offset).copied().unwrap_or_default();
            // Before `offset` the lossy text has the same bytes.
            cx.error(Span::new(offset, offset), Cause::NotUtf8 { byte, offset });
            let file_name = if options.file_name.is_empty() {
                "loko.yaml"
            } else {
                &options.file_name
            };
            Err(Problems::new(file_name, &text, cx.into_problems()))
        }
    }
}

/// Reports what is wrong with single keys and values of a file that could be read up to a byte only. What must hold for the
/// whole file cannot be told of half of it: the `name` may stand below. The last two lines are not judged either, because
/// what breaks a file often stands above the place where it shows.
fn read_before(root: Option<&Node>, text: &str, end: usize, cx: &mut Cx<'_>) {
    let Some(root) = root else { return };
    let before = text.get(..end).unwrap_or_default();
    let Some(line) = before.rfind('\n') else { return };
    let judged = before[..line].rfind('\n').map_or(0, |at| at + 1);
    let mut half = Cx::new(text, Some(root));
    RawFile::read(unwrapped(root, &mut half), &mut half);
    for problem in half.into_problems() {
        let of_the_whole = matches!(
            problem.cause,
            Cause::MissingKey { .. } | Cause::NoValue { .. } | Cause::TooManyProblems { .. }
        );
        if problem.span.end <= judged && !of_the_whole {
            let also = problem.also.map(|(span, _)| span);
            cx.report(problem.severity, problem.span, also, problem.cause);
        }
    }
}

fn read(root: Option<&Node>, options: &LoadOptions, cx: &mut Cx<'_>) -> Option<(Environment, RawFile)> {
    let empty = yaml::Node::empty();
    let root = root.unwrap_or(&empty);
    let mut raw = RawFile::read(unwrapped(root, cx), cx)?;
    raw.settle();
    let resolved = resolve::resolve(&raw, options, cx);
    rules::check(&raw, &resolved, options, cx);
    Some((resolved.into_environment(), raw))
}

/// An older generation wrapped everything in one key. Its contents are read in its place, so that one load names everything
/// there is to change.
fn unwrapped<'n>(root: &'n Node, cx: &mut Cx<'_>) -> &'n Node {
    match root.get("environment") {
        Some(entry) if root.get("name").is_none() => {
            let cause = Cause::RenamedKey {
                key: entry.key.clone(),
                place: "its contents stand at the top level".to_owned(),
            };
            cx.error(entry.key_span, cause);
            &entry.value
        }
        Some(_) | None => root,
    }
}
