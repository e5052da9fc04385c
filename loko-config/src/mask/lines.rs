//! Places of secrets by the look of lines: in comments and within texts, and everywhere in what is no sound YAML.

use super::words::{holder, secret};
use super::{Mask, Rule};
use crate::problem::Span;

/// Hides what follows the name of a secret in comments and within `scalars`. `keys` and `scalars` are sorted.
pub(super) fn of_sound(text: &str, keys: &[Span], scalars: &[Span], mask: &mut Mask) {
    for (start, line) in lines(text) {
        for hit in hits(line).filter(|hit| hit.rule == Rule::Strict && hit.spaced) {
            let at = start + hit.name;
            if holding(keys, at).is_some() {
                continue;
            }
            let end = holding(scalars, at).map_or(usize::MAX, |span| span.end);
            mask.hide(start + hit.value, end.min(start + line.len()), Rule::Strict);
        }
    }
    // A file within the file, or keys that became a text because the one above them is gone.
    for scalar in scalars {
        let source = text.get(scalar.start..scalar.end).unwrap_or_default();
        if source.contains('\n') {
            blocks(source, scalar.start, mask);
        }
    }
    users(text, scalars, mask);
}

/// Hides the rest of every line after the name of a secret or of a holder of secrets, and the lines below that belong to
/// it by indentation, an open quote or an open bracket.
pub(super) fn of_broken(text: &str, mask: &mut Mask) {
    blocks(text, 0, mask);
    users(text, &[], mask);
}

/// `offset` is where `part` starts in the whole.
fn blocks(part: &str, offset: usize, mask: &mut Mask) {
    let mut block: Option<Block> = None;
    for (start, line) in lines(part) {
        let start = offset + start;
        let end = start + line.len();
        if line.trim().is_empty() {
            continue;
        }
        if let Some(inside) = block.as_mut() {
            if let Some(from) = inside.takes(line) {
                mask.hide(start + from, end, inside.rule);
                continue;
            }
            block = None;
        }
        if let Some(hit) = hits(line).next() {
            mask.hide(start + hit.value, end, hit.rule);
            block = Some(Block::after(line, &hit));
        }
    }
}

/// What the lines below a hit are measured by.
struct Block {
    rule: Rule,
    /// Columns before the key of the hit.
    base: usize,
    /// There may be keys in what stands below, and they are shown.
    keys: bool,
    /// No line of it was seen.
    first: bool,
    /// A line of it that has a value of its own: what is indented deeper belongs to that.
    inner: Option<usize>,
    /// An open quote.
    quote: Option<char>,
    /// Open brackets.
    open: usize,
}

impl Block {
    fn after(line: &str, hit: &Hit) -> Self {
        let value = line[hit.value..].trim();
        let below = value.is_empty() || value.starts_with('#');
        let mut block = Self {
            rule: hit.rule,
            base: indentation(line).1,
            keys: below && !hit.flag,
            first: below,
            inner: None,
            quote: None,
            open: 0,
        };
        block.quote = value
            .chars()
            .next()
            .filter(|c| matches!(c, '"' | '\'') && value.matches(*c).count() == 1);
        block.brackets(value);
        block
    }

    fn brackets(&mut self, text: &str) {
        let opened = text.matches(['{', '[']).count();
        self.open = (self.open + opened).saturating_sub(text.matches(['}', ']']).count());
    }

    /// Where in `line` the hidden part starts; None where the line does not belong to the block.
    fn takes(&mut self, line: &str) -> Option<usize> {
        let (blanks, base) = indentation(line);
        let key = key_end(line).filter(|_| self.keys);
        if let Some(quote) = self.quote {
            self.quote = Some(quote).filter(|quote| !line.contains(*quote));
            return Some(0);
        }
        let item = blanks >= self.base && self.keys && line[blanks..].starts_with('-');
        let belongs = blanks > self.base || item || self.open > 0 || (self.first && key.is_none());
        if !belongs {
            return None;
        }
        self.first = false;
        self.brackets(line);
        if self.inner.is_some_and(|inner| base > inner) {
            return Some(0);
        }
        self.inner = key.filter(|end| !line[*end..].trim().is_empty()).map(|_| base);
        let value = line[key.unwrap_or(0)..].trim();
        self.quote = value
            .chars()
            .next()
            .filter(|c| matches!(c, '"' | '\'') && value.matches(*c).count() == 1);
        Some(key.unwrap_or(0))
    }
}

/// Columns of white space, and columns before what the line says: dashes of lists count.
fn indentation(line: &str) -> (usize, usize) {
    let blanks = line.len() - line.trim_start().len();
    let content = line.trim_start_matches(|c: char| c.is_whitespace() || c == '-');
    (blanks, line.len() - content.len())
}

/// The byte after the colon of a line that starts with a key.
fn key_end(line: &str) -> Option<usize> {
    let start = indentation(line).1;
    let rest = &line[start..];
    let word = rest.trim_start_matches(|c: char| is_word(c) || matches!(c, '"' | '\'' | ' '));
    let end = line.len() - word.len();
    (end > start && word.starts_with(':')).then_some(end + 1)
}

/// A name with a value after it.
struct Hit {
    rule: Rule,
    /// The first byte of the name.
    name: usize,
    /// The first byte after the separator.
    value: usize,
    /// `--password`, whose value is the next word.
    flag: bool,
    /// The separator is one wherever it stands: `=`, a colon with a space, or the space after a flag.
    spaced: bool,
}

fn hits(line: &str) -> impl Iterator<Item = Hit> + '_ {
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let start = from + line[from..].find(is_word)?;
            let length = line[start..].find(|c| !is_word(c)).unwrap_or(line.len() - start);
            from = start + length;
            if let Some(hit) = hit(line, start, from) {
                return Some(hit);
            }
        }
    })
}

fn hit(line: &str, start: usize, end: usize) -> Option<Hit> {
    let name = &line[start..end];
    let rest = &line[end..];
    let after = rest.trim_start_matches(['"', '\'']).trim_start();
    let separated = after.starts_with([':', '=']);
    // `--password x`, `[--password, x]`, and `- --password` above `- x`.
    let flag = !separated
        && name.starts_with("--")
        && (after.is_empty() || after.starts_with(',') || after.len() < rest.len());
    if !separated && !flag {
        return None;
    }
    let value = line.len() - after.len() + usize::from(separated || after.starts_with(','));
    let next = line[value..].chars().next();
    let spaced =
        !after.starts_with(':') || next.is_none_or(|c| c.is_whitespace() || matches!(c, '"' | '\'' | '{' | '['));
    let rule = if secret(name) {
        Rule::Strict
    } else if spaced && after.starts_with(':') && holder(name) {
        Rule::Mild
    } else {
        return None;
    };
    Some(Hit {
        rule,
        name: start,
        value,
        flag,
        spaced,
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// Hides `user:password` in `https://user:password@host/`. A password that is not escaped may hold anything, so the last
/// `@` of the scalar counts, or of the line outside of one.
fn users(text: &str, scalars: &[Span], mask: &mut Mask) {
    for (start, line) in lines(text) {
        for (at, mark) in line.match_indices("://") {
            let from = start + at + mark.len();
            let end = holding(scalars, from)
                .map_or(usize::MAX, |span| span.end)
                .min(start + line.len());
            let rest = text.get(from..end).unwrap_or_default();
            let rest = &rest[..rest.find("://").unwrap_or(rest.len())];
            if let Some(user) = rest.rfind('@') {
                mask.hide(from, from + user, Rule::Strict);
            }
        }
    }
}

/// Each line without its end, and where it starts.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_inclusive('\n').scan(0, |start, line| {
        let at = *start;
        *start += line.len();
        Some((at, line.trim_end_matches(['\n', '\r'])))
    })
}

/// The span of a sorted list that holds the byte.
fn holding(spans: &[Span], at: usize) -> Option<Span> {
    let before = spans.partition_point(|span| span.start <= at);
    spans[..before].last().copied().filter(|span| at < span.end)
}
