//! A block of lines in a file that is somebody else's: `/etc/hosts`.

use loko_config::names::EnvName;

use crate::zone::Zone;

/// What ends the first line where the file had no last line end, so that it is given back as it was.
const JOINED: &str = " +";

fn begin(environment: &EnvName) -> String {
    format!("# BEGIN LoKO {environment}: written by `loko create`, removed by `loko destroy`")
}

fn end(environment: &EnvName) -> String {
    format!("# END LoKO {environment}")
}

/// Puts the zone's known names at the end of a hosts file, in place of those that were there before. An environment
/// without names has no block.
#[must_use]
pub fn set(text: &str, zone: &Zone) -> String {
    use std::fmt::Write as _;
    let mut file = remove(text, &zone.environment);
    if zone.hosts.is_empty() {
        return file;
    }
    let joined = !file.is_empty() && !file.ends_with('\n');
    if joined {
        file.push('\n');
    }
    let suffix = if joined { JOINED } else { "" };
    let _ = writeln!(file, "{}{suffix}", begin(&zone.environment));
    for host in &zone.hosts {
        let _ = writeln!(file, "{} {host}", zone.address);
    }
    let _ = writeln!(file, "{}", end(&zone.environment));
    if file_block_is_current(text, &file, &zone.environment) {
        text.to_owned()
    } else {
        file
    }
}

/// Takes the block of an environment out. What is around it stays as it is, byte by byte. A first line without a last
/// one goes alone: what follows it may be a person's.
#[must_use]
pub fn remove(text: &str, environment: &EnvName) -> String {
    let Some(found) = find(text, environment) else {
        return text.to_owned();
    };
    let mut before = &text[..found.start];
    let after = &text[found.end..];
    if found.joined && after.is_empty() {
        before = before.strip_suffix('\n').unwrap_or(before);
    }
    let rest = format!("{before}{after}");
    // A copy of the block, pasted by hand, goes too.
    remove(&rest, environment)
}

/// The lines of the block, without its first and last.
#[must_use]
pub fn lines<'a>(text: &'a str, environment: &EnvName) -> Vec<&'a str> {
    let Some(found) = find(text, environment) else {
        return Vec::new();
    };
    let inner = text[found.start..found.end].lines().skip(1);
    let last = end(environment);
    inner.filter(|line| line.trim_end() != last).collect()
}

struct Found {
    start: usize,
    end: usize,
    joined: bool,
}

fn find(text: &str, environment: &EnvName) -> Option<Found> {
    let (first, last) = (begin(environment), end(environment));
    let mut offset = 0;
    let mut start: Option<(usize, usize, bool)> = None;
    for line in text.split_inclusive('\n') {
        let next = offset + line.len();
        let content = line.trim_end();
        match content.strip_prefix(first.as_str()) {
            // A second first line: the one before it has no last line.
            Some(rest) if start.is_none() => start = Some((offset, next, rest == JOINED)),
            Some(_) => break,
            None => {}
        }
        if let Some((from, _, joined)) = start
            && content == last
        {
            return Some(Found {
                start: from,
                end: next,
                joined,
            });
        }
        offset = next;
    }
    start.map(|(start, end, joined)| Found { start, end, joined })
}

/// Whether the block of `text` says what that of `wanted` does: then it stays where it is, also if a person moved it.
fn file_block_is_current(text: &str, wanted: &str, environment: &EnvName) -> bool {
    let now = lines(text, environment);
    let complete = text.lines().any(|line| line.trim_end() == end(environment));
    complete && now == lines(wanted, environment)
}

#[cfg(test)]
mod tests;
