//! Which of many tags to take.
//!
//! A tag is taken apart into a prefix (`v`, `release-`), numbers with dots between them, a pre-release (`-rc.1`), the
//! rest, its flavour (`-alpine`, `-bookworm-slim`), and a build (`+k3s1`), which is no flavour: semantic versioning compares
//! without it. Two tags compare only where prefix, flavour and the number of numbers
//! are the same: `3.3` is a moving tag beside `3.3.6`, and `3.3.6-alpine` is another image.

use std::cmp::Ordering;

/// What may be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// Whether the first number may grow.
    pub major: bool,
}

/// The highest tag of the same flavour as `current`: never lower, no pre-release unless `current` is one, and, without
/// [`Policy::major`], with the same first number. None where `current` is the highest, or is no version.
///
/// ```
/// use loko_config::versions::{Policy, newest};
///
/// let tags = ["3.3.6", "3.3.10", "3.4.0-dev1", "3.4.0", "4.0.0", "3.4", "latest", "3.4.1-alpine"];
/// assert_eq!(newest("3.3.6", tags, Policy::default()), Some("3.4.0"));
/// assert_eq!(newest("3.3.6", tags, Policy { major: true }), Some("4.0.0"));
/// assert_eq!(newest("3.3.6-alpine", tags, Policy::default()), Some("3.4.1-alpine"));
/// assert_eq!(newest("latest", tags, Policy::default()), None);
/// ```
#[must_use]
pub fn newest<'t>(current: &str, tags: impl IntoIterator<Item = &'t str>, policy: Policy) -> Option<&'t str> {
    let now = Version::of(current)?;
    let candidates = tags.into_iter().filter_map(|tag| Some((Version::of(tag)?, tag)));
    candidates
        .filter(|(version, _)| {
            version.comparable(&now)
                && (policy.major || version.numbers.first() == now.numbers.first())
                && (version.pre.is_none() || now.pre.is_some())
                && version.order(&now) == Ordering::Greater
        })
        .max_by(|(one, _), (other, _)| one.order(other))
        .map(|(_, tag)| tag)
}

/// Whether a version says of itself that it is not released yet: `1.3.0-rc.1`, `2.0-beta2`.
#[must_use]
pub fn is_prerelease(version: &str) -> bool {
    Version::of(version).is_some_and(|version| version.pre.is_some())
}

/// A tag taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Version<'t> {
    prefix: &'t str,
    numbers: Vec<u64>,
    /// Kind (`rc`, `beta`) and what follows it.
    pre: Option<Vec<Part<'t>>>,
    flavour: String,
    /// Decides between two that are the same otherwise.
    build: Vec<Part<'t>>,
}

/// A piece of a pre-release, ordered as semantic versioning 2.0.0 orders them (§11.4): numbers before texts.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part<'t> {
    Number(u64),
    Text(&'t str),
}

/// Words that mark what is not released yet.
const PRE: &[&str] = &[
    "alpha", "beta", "rc", "pre", "preview", "dev", "snapshot", "nightly", "canary", "m", "cr", "ea", "unstable",
    "testing", "edge",
];

impl<'t> Version<'t> {
    fn of(tag: &'t str) -> Option<Self> {
        let digit = tag.find(|c: char| c.is_ascii_digit())?;
        let (prefix, rest) = tag.split_at(digit);
        // `sha256-…`, `pr-12` and `build` are no versions, but `v` and `release-` lead to one.
        if !matches!(prefix, "" | "v" | "V" | "release-" | "version-" | "RELEASE.") {
            return None;
        }
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (core, tail) = rest.split_at(end);
        let core = core.trim_end_matches('.');
        let numbers: Vec<u64> = core.split('.').map(|n| n.parse().ok()).collect::<Option<_>>()?;
        // A commit's hash that starts with digits is no version.
        if numbers.len() == 1 && tail.starts_with(|c: char| c.is_ascii_hexdigit()) {
            return None;
        }
        // No tag of an image has a `+`.
        let (tail, build) = tail.split_once('+').unwrap_or((tail, ""));
        let mut pre: Option<Vec<Part<'t>>> = None;
        let mut flavour = Vec::new();
        for piece in tail.split(['-', '_']).filter(|piece| !piece.is_empty()) {
            let lower = piece.to_ascii_lowercase();
            let word = lower.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
            if let (None, true) = (&pre, PRE.contains(&word)) {
                pre = Some(parts(piece));
            } else if let (Some(parts), true) = (
                &mut pre,
                flavour.is_empty() && piece.chars().all(|c| c.is_ascii_digit()),
            ) {
                // `-rc-1`.
                parts.extend(piece.parse().ok().map(Part::Number));
            } else {
                flavour.push(piece);
            }
        }
        Some(Self {
            prefix,
            numbers,
            pre,
            flavour: flavour.join("-"),
            build: parts(build),
        })
    }

    /// `-alpine3.20` and `-alpine3.21` are one flavour: the numbers of a flavour move on with its base.
    fn comparable(&self, other: &Self) -> bool {
        self.prefix == other.prefix
            && self.numbers.len() == other.numbers.len()
            && family(&self.flavour) == family(&other.flavour)
    }

    fn order(&self, other: &Self) -> Ordering {
        self.numbers
            .cmp(&other.numbers)
            .then_with(|| match (&self.pre, &other.pre) {
                (None, None) => Ordering::Equal,
                (None, Some(_)) => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
                (Some(one), Some(other)) => one.cmp(other),
            })
            .then_with(|| parts(&self.flavour).cmp(&parts(&other.flavour)))
            .then_with(|| self.build.cmp(&other.build))
    }
}

fn family(flavour: &str) -> String {
    let pieces = flavour
        .split('-')
        .map(|piece| piece.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.'));
    pieces.collect::<Vec<_>>().join("-")
}

/// Runs of digits and of everything else, dots and dashes aside.
fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    for piece in text.split(['.', '-']).filter(|piece| !piece.is_empty()) {
        let mut rest = piece;
        while let Some(first) = rest.chars().next() {
            let digits = first.is_ascii_digit();
            let end = rest.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(rest.len());
            let (run, after) = rest.split_at(end);
            parts.push(match run.parse() {
                Ok(number) if digits => Part::Number(number),
                Ok(_) | Err(_) => Part::Text(run),
            });
            rest = after;
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn choices() {
        let minor = Policy::default();
        let major = Policy { major: true };
        let table: &[(&str, &[&str], Policy, Option<&str>)] = &[
            ("1.2.3", &["1.2.4", "1.3.0", "2.0.0"], minor, Some("1.3.0")),
            ("1.2.3", &["1.2.4", "1.3.0", "2.0.0"], major, Some("2.0.0")),
            ("1.9.0", &["1.10.0", "1.9.1"], minor, Some("1.10.0")),
            ("v1.2.3", &["1.9.0", "v1.2.4"], minor, Some("v1.2.4")),
            ("1.2.3", &["v1.9.0"], minor, None),
            ("1.2.3", &["1.1.0", "1.2.3"], minor, None),
            ("1.2", &["1.3", "1.3.1", "1.4.0"], minor, Some("1.3")),
            ("16", &["17", "17.2", "16.4"], major, Some("17")),
            ("16", &["17"], minor, None),
            (
                "16.4-alpine",
                &["16.6", "16.6-alpine", "16.6-bookworm"],
                minor,
                Some("16.6-alpine"),
            ),
            (
                "16.4-alpine3.20",
                &["16.6-alpine3.21", "16.6-alpine3.20"],
                minor,
                Some("16.6-alpine3.21"),
            ),
            ("16.4-alpine3.20", &["16.4-alpine3.21"], minor, Some("16.4-alpine3.21")),
            ("1.2.3", &["1.3.0-rc.1", "1.3.0-beta", "1.3.0-alpha2"], minor, None),
            (
                "1.3.0-rc.1",
                &["1.3.0-rc.2", "1.3.0-rc.10", "1.3.0-beta.99"],
                minor,
                Some("1.3.0-rc.10"),
            ),
            ("1.3.0-rc1", &["1.3.0-rc2", "1.3.0"], minor, Some("1.3.0")),
            ("1.3.0-rc.1", &["1.2.9"], minor, None),
            (
                "2.91",
                &["2.90", "2.92", "latest", "sha256-abc", "2"],
                minor,
                Some("2.92"),
            ),
            ("latest", &["1.0", "2.0"], major, None),
            (
                "v1.30.0+k3s1",
                &["v1.30.0+k3s2", "v1.30.0"],
                minor,
                Some("v1.30.0+k3s2"),
            ),
            ("1.0.0", &["1.1.0+build.5", "1.0.1"], minor, Some("1.1.0+build.5")),
            (
                "3.0.11-1_deb13u3",
                &["3.0.12-1_deb13u4"],
                minor,
                Some("3.0.12-1_deb13u4"),
            ),
            (
                "v1.36.3",
                &["v1.36.4", "v1.37.0-alpha.1", "v1.35.9"],
                minor,
                Some("v1.36.4"),
            ),
            ("20240101", &["20250101", "20250101abcdef"], major, Some("20250101")),
            ("1.2.3", &["1.2.99999999999999999999999"], minor, None),
            ("", &["1"], minor, None),
        ];
        for (current, tags, policy, wanted) in table {
            assert_eq!(
                newest(current, tags.iter().copied(), *policy),
                *wanted,
                "{current} of {tags:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn never_down_and_never_another_flavour(
            current in "v?[0-9]{1,2}(\\.[0-9]{1,2}){0,2}(-rc\\.?[0-9])?(-alpine|-slim)?",
            tags in prop::collection::vec("v?[0-9]{1,2}(\\.[0-9]{1,2}){0,2}(-rc\\.?[0-9])?(-alpine|-slim)?", 0..20),
            major: bool,
        ) {
            if let Some(new) = newest(&current, tags.iter().map(String::as_str), Policy { major }) {
                let (old, new_version) = (Version::of(&current).unwrap(), Version::of(new).unwrap());
                prop_assert_eq!(new_version.order(&old), Ordering::Greater);
                prop_assert_eq!(current.starts_with('v'), new.starts_with('v'));
                for flavour in ["-alpine", "-slim"] {
                    prop_assert_eq!(current.contains(flavour), new.contains(flavour));
                }
                prop_assert!(!new.contains("-rc") || current.contains("-rc"));
                prop_assert!(major || old.numbers[0] == new_version.numbers[0]);
                // Nothing above it was left.
                prop_assert_eq!(newest(new, tags.iter().map(String::as_str), Policy { major }), None);
            }
        }

        #[test]
        fn any_tag_is_taken(current in "[0-9a-z.+_-]{0,12}", tags in prop::collection::vec("[0-9a-z.+_-]{0,12}", 0..8)) {
            let _ = newest(&current, tags.iter().map(String::as_str), Policy::default());
        }
    }
}
