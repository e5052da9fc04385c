//! Places of secrets in a tree: the exact bytes of values.

use super::Rule;
use super::words::{holder, secret};
use crate::problem::Span;
use crate::yaml::{Entry, Node, Value};

/// What one walk over a tree finds, each list in the order of the text.
pub(super) struct Walk<'a> {
    text: &'a str,
    /// What is not shown.
    pub(super) secrets: Vec<(Span, Rule)>,
    /// Every key.
    pub(super) keys: Vec<Span>,
    /// Every scalar that is a value.
    pub(super) scalars: Vec<Span>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(text: &'a str, root: Option<&Node>) -> Self {
        let mut walk = Self {
            text,
            secrets: Vec::new(),
            keys: Vec::new(),
            scalars: Vec::new(),
        };
        if let Some(root) = root {
            walk.node(root, None);
        }
        walk.keys.sort();
        walk.scalars.sort();
        walk
    }

    fn node(&mut self, node: &Node, rule: Option<Rule>) {
        match &node.value {
            Value::Scalar(_) => {
                self.scalars.push(node.span);
                self.secrets.extend(rule.map(|rule| (node.span, rule)));
            }
            Value::List(list) => {
                let mut after_flag = false;
                for item in &list.items {
                    self.node(item, if after_flag { Some(Rule::Strict) } else { rule });
                    if after_flag && item.is_null() {
                        self.line(item.span.start);
                    }
                    // `["--password", "…"]`
                    after_flag =
                        scalar(item).is_some_and(|text| text.starts_with('-') && !text.contains('=') && secret(text));
                }
            }
            Value::Map(map) => {
                // `{name: DB_PASSWORD, value: …}`
                let names_secret = ["name", "key"].into_iter().filter_map(|key| node.get(key));
                let names_secret = names_secret.filter_map(|entry| scalar(&entry.value)).any(secret);
                for entry in &map.entries {
                    let own = match (rule, entry.key.as_str()) {
                        (_, "value") if names_secret => Some(Rule::Strict),
                        (Some(Rule::Strict), "username") | (Some(Rule::Mild), "name" | "valueFrom") => None,
                        (_, key) if secret(key) => Some(Rule::Strict),
                        (None, key) if holder(key) => Some(Rule::Mild),
                        (rule, _) => rule,
                    };
                    self.entry(entry, rule, own);
                }
            }
        }
    }

    /// A password that starts with `#` is a comment to YAML, and no value.
    fn line(&mut self, at: usize) {
        let start = self.text[..at].rfind('\n').map_or(0, |line| line + 1);
        let rest = &self.text[start..];
        let end = start + rest.find('\n').unwrap_or(rest.len());
        let dashes = rest.len() - rest.trim_start_matches(['-', ' ', '\t']).len();
        self.secrets.push((Span::new(start + dashes, end), Rule::Strict));
    }

    fn entry(&mut self, entry: &Entry, around: Option<Rule>, rule: Option<Rule>) {
        if entry.key.contains('\n') {
            // Nobody writes such a key: it is a part of the file that became one.
            self.secrets.push((entry.key_span, Rule::Strict));
        }
        self.keys.push(entry.key_span);
        let null = entry.value.is_null();
        if null && around == Some(Rule::Strict) && rule == around && !secret(&entry.key) {
            // `{password: a,b}` is a password `a` and a key `b`.
            self.secrets.push((entry.key_span, Rule::Strict));
        }
        let here = entry.value.span.start >= entry.key_span.end && !entry.merged;
        if let (Some(rule), true, Value::Scalar(_)) = (rule, here, &entry.value.value) {
            // From the colon on: a secret without quotes may look like an anchor, a tag or a comment.
            let after = self.text.get(entry.key_span.end..).unwrap_or_default();
            let value = after.trim_start_matches(|c: char| c.is_whitespace() || c == ':');
            let start = self.text.len() - value.len();
            let same_line = !after[..after.len() - value.len()].contains('\n');
            let end = if !null {
                entry.value.span.end
            } else if value.starts_with(['&', '!', '#']) {
                start + value.find('\n').unwrap_or(value.len())
            } else if same_line {
                start + value.find(['\n', ',', '}', ']']).unwrap_or(value.len())
            } else {
                start
            };
            if start < end {
                self.secrets.push((Span::new(start, end), rule));
            }
        }
        self.node(&entry.value, rule);
    }
}

fn scalar(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Scalar(scalar) => Some(&scalar.text),
        Value::List(_) | Value::Map(_) => None,
    }
}
