//! What is wrong with a file: each problem with its place, what was found, what is allowed, and what to do.
//!
//! [`Problems`] is a [`miette::Diagnostic`] that holds the text, so a program that wants colours and arrows needs only
//! miette's `fancy` feature; without it, `Display` writes one block of plain text for each problem. Both [`Problem`]
//! and [`Problems`] serialise for machines. None of it shows what stands in the place of a secret.

mod cause;
mod source;

use std::fmt;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};
use serde::{Serialize, Serializer};

use crate::mask::Mask;

pub use cause::Cause;
pub(crate) use source::LineIndex;
pub use source::{Position, Span};

/// Whether a problem stops the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file means nothing until this is mended.
    Error,
    /// The file means something, but perhaps not what its author wants.
    Warning,
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong; carries the values of its message.
    pub cause: Cause,
    /// Whether it stops the load.
    pub severity: Severity,
    /// The place as keys and indices: `workloads.user[2].ports[0]`. Empty for the file as a whole.
    pub path: String,
    /// The bytes concerned.
    pub span: Span,
    /// Where `span` starts, as an editor counts.
    pub position: Position,
    /// The other half of a problem of two places, for example the first of two equal names.
    pub also: Option<(Span, Position)>,
}

impl Problem {
    /// Stable, for example `loko::config::unknown_key`.
    #[must_use]
    pub fn code(&self) -> String {
        self.cause.code().map(|code| code.to_string()).unwrap_or_default()
    }

    /// What to do about it, in one or two sentences.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        self.cause.help().map(|help| help.to_string())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.cause.code()
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.cause.help()
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let path = (!self.path.is_empty()).then(|| self.path.clone());
        let here = LabeledSpan::new_primary_with_span(path, self.span);
        let also = self
            .also
            .map(|(span, _)| LabeledSpan::new_with_span(Some("the other one".to_owned()), span));
        Some(Box::new(std::iter::once(here).chain(also)))
    }
}

/// The shape of a problem for machines.
#[derive(Serialize)]
struct Machine<'a> {
    code: String,
    severity: Severity,
    line: usize,
    column: usize,
    offset: usize,
    length: usize,
    path: &'a str,
    message: String,
    help: Option<String>,
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Machine {
            code: self.code(),
            severity: self.severity,
            line: self.position.line,
            column: self.position.column,
            offset: self.span.start,
            length: self.span.len(),
            path: &self.path,
            message: self.to_string(),
            help: self.help(),
        }
        .serialize(serializer)
    }
}

/// Every problem of one file, in the order of the file, warnings among them.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.summary())]
pub struct Problems {
    file: Box<NamedSource<String>>,
    list: Vec<Problem>,
}

impl Problems {
    /// `file_name` is what messages call the text. What stands in the places of secrets is hidden in the text and in
    /// the problems.
    #[must_use]
    pub fn new(file_name: &str, text: &str, list: Vec<Problem>) -> Self {
        let mask = Mask::of(text);
        let mut list: Vec<_> = list.into_iter().map(|problem| mask.problem(problem)).collect();
        list.sort_by_key(|problem| problem.span);
        let file = Box::new(NamedSource::new(file_name, mask.text(text)).with_language("yaml"));
        Self { file, list }
    }

    /// In the order of the file.
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// What messages call the text.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.file.name()
    }

    /// The text that the spans point into: of the same bytes, lines and columns as the file, with secrets hidden.
    #[must_use]
    pub fn text(&self) -> &str {
        self.file.inner()
    }

    /// Plain text for a terminal without colours: for each problem `file:line:column: severity[code]: message`, and
    /// the remedy on lines of its own.
    #[must_use]
    pub fn to_text(&self) -> String {
        render_text(self.file_name(), &self.list)
    }

    fn summary(&self) -> String {
        let errors = self.list.iter().filter(|p| p.severity == Severity::Error).count();
        let warnings = self.list.len() - errors;
        let count = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
        let what = match (errors, warnings) {
            (0, warnings) => count(warnings, "warning"),
            (errors, 0) => count(errors, "error"),
            (errors, warnings) => format!("{} and {}", count(errors, "error"), count(warnings, "warning")),
        };
        format!("{what} in {}", self.file_name())
    }
}

/// [`Problems::to_text`] for a list of one's own, for example the warnings of a file that loaded.
#[must_use]
pub fn render_text(file_name: &str, list: &[Problem]) -> String {
    use fmt::Write as _;
    let mut out = String::new();
    for problem in list {
        let Position { line, column } = problem.position;
        let severity = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let code = problem.code();
        // Writing to a String cannot fail.
        let _ = write!(out, "{file_name}:{line}:{column}: {severity}[{code}]: {problem}");
        if let Some((_, also)) = problem.also {
            let _ = write!(out, " (the other one: line {})", also.line);
        }
        out.push('\n');
        for line in problem.help().unwrap_or_default().lines() {
            let _ = writeln!(out, "  help: {line}");
        }
    }
    out
}

impl fmt::Debug for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Problems")
            .field("file_name", &self.file_name())
            .field("list", &self.list)
            .finish_non_exhaustive()
    }
}

impl Diagnostic for Problems {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new("loko::config"))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self.file.as_ref())
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.list.iter().map(|problem| problem as &dyn Diagnostic)))
    }
}

impl Serialize for Problems {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Whole<'a> {
            file: &'a str,
            problems: &'a [Problem],
        }
        Whole {
            file: self.file_name(),
            problems: &self.list,
        }
        .serialize(serializer)
    }
}
