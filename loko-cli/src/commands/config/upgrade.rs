//! `loko config upgrade`
//!
//! ```text
//! loko.yaml ─ pinned ─→ lookups ─ asked at once, each once ─→ plan ─→ apply ─→ checked ─→ loko.yaml
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use loko_config::versions::{self, Pinned, Plan, Policy};
use loko_registry::driver::Datasources;
use loko_registry::versions::{GITHUB, Lookup, LookupError};
use miette::Diagnostic;
use serde::Serialize;

use crate::args;
use crate::context::{self, Context};
use crate::error::CliError;
use crate::progress::Outcome;
use crate::{find, output, state};

/// How long one answer may take: a registry far away that wants a token, on a bad line.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    file: String,
    /// Whether the file was changed.
    written: bool,
    upgrades: Vec<Change>,
    current: Vec<Newest>,
    unanswered: Vec<Unanswered>,
    /// Comments that lead to nothing.
    ignored: Vec<Ignored>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Newest {
    path: String,
    line: usize,
    version: String,
    source: String,
    /// The newest one of a higher first number, which `--major` would take.
    #[serde(skip_serializing_if = "Option::is_none")]
    major: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Change {
    path: String,
    line: usize,
    old: String,
    new: String,
    source: String,
    /// As for one that is the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    major: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Unanswered {
    path: String,
    line: usize,
    version: String,
    /// Why not.
    reason: String,
    /// What to do.
    help: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Ignored {
    line: usize,
    reason: String,
}

/// What a comment's datasource said.
struct Listed {
    /// Where it was asked.
    source: String,
    versions: Vec<String>,
}

/// Why it said nothing.
struct Failure {
    reason: String,
    help: String,
}

/// By the version's path.
type Answers = BTreeMap<String, Result<Listed, Failure>>;

impl Failure {
    fn of(error: &dyn Diagnostic) -> Self {
        Self {
            reason: error.to_string(),
            help: error.help().map(|help| help.to_string()).unwrap_or_default(),
        }
    }
}

/// Brings the versions of loko.yaml to the newest that there are. What is known is written, also where a source did not
/// answer; that one is named, and the exit code says so.
pub(crate) async fn run(context: &Context, options: &args::Upgrade) -> Result<(), CliError> {
    let source = find::source(&context.global, &context.home)?;
    // A file with problems is mended first: nobody could tell whether the new one is any worse.
    find::load(&source, &context.home, false)?;
    let text = String::from_utf8_lossy(&source.bytes).into_owned();
    let only = options.only.as_deref();
    let (all, _) = versions::pinned(&text);
    let meant: Vec<&Pinned> = all.iter().filter(|it| only.is_none_or(|word| it.is(word))).collect();
    if let (Some(word), true) = (only, meant.is_empty()) {
        return Err(nothing_meant(word, &all));
    }
    let answers = ask(context, &meant).await;
    let policy = Policy { major: options.major };
    let plan = versions::plan(&text, policy, only, |pinned| {
        Some(answers.get(&pinned.path)?.as_ref().ok()?.versions.clone())
    });
    let new = versions::apply(&text, &plan.upgrades);
    let written = !options.dry_run && new != text;
    if written {
        write(context, &source, &new)?;
    }
    let report = report(source.path.as_str(), written, &plan, &answers);
    for ignored in &report.ignored {
        let place = format!("{}:{}", source.path, ignored.line);
        context.progress.say(&format!("warning: {place}: {}", ignored.reason));
    }
    output::formatted(context.global.output, &report, || words(&report, options));
    if report.unanswered.is_empty() {
        return Ok(());
    }
    let help: BTreeSet<&str> = report.unanswered.iter().map(|it| it.help.as_str()).collect();
    let failed = report.unanswered.iter().map(|it| format!("{}: {}", it.path, it.reason));
    Err(CliError::Versions {
        failed: failed.collect(),
        help: help.into_iter().collect::<Vec<_>>().join("\n"),
    })
}

async fn ask(context: &Context, meant: &[&Pinned]) -> Answers {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let github = variable("GITHUB_API_URL").unwrap_or_else(|| GITHUB.to_owned());
    let lookups: BTreeMap<String, _> = meant
        .iter()
        .map(|pinned| (pinned.path.clone(), Lookup::of(&pinned.source, &github)))
        .collect();
    let wanted: BTreeSet<Lookup> = lookups.values().filter_map(|it| it.as_ref().ok().cloned()).collect();
    let datasources = Datasources {
        docker_config: context::docker_config(),
        github_token: variable("GITHUB_TOKEN"),
        github,
        patience: PATIENCE,
    };
    let line = context
        .progress
        .start("versions", &format!("asking at {} places", wanted.len()));
    let lists = datasources.ask(wanted).await;
    line.done(&Outcome::Unchanged);
    let answer = |lookup: Result<Lookup, LookupError>| match lookup {
        Err(error) => Err(Failure::of(&error)),
        Ok(lookup) => match lists.get(&lookup) {
            Some(Ok(versions)) => Ok(Listed {
                source: lookup.to_string(),
                versions: versions.clone(),
            }),
            Some(Err(error)) => Err(Failure::of(error)),
            None => Err(Failure {
                reason: format!("{lookup} was not asked"),
                help: "run it again".to_owned(),
            }),
        },
    };
    lookups
        .into_iter()
        .map(|(path, lookup)| (path, answer(lookup)))
        .collect()
}

/// Writes the new text, where it is still a right one and the old one still stands.
fn write(context: &Context, source: &find::Source, new: &str) -> Result<(), CliError> {
    let changed = find::Source {
        path: source.path.clone(),
        bytes: new.as_bytes().to_vec(),
    };
    find::load(&changed, &context.home, false)?;
    // Asking takes seconds, in which an editor may have saved.
    if state::read(&source.path)?.is_none_or(|now| now.as_bytes() != source.bytes) {
        return Err(CliError::Usage {
            message: format!(
                "{} was changed by somebody else meanwhile; nothing was written",
                source.path
            ),
            help: "run it again".to_owned(),
        });
    }
    state::replace(&source.path, new.as_bytes())
}

fn report(file: &str, written: bool, plan: &Plan, answers: &Answers) -> Report {
    let listed = |pinned: &Pinned, now: &str| {
        let listed = answers.get(&pinned.path).and_then(|answer| answer.as_ref().ok());
        let tags = listed
            .into_iter()
            .flat_map(|listed| listed.versions.iter().map(String::as_str));
        let major = versions::newest(now, tags, Policy { major: true });
        let source = listed.map_or_else(String::new, |listed| listed.source.clone());
        (source, major.map(str::to_owned))
    };
    Report {
        file: file.to_owned(),
        written,
        upgrades: plan
            .upgrades
            .iter()
            .map(|upgrade| {
                let (source, major) = listed(&upgrade.pinned, &upgrade.new);
                Change {
                    path: upgrade.pinned.path.clone(),
                    line: upgrade.pinned.position.line,
                    old: upgrade.pinned.version.clone(),
                    new: upgrade.new.clone(),
                    source,
                    major,
                }
            })
            .collect(),
        current: plan
            .current
            .iter()
            .map(|pinned| {
                let (source, major) = listed(pinned, &pinned.version);
                Newest {
                    path: pinned.path.clone(),
                    line: pinned.position.line,
                    version: pinned.version.clone(),
                    source,
                    major,
                }
            })
            .collect(),
        unanswered: plan
            .unanswered
            .iter()
            .filter_map(|pinned| {
                let failure = answers.get(&pinned.path)?.as_ref().err()?;
                Some(Unanswered {
                    path: pinned.path.clone(),
                    line: pinned.position.line,
                    version: pinned.version.clone(),
                    reason: failure.reason.clone(),
                    help: failure.help.clone(),
                })
            })
            .collect(),
        ignored: plan
            .problems
            .iter()
            .map(|problem| Ignored {
                line: problem.position.line,
                reason: problem.reason.clone(),
            })
            .collect(),
    }
}

fn words(report: &Report, options: &args::Upgrade) -> String {
    let rows = report.upgrades.iter().map(|it| {
        let change = format!("{} → {}", it.old, it.new);
        [it.path.clone(), change, it.source.clone()]
    });
    let mut text = String::new();
    if !report.upgrades.is_empty() {
        text = output::table(["KEY", "VERSION", "LISTED AT"], rows);
        text.push('\n');
    }
    let upgrades = report.upgrades.iter().map(|it| (&it.path, &it.major));
    let current = report.current.iter().map(|it| (&it.path, &it.major));
    for (path, major) in upgrades.chain(current) {
        if let Some(major) = major {
            let _ = writeln!(text, "{path}: there is also {major}, which --major takes");
        }
    }
    let count = report.upgrades.len();
    let versions = if count == 1 {
        "1 version"
    } else {
        &format!("{count} versions")
    };
    let _ = match (count, options.dry_run) {
        (0, _) if report.current.is_empty() => write!(text, "{}: no version could be compared", report.file),
        (0, _) => write!(
            text,
            "{}: nothing newer for {} of its versions",
            report.file,
            report.current.len()
        ),
        (_, true) => write!(text, "{}: {versions} would change", report.file),
        (_, false) => write!(text, "{}: {versions} changed; `loko create` applies it", report.file),
    };
    text
}

fn nothing_meant(word: &str, all: &[Pinned]) -> CliError {
    let paths: Vec<&str> = all.iter().map(|pinned| pinned.path.as_str()).collect();
    CliError::Usage {
        message: format!("`--only {word}` means none of the versions that have a `# renovate:` comment"),
        help: if paths.is_empty() {
            "there is none; `loko config generate` shows where they stand".to_owned()
        } else {
            format!("these have one: {}", paths.join(", "))
        },
    }
}
