//! What stands in the places of secrets is not shown: neither in the excerpt of the file beside a problem, nor in a message.
//!
//! ```text
//! text ─ words ─→ is this the name of a secret? ─┐
//!      ─ tree ──→ places of values (sound YAML) ─┼─→ Mask ─→ text with the same lines and columns, problems without values
//!      ─ lines ─→ rests of lines (broken YAML) ──┘
//! ```
//!
//! An error of loko.yaml ends up on shared screens and in logs of CI, and a typo beside a password is no reason to print
//! the password. Hidden are values of keys that are named like a secret, or nearly so ([`words`]), all of `env` and `files`
//! because a variable may be named anything, what follows `--password` in a command, and the user of a URL. Where the text
//! is no sound YAML it is unknown where a value ends, and more is hidden rather than less ([`lines`]).

mod lines;
mod tree;
mod words;

use crate::problem::{Cause, Problem, Span};
use crate::yaml;

/// Stands in messages for what is not shown.
const HIDDEN: &str = "•••";

/// How a place is hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rule {
    /// A value of `env` or `files`, most of which are no secrets: names of variables in it are shown.
    Mild,
    /// A secret by its name: nothing of it is shown but names of loko's own variables.
    Strict,
}

/// The places of one text that are not shown.
#[derive(Debug, Default)]
pub(crate) struct Mask {
    places: Vec<(Span, Rule)>,
}

impl Mask {
    /// Finds them. Any text will do, also one that is no YAML.
    pub(crate) fn of(text: &str) -> Self {
        let parsed = yaml::parse(text);
        let mut mask = Self::default();
        let tree = tree::Walk::new(text, parsed.root.as_ref());
        if parsed.issues.is_empty() {
            lines::of_sound(text, &tree.keys, &tree.scalars, &mut mask);
        } else {
            // What was read so far is hidden by the tree as well: an alias may bring a secret from a place of another name.
            lines::of_broken(text, &mut mask);
        }
        mask.places.extend(tree.secrets);
        mask.places.sort();
        mask
    }

    fn hide(&mut self, start: usize, end: usize, rule: Rule) {
        if start < end {
            self.places.push((Span::new(start, end), rule));
        }
    }

    /// `text` with every hidden character replaced by one that takes as many bytes and one column, so that places in
    /// the one are places in the other. Line ends and indentation stay.
    pub(crate) fn text(&self, text: &str) -> String {
        let mut shown = String::with_capacity(text.len());
        let mut places = self.places.iter().map(|(span, _)| *span).peekable();
        let mut until = 0;
        let mut indentation = true;
        for (at, c) in text.char_indices() {
            while let Some(span) = places.next_if(|span| span.start <= at) {
                until = until.max(span.end);
            }
            let blank = matches!(c, '\n' | '\r') || (indentation && matches!(c, ' ' | '\t'));
            indentation = c == '\n' || (indentation && blank);
            shown.push(match c.len_utf8() {
                _ if at >= until || blank => c,
                1 => '*',
                2 => '·',
                3 => '•',
                _ => '𐄁',
            });
        }
        shown
    }

    /// `problem` with a message that quotes nothing hidden.
    pub(crate) fn problem(&self, mut problem: Problem) -> Problem {
        let spans = [Some(problem.span), problem.also.map(|(span, _)| span)];
        let Some(rule) = spans.into_iter().flatten().filter_map(|span| self.rule(span)).max() else {
            return problem;
        };
        if let Cause::UnknownKey { key, .. } | Cause::DuplicateKey { key } = &problem.cause {
            let mut end = String::new();
            crate::read::push_key(&mut end, key);
            if let Some(path) = problem.path.strip_suffix(&end) {
                problem.path = path.trim_end_matches('.').to_owned();
            }
        }
        hide(&mut problem.cause, rule);
        problem
    }

    /// The strictest rule of the places that share a byte with `span` or end where it starts.
    fn rule(&self, span: Span) -> Option<Rule> {
        let candidates = &self.places[..self.places.partition_point(|(place, _)| place.start <= span.end)];
        let meets = |place: &Span| place.end >= span.start && (place.start < span.end || span.is_empty());
        candidates
            .iter()
            .filter(|(place, _)| meets(place))
            .map(|(_, rule)| *rule)
            .max()
    }
}

fn hide(cause: &mut Cause, rule: Rule) {
    if let Cause::NotABoolean { found, .. }
    | Cause::NeedsQuotes { found, .. }
    | Cause::Octal { found }
    | Cause::OutOfRange { found, .. }
    | Cause::UnknownValue { found, .. }
    | Cause::BadValue { found, .. }
    | Cause::BadVariable { found, .. }
    | Cause::DuplicateEntry { found }
    | Cause::UnknownAnchor { name: found }
    | Cause::UnknownTag { tag: found }
    | Cause::UnknownKey { key: found, .. }
    | Cause::DuplicateKey { key: found } = cause
    {
        HIDDEN.clone_into(found);
    }
    if let Cause::WrongKind { found, .. } | Cause::BadMerge { found } = cause
        && found.starts_with("the ")
    {
        // A list or a map is not quoted.
        "a value that is not shown".clone_into(found);
    }
    if let Cause::UnknownVariable { name, remedy } = cause {
        let shown = match rule {
            Rule::Mild => name
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'),
            Rule::Strict => name.starts_with("LOKO_"),
        };
        if !shown {
            HIDDEN.clone_into(name);
            // What comes after the list of variables are examples with this name.
            remedy.truncate(remedy.find(';').unwrap_or(remedy.len()));
        }
    }
    if let Cause::Syntax { message } = cause
        && let Some((what, _)) = message.split_once(['\'', '"', '`'])
    {
        // The parser quotes the text after its words.
        *message = format!("{what}{HIDDEN}");
    }
}
