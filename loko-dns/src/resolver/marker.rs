//! The first line of a file of ours: whose it is, and whether a person changed it.

use loko_config::names::EnvName;
use loko_engine::container::short_hash;
use nom::bytes::complete::{tag, take_till1, take_while_m_n};
use nom::character::complete::char;
use nom::sequence::{delimited, terminated};
use nom::{IResult, Parser};

/// What the first line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// The environment that the file is for.
    pub environment: EnvName,
    /// Hash of what follows the first line, as it was written.
    pub hash: String,
}

impl Marker {
    /// Puts the first line before `body`.
    #[must_use]
    pub fn mark(environment: &EnvName, body: &str) -> String {
        let hash = short_hash(body.as_bytes());
        format!("# LoKO {environment} {hash}: written by `loko create`, removed by `loko destroy`\n{body}")
    }

    /// The first line of a file, where it is ours.
    #[must_use]
    pub fn of(contents: &str) -> Option<Self> {
        fn marker(input: &str) -> IResult<&str, (&str, &str)> {
            let environment = delimited(tag("# LoKO "), take_till1(|c| c == ' '), char(' '));
            let hash = take_while_m_n(16, 16, |c: char| c.is_ascii_hexdigit());
            (environment, terminated(hash, char(':'))).parse(input)
        }
        let (_, (environment, hash)) = marker(contents).ok()?;
        Some(Self {
            environment: environment.parse().ok()?,
            hash: hash.to_owned(),
        })
    }

    /// Whether what follows the first line of `contents` is not what was written.
    #[must_use]
    pub fn is_edited(&self, contents: &str) -> bool {
        let body = contents.split_once('\n').map_or("", |(_, body)| body);
        short_hash(body.as_bytes()) != self.hash
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_file_without_our_first_line_is_not_ours() {
        for other in [
            "",
            "# LoKO",
            "# LoKO dev: x",
            "server=/dev.me/127.0.0.1",
            "# LoKO Dev 0123456789abcdef: x",
        ] {
            assert_eq!(Marker::of(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn a_marked_file_is_ours_until_its_body_changes(body in "(?s).{0,80}", more in "(?s).{1,9}") {
            let environment: EnvName = "dev".parse().unwrap();
            let contents = Marker::mark(&environment, &body);
            let marker = Marker::of(&contents).unwrap();
            prop_assert_eq!(&marker.environment, &environment);
            prop_assert!(!marker.is_edited(&contents));
            let edited = contents + &more;
            prop_assert!(marker.is_edited(&edited));
        }
    }
}
