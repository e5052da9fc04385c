//! Editing a loko.yaml without losing a byte.
//!
//! ```text
//! text ─ parse ─→ tree with places ─ plan(edit) ─→ bytes to replace ─ splice ─→ new text
//!                      │                                                          │
//!                      └─ the same edit on the values ─→ wanted values ══ equal? ═ values of the new text
//! ```
//!
//! Comments, quotes, order and line ends stay as they are; only the bytes that must change do. The new text is read
//! back, and its values must be those of the old text with the edit applied: where the two differ (an anchor in the
//! way, an unusual layout), nothing is given back but an error.
//!
//! Removing an entry of a list removes the lines of the entry and the comment lines directly above it that stand at its
//! own indentation: such a comment speaks of the entry. A comment that a blank line separates stays.

mod ops;
mod path;
mod place;
mod wanted;

use miette::Diagnostic;
use serde_json::Value as Json;
use thiserror::Error;

use crate::load::{LoadOptions, load};
use crate::names::WorkloadName;
use crate::problem::{Problems, Span};
use crate::yaml;

pub use path::{PathStep, parse_path};

/// Which list of workloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkloadList {
    /// `workloads.system`.
    System,
    /// `workloads.user`.
    User,
}

impl WorkloadList {
    /// The key.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
        }
    }
}

/// What to change.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// Gives a scalar a value; missing keys on the way to it are added.
    Set {
        /// `components.haproxy.version`, `workloads.user[0].image` or `workloads.user[shop].image`.
        path: String,
        /// As the user typed it: quotes are added where the key takes a text that YAML would read otherwise.
        value: String,
    },
    /// Sets `enabled` of a workload.
    Enable {
        /// Which.
        workload: WorkloadName,
        /// `false` disables.
        enabled: bool,
    },
    /// Appends a workload.
    AddWorkload {
        /// Where.
        list: WorkloadList,
        /// Its keys and values in the order in which they are to stand; the first should be `name`.
        fields: Vec<(String, Json)>,
    },
    /// Removes a workload.
    RemoveWorkload {
        /// Which.
        workload: WorkloadName,
    },
    /// Appends an entry to `workloads.helm-repositories`.
    AddRepository {
        /// Its name.
        name: WorkloadName,
        /// Its address.
        url: String,
    },
    /// Removes an entry of `workloads.helm-repositories`.
    RemoveRepository {
        /// Which.
        name: WorkloadName,
    },
}

/// Bytes of the old text and what stands there in the new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// In the old text.
    pub span: Span,
    /// What comes there.
    pub new: String,
}

/// An edited text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// The whole new text.
    pub text: String,
    /// What changed, in the order of the text. Empty where everything was so already.
    pub changes: Vec<Change>,
}

/// Why nothing was edited.
#[derive(Debug, Clone, PartialEq, Error, Diagnostic)]
#[non_exhaustive]
pub enum EditError {
    /// The text is no sound YAML, so there is nothing to hold on to.
    #[error("the file cannot be edited before it can be read")]
    #[diagnostic(code(loko::config::edit::unreadable), help("mend these first"))]
    Unreadable {
        /// What is wrong with it.
        #[related]
        problems: [Problems; 1],
    },
    /// A path that is none.
    #[error("`{path}` is no path: {reason}")]
    #[diagnostic(
        code(loko::config::edit::bad_path),
        help(
            "write keys with dots between them, as in `components.haproxy.version`; an entry of a list is `workloads.user[0]` or `workloads.user[shop]`"
        )
    )]
    BadPath {
        /// As it was given.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A path that leads to no key of loko.yaml.
    #[error("there is no key `{key}` in {place}")]
    #[diagnostic(code(loko::config::edit::unknown_path), help("{remedy}"))]
    UnknownPath {
        /// The key.
        key: String,
        /// Where it was looked for.
        place: String,
        /// The near miss, or what there is.
        remedy: String,
    },
    /// A path to a whole map or list.
    #[error("`{path}` is {what}, not a single value")]
    #[diagnostic(code(loko::config::edit::not_scalar), help("set the keys in it one by one"))]
    NotScalar {
        /// The path.
        path: String,
        /// "a map".
        what: String,
    },
    /// No such workload or repository.
    #[error("there is no {what} `{name}` in the file")]
    #[diagnostic(code(loko::config::edit::not_found), help("{remedy}"))]
    NotFound {
        /// "workload".
        what: &'static str,
        /// Its name.
        name: String,
        /// The near miss, or what there is.
        remedy: String,
    },
    /// There is one of that name.
    #[error("there is a {what} `{name}` in the file already")]
    #[diagnostic(code(loko::config::edit::exists), help("change it by `set`, or remove it first"))]
    Exists {
        /// "workload".
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The place is written once and used twice.
    #[error("`{path}` is an alias or a merged value, so a change would reach further than it")]
    #[diagnostic(
        code(loko::config::edit::shared),
        help("change the anchored value by hand, or write the value out here")
    )]
    Shared {
        /// The path.
        path: String,
    },
    /// The new text does not mean what was meant.
    #[error("the layout of the file around `{path}` is one that this edit cannot keep")]
    #[diagnostic(
        code(loko::config::edit::layout),
        help("make this change by hand; nothing was written")
    )]
    Layout {
        /// The path.
        path: String,
    },
    /// The new text is YAML, but no loko.yaml, and the old one was.
    #[error("after this change the file would be wrong")]
    #[diagnostic(code(loko::config::edit::problems), help("nothing was written"))]
    Problems {
        /// What would be wrong, in the new text.
        #[related]
        problems: [Problems; 1],
    },
}

/// Edits a text. `options` are those of [`load`], by which the result is checked; where the old text did not load
/// either, the new one need not.
///
/// ```
/// use loko_config::{LoadOptions, edit::{Edit, edit}};
///
/// let text = "name: dev # mine\nnetwork: {domain: dev.test}\n";
/// let set = Edit::Set { path: "network.domain".into(), value: "shop.test".into() };
/// let edited = edit(text, &set, &LoadOptions::default()).unwrap();
/// assert_eq!(edited.text, "name: dev # mine\nnetwork: {domain: shop.test}\n");
/// ```
pub fn edit(text: &str, edit: &Edit, options: &LoadOptions) -> Result<Edited, EditError> {
    let unreadable = |problems: Vec<_>| EditError::Unreadable {
        problems: [Problems::new(file_name(options), text, problems)],
    };
    let parsed = yaml::parse(text);
    if !parsed.issues.is_empty() {
        let mut cx = crate::read::Cx::new(text, parsed.root.as_ref());
        for issue in parsed.issues {
            cx.report(crate::problem::Severity::Error, issue.span, issue.also, issue.cause);
        }
        return Err(unreadable(cx.into_problems()));
    }
    let root = parsed.root.unwrap_or_else(yaml::Node::empty);
    let plan = ops::plan(text, &root, edit)?;
    let new = splice(text, &plan.changes);
    let layout = || EditError::Layout {
        path: plan.path.clone(),
    };
    let reparsed = yaml::parse(&new);
    let new_root = reparsed.root.unwrap_or_else(yaml::Node::empty);
    if !reparsed.issues.is_empty() || wanted::values(&new_root) != plan.wanted {
        return Err(layout());
    }
    if let Err(problems) = load(&new, options)
        && load(text, options).is_ok()
    {
        return Err(EditError::Problems { problems: [problems] });
    }
    Ok(Edited {
        text: new,
        changes: plan.changes,
    })
}

fn file_name(options: &LoadOptions) -> &str {
    if options.file_name.is_empty() {
        "loko.yaml"
    } else {
        &options.file_name
    }
}

/// Replaces spans, which do not overlap and are in order.
pub(crate) fn splice(text: &str, changes: &[Change]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for change in changes {
        out.push_str(text.get(at..change.span.start).unwrap_or_default());
        out.push_str(&change.new);
        at = change.span.end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}
